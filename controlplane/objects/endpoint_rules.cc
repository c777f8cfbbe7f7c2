// EndpointSlice and Endpoints.
#include <set>

#include "base/ip.h"
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kMaxEndpoints = 1000, kMaxAddresses = 100, kMaxPorts = 20'000;

void default_ports(json::object& parent, bool named) {
  json::array* ports = parent.contains("ports") ? parent.at("ports").if_array() : nullptr;
  if (ports == nullptr) return;
  for (json::value& port : *ports) {
    if (!port.is_object()) continue;
    if (named) default_to(port.get_object(), "name", "");
    default_to(port.get_object(), "protocol", "TCP");
  }
}

void default_slice(json::object& slice) {
  default_ports(slice, true);
  if (!has(slice, "endpoints")) slice["endpoints"] = json::array();
}

void validate_address(std::string_view address, std::string_view type, const std::string& at,
                      Problems& problems) {
  if (type == "FQDN") return problems.invalid(at, address, dns_subdomain(address));
  const auto ip = Ip::parse(address);
  if (type == "IPv4" && (!ip || !ip->is_v4()))
    return problems.invalid(at, json::value(address), "must be a valid IPv4 address");
  if (type == "IPv6" && (!ip || ip->is_v4()))
    return problems.invalid(at, json::value(address), "must be a valid IPv6 address");
  problems.invalid(at, address, endpoint_ip(address));
}

void validate_slice_endpoint(const json::object& endpoint, std::string_view type,
                             const std::string& at, Problems& problems) {
  const json::array* addresses = array_at(endpoint, "addresses");
  if (addresses == nullptr || addresses->empty())
    problems.required(at + ".addresses", "must contain at least 1 address");
  else if (addresses->size() > kMaxAddresses)
    problems.too_many(at + ".addresses", addresses->size(), kMaxAddresses);
  else
    each_string(endpoint, "addresses", at + ".",
                [&](std::string_view address, const std::string& where) {
                  validate_address(address, type, where, problems);
                });
  const std::string_view host = string_at(endpoint, "hostname");
  if (!host.empty()) problems.invalid(at + ".hostname", host, dns_label(host));
  const std::string_view node = string_at(endpoint, "nodeName");
  if (!node.empty()) problems.invalid(at + ".nodeName", node, dns_subdomain(node));
}

void validate_slice_ports(const json::object& slice, Problems& problems) {
  const json::array* ports = array_at(slice, "ports");
  if (ports != nullptr && ports->size() > kMaxPorts)
    return problems.too_many("ports", ports->size(), kMaxPorts);
  std::set<std::string, std::less<>> names;
  each_object(slice, "ports", "", [&](const json::object& port, const std::string& at) {
    const std::string_view name = string_at(port, "name");
    if (!name.empty()) problems.invalid(at + ".name", name, dns_label(name));
    if (!names.emplace(name).second) problems.duplicate(at + ".name", json::value(name));
    problems.one_of(at + ".protocol", string_at(port, "protocol"), {"SCTP", "TCP", "UDP"});
    if (const auto number = integer_at(port, "port"); number && !port_number(*number).empty())
      problems.invalid(at + ".port", *number, port_number(*number)[0]);
    const std::string_view protocol = string_at(port, "appProtocol");
    if (!protocol.empty())
      problems.invalid(at + ".appProtocol", protocol, qualified_name(protocol));
  });
}

void validate_slice(const json::object& slice, Problems& problems) {
  const std::string_view type = string_at(slice, "addressType");
  problems.one_of("addressType", type, {"FQDN", "IPv4", "IPv6"});
  const json::array* endpoints = array_at(slice, "endpoints");
  if (endpoints != nullptr && endpoints->size() > kMaxEndpoints)
    problems.too_many("endpoints", endpoints->size(), kMaxEndpoints);
  else
    each_object(slice, "endpoints", "", [&](const json::object& endpoint, const std::string& at) {
      validate_slice_endpoint(endpoint, type, at, problems);
    });
  validate_slice_ports(slice, problems);
}

void validate_slice_update(const json::object& old, const json::object& slice, Problems& problems) {
  const std::string_view type = string_at(slice, "addressType");
  if (type != string_at(old, "addressType"))
    problems.invalid("addressType", json::value(type), "field is immutable");
}

void default_endpoints(json::object& endpoints) {
  json::value* subsets = endpoints.if_contains("subsets");
  if (subsets == nullptr || !subsets->is_array()) return;
  for (json::value& subset : subsets->get_array())
    if (subset.is_object()) default_ports(subset.get_object(), false);
}

void validate_subset(const json::object& subset, const std::string& at, Problems& problems) {
  size_t count = 0;
  for (std::string_view list : {"addresses", "notReadyAddresses"})
    each_object(subset, list, at + ".", [&](const json::object& address, const std::string& where) {
      ++count;
      const std::string_view ip = string_at(address, "ip");
      problems.invalid(where + ".ip", ip, endpoint_ip(ip));
      const std::string_view host = string_at(address, "hostname");
      if (!host.empty()) problems.invalid(where + ".hostname", host, dns_label(host));
    });
  if (count == 0) problems.required(at, "must specify `addresses` or `notReadyAddresses`");
  const json::array* ports = array_at(subset, "ports");
  const bool name_required = ports != nullptr && ports->size() > 1;
  each_object(subset, "ports", at + ".", [&](const json::object& port, const std::string& where) {
    const std::string_view name = string_at(port, "name");
    if (name.empty() && name_required) problems.required(where + ".name");
    if (!name.empty()) problems.invalid(where + ".name", name, dns_label(name));
    const int64_t number = integer_at(port, "port").value_or(0);
    if (!port_number(number).empty())
      problems.invalid(where + ".port", number, port_number(number)[0]);
    problems.one_of(where + ".protocol", string_at(port, "protocol"), {"SCTP", "TCP", "UDP"});
  });
}

void validate_endpoints(const json::object& endpoints, Problems& problems) {
  each_object(endpoints, "subsets", "", [&](const json::object& subset, const std::string& at) {
    validate_subset(subset, at, problems);
  });
}

}  // namespace

const KindRules endpoint_slice_rules = {.api_version = "discovery.k8s.io/v1",
                                        .kind = "EndpointSlice",
                                        .defaults = default_slice,
                                        .validate = validate_slice,
                                        .validate_update = validate_slice_update};

const KindRules endpoints_rules = {.api_version = "v1",
                                   .kind = "Endpoints",
                                   .defaults = default_endpoints,
                                   .validate = validate_endpoints};

}  // namespace fairlead::controlplane
