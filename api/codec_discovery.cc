#include <functional>
#include <set>

#include "api/codec_parts.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr std::string_view service_label = "kubernetes.io/service-name";

// One slice is of one family (discovery/v1, addressType). An address of the other one would be sent
// to the wrong map, so it fails the object here.
ShortList<Ip> read_addresses(const Reader& endpoint, bool ipv6) {
  ShortList<Ip> out;
  for (const Ip& ip : endpoint.ips("addresses")) {
    if (ip.is_v4() == ipv6) {
      endpoint.fail("addresses", cat(ip.to_string(), " is not of the slice's addressType ",
                                     ipv6 ? "IPv6" : "IPv4"));
    }
    out.push_back(ip);
  }
  if (out.empty()) endpoint.fail("addresses", "expected at least one address");
  return out;
}

// The slice's endpoints share the names that they have in common.
class Names {
 public:
  SharedText of(const std::string& text) {
    if (text.empty()) return {};
    const auto found = known_.find(text);
    return found != known_.end() ? *found : *known_.emplace(text).first;
  }

 private:
  std::set<SharedText, std::less<>> known_;
};

// KEP-752 and KEP-1672: ready nil counts as true, serving nil follows ready, terminating nil is
// false.
Endpoint read_endpoint(const Reader& reader, const SharedText& ns, bool ipv6, Names& names) {
  Endpoint endpoint;
  endpoint.addresses = read_addresses(reader, ipv6);
  const Reader conditions = reader.object("conditions");
  endpoint.ready = conditions.boolean("ready", true);
  endpoint.serving = conditions.boolean("serving", endpoint.ready);
  endpoint.terminating = conditions.boolean("terminating", false);
  endpoint.hostname = reader.string("hostname");
  endpoint.node_name = names.of(reader.string("nodeName"));
  endpoint.zone = names.of(reader.string("zone"));
  const Reader target = reader.object("targetRef");
  endpoint.target = {names.of(target.string("namespace")), target.string("name")};
  if (endpoint.target.ns.empty() && !endpoint.target.name.empty()) endpoint.target.ns = ns;
  const Reader hints = reader.object("hints");
  hints.each("forZones", [&](const Reader& zone) {
    endpoint.hint_zones.push_back(names.of(zone.string("name")));
  });
  hints.each("forNodes", [&](const Reader& node) {
    endpoint.hint_nodes.push_back(names.of(node.string("name")));
  });
  return endpoint;
}

EndpointPort read_port(const Reader& reader) {
  EndpointPort port;
  port.name = reader.string("name");
  port.protocol = reader.protocol("protocol");
  // 0 has been seen from controllers that mean "no port"; the API server lets it pass.
  if (const int64_t number = reader.integer("port", 0, 65535); number != 0) {
    port.port = static_cast<uint16_t>(number);
  }
  port.app_protocol = reader.string("appProtocol");
  return port;
}

}  // namespace

EndpointSlice read_endpoint_slice(const Reader& document, Meta meta) {
  EndpointSlice slice{.meta = std::move(meta)};
  if (const auto label = slice.meta.labels.find(std::string(service_label));
      label != slice.meta.labels.end()) {
    slice.service = label->second;
  }
  slice.address_type = document.string("addressType");
  const bool ipv6 = slice.address_type == "IPv6";
  if (!ipv6 && slice.address_type != "IPv4" && slice.address_type != "FQDN") {
    document.fail("addressType", "expected one of IPv4, IPv6, FQDN");
  }
  if (slice.address_type != "FQDN") {
    Names names;
    const SharedText ns = names.of(slice.meta.key.ns);
    document.each("endpoints", [&](const Reader& endpoint) {
      slice.endpoints.push_back(read_endpoint(endpoint, ns, ipv6, names));
    });
  }
  document.each("ports", [&](const Reader& port) { slice.ports.push_back(read_port(port)); });
  // Clusters have many of these, and they live long.
  slice.endpoints.shrink_to_fit();
  slice.ports.shrink_to_fit();
  return slice;
}

}  // namespace fairlead::api
