#include "controlplane/bootstrap.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <memory>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kNamespaces[] = {"default", "kube-system", "kube-public",
                                            "kube-node-lease"};
constexpr std::string_view kApiService = "kubernetes";

json::value namespace_document(std::string_view name) {
  return json::object{{"apiVersion", "v1"},
                      {"kind", "Namespace"},
                      {"metadata", json::object{{"name", json::string(name)}}}};
}

json::object api_metadata() {
  return {{"name", json::string(kApiService)}, {"namespace", "default"}};
}

json::value service_document(const BootstrapConfig& config) {
  json::object metadata = api_metadata();
  metadata["labels"] = json::object{{"component", "apiserver"}, {"provider", "kubernetes"}};
  std::string ip = config.service_cidr.at(1).to_string();
  json::object port{
      {"name", "https"}, {"protocol", "TCP"}, {"port", 443}, {"targetPort", config.listen.port}};
  json::array ports;
  ports.push_back(std::move(port));
  return json::object{
      {"apiVersion", "v1"},
      {"kind", "Service"},
      {"metadata", std::move(metadata)},
      {"spec",
       json::object{{"type", "ClusterIP"}, {"clusterIP", ip}, {"ports", std::move(ports)}}}};
}

json::array one(json::object item) {
  json::array out;
  out.push_back(std::move(item));
  return out;
}

json::object api_port(const BootstrapConfig& config) {
  return {{"name", "https"}, {"port", config.listen.port}, {"protocol", "TCP"}};
}

json::value slice_document(const BootstrapConfig& config) {
  std::optional<SocketAddress> target = advertised(config);
  json::object metadata = api_metadata();
  metadata["labels"] = json::object{{"kubernetes.io/service-name", json::string(kApiService)}};
  json::array endpoints;
  if (target)
    endpoints = one({{"addresses", json::array{json::string(target->ip.to_string())}},
                     {"conditions", json::object{{"ready", true}}}});
  bool v4 = target ? target->ip.is_v4() : config.service_cidr.base.is_v4();
  return json::object{{"apiVersion", "discovery.k8s.io/v1"}, {"kind", "EndpointSlice"},
                      {"metadata", std::move(metadata)},     {"addressType", v4 ? "IPv4" : "IPv6"},
                      {"endpoints", std::move(endpoints)},   {"ports", one(api_port(config))}};
}

json::value endpoints_document(const BootstrapConfig& config) {
  std::optional<SocketAddress> target = advertised(config);
  json::object document{{"apiVersion", "v1"}, {"kind", "Endpoints"}};
  document["metadata"] = api_metadata();
  if (!target) return document;
  json::object address{{"ip", target->ip.to_string()}};
  document["subsets"] =
      one({{"addresses", one(std::move(address))}, {"ports", one(api_port(config))}});
  return document;
}

// Does the stored object already say all that the wanted one does?
bool says(const json::value& stored, const json::value& wanted) {
  if (!wanted.is_object() || !stored.is_object()) return stored == wanted;
  for (const auto& [key, value] : wanted.get_object()) {
    const json::value* present = stored.get_object().if_contains(key);
    if (present == nullptr || !says(*present, value)) return false;
  }
  return true;
}

}  // namespace

std::optional<SocketAddress> advertised(const BootstrapConfig& config) {
  SocketAddress out = config.listen;
  if (out.ip.is_unspecified()) {
    if (!config.host_address) return std::nullopt;
    out.ip = *config.host_address;
  }
  if (out.ip.is_loopback()) return std::nullopt;
  return out;
}

void bootstrap(Store& store, const ResourceTable& resources, Writer& writer,
               const BootstrapConfig& config, std::move_only_function<void(Result<void>)> done) {
  // The first refusal; answers come in order, so that settle() below is the last of them.
  auto trouble = std::make_unique<std::string>();
  auto note = [problem = trouble.get()](std::string what) {
    return [problem, what = std::move(what)](const Outcome<Written>& written) {
      if (!written && problem->empty()) *problem = cat(what, ": ", written.error().message);
    };
  };
  auto ensure = [&](std::string_view group, std::string_view plural, const json::value& wanted,
                    bool keep_current) {
    const Resource* row = resources.find(group, "v1", plural);
    CHECK(row != nullptr);
    Target target{row, std::string(find_string(wanted, "metadata", "namespace")),
                  std::string(find_string(wanted, "metadata", "name")), ""};
    std::string what = cat(row->kind, " ", target.name);
    ObjectPtr head = store.head(*row, target.ns, target.name);
    if (!head) return writer.create(target, wanted, {}, note(what));
    if (keep_current && !says(document_of(*head), wanted))
      writer.update(target, wanted, {}, note(what));
  };
  for (std::string_view name : kNamespaces)
    ensure("", "namespaces", namespace_document(name), false);
  ensure("", "services", service_document(config), false);
  ensure("discovery.k8s.io", "endpointslices", slice_document(config), true);
  ensure("", "endpoints", endpoints_document(config), true);
  store.settle([trouble = std::move(trouble),
                done = std::move(done)](const Result<ObjectPtr>& outcome) mutable {
    if (!outcome) return done(std::unexpected(outcome.error()));
    if (!trouble->empty()) return done(fail("cannot make the first objects: " + *trouble));
    done({});
  });
}

std::optional<Ip> find_host_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return std::nullopt;
  std::optional<Ip> out;
  for (const ifaddrs* each = all; each != nullptr && !out; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET ||
        (each->ifa_flags & IFF_UP) == 0 || (each->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
    out = Ip::v4(ntohl(address->sin_addr.s_addr));
  }
  ::freeifaddrs(all);
  return out;
}

}  // namespace fairlead::controlplane
