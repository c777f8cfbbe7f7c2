#include "dataplane/compile.h"

#include <algorithm>
#include <tuple>

#include "api/endpoints.h"
#include "base/text.h"

namespace fairlead::dataplane {
namespace {

// An unknown word means what no annotation means: validation has told the user.
bool annotated(const api::Meta& meta, const std::string& name, std::string_view value) {
  const auto found = meta.annotations.find(name);
  return found != meta.annotations.end() && found->second == value;
}

void set_options(PortRule& rule, const api::Service& service) {
  rule.affinity_timeout_s = service.affinity_timeout_s;
  if (service.type == api::ServiceType::load_balancer) {
    for (const Cidr& range : service.source_ranges) {
      if (range.base.is_v4() != rule.ipv6) rule.source_ranges.push_back(range);
    }
  }
  if (annotated(service.meta, "fairlead.io/algorithm", "maglev")) {
    rule.algorithm = Algorithm::maglev;
  }
  if (annotated(service.meta, "fairlead.io/forwarding", "dsr")) rule.forwarding = Forwarding::dsr;
}

// Only a Service that is reachable from outside with policy Local has one (Service "spec").
HealthCheck health_check_of(const api::Service& service, const api::SliceList& slices,
                            const std::string& node_name) {
  if (service.type != api::ServiceType::load_balancer || service.health_check_node_port == 0 ||
      service.external_policy != api::TrafficPolicy::local) {
    return {};
  }
  std::set<Ip> ready[2];  // a dual-stack pod stands in a slice of each family
  for (const auto& slice : slices) {
    for (const api::Endpoint& endpoint : slice->endpoints) {
      if (endpoint.ready && !endpoint.addresses.empty() && endpoint.node_name == node_name) {
        ready[slice->address_type == "IPv6"].insert(endpoint.addresses.front());
      }
    }
  }
  const size_t count = std::max(ready[0].size(), ready[1].size());
  return {service.health_check_node_port, static_cast<uint32_t>(count)};
}

bool has_family(const std::vector<Ip>& ips, bool ipv6) {
  return std::any_of(ips.begin(), ips.end(), [&](const Ip& ip) { return ip.is_v4() != ipv6; });
}

void add_frontends(std::vector<Frontend>& frontends, FrontendKind kind, const std::vector<Ip>& ips,
                   uint16_t port, bool ipv6, bool local_only) {
  for (const Ip& ip : ips) {
    if (ip.is_v4() == ipv6) continue;
    const bool claimed =
        std::any_of(frontends.begin(), frontends.end(),
                    [&](const Frontend& other) { return other.ip == ip && other.port == port; });
    if (!claimed) frontends.push_back({kind, ip, port, local_only});
  }
}

// The earlier kind wins an address that a Service names twice.
std::vector<Frontend> frontends_of(const api::Service& service, const api::ServicePort& port,
                                   bool ipv6) {
  const bool internal_local = service.internal_policy == api::TrafficPolicy::local;
  const bool external_local = service.external_policy == api::TrafficPolicy::local;
  std::vector<Frontend> out;
  add_frontends(out, FrontendKind::cluster_ip, service.cluster_ips, port.port, ipv6,
                internal_local);
  if (service.type != api::ServiceType::cluster_ip && port.node_port != 0) {
    const Ip any = ipv6 ? Ip{} : Ip::v4(0);
    out.push_back({FrontendKind::node_port, any, port.node_port, external_local});
  }
  add_frontends(out, FrontendKind::external_ip, service.external_ips, port.port, ipv6,
                external_local);
  if (service.type == api::ServiceType::load_balancer) {
    add_frontends(out, FrontendKind::load_balancer, service.load_balancer_ips, port.port, ipv6,
                  external_local);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// REQUIRES: ordered by address, as usable_endpoints() gives them.
bool contains(const std::vector<api::UsableEndpoint>& endpoints, const api::UsableEndpoint& one) {
  return std::binary_search(endpoints.begin(), endpoints.end(), one,
                            [](const api::UsableEndpoint& a, const api::UsableEndpoint& b) {
                              return std::tie(a.ip, a.port) < std::tie(b.ip, b.port);
                            });
}

// Backends as [local set ... cluster set ...], the two ranges overlapping where they agree. The
// local set is the local part of the cluster set, or else apart from it: see api/endpoints.h. With
// direct return it is asked for, too: hints may let other nodes send here what this node does not.
void set_backends(PortRule& rule, const api::UsableSet& usable) {
  const bool wants_local =
      std::any_of(rule.frontends.begin(), rule.frontends.end(), [&](const Frontend& frontend) {
        const bool direct =
            rule.forwarding == Forwarding::dsr && frontend.kind != FrontendKind::cluster_ip;
        return frontend.local_only || direct;
      });
  const bool wants_cluster =
      std::any_of(rule.frontends.begin(), rule.frontends.end(), [](const Frontend& frontend) {
        return !frontend.local_only || frontend.kind != FrontendKind::cluster_ip;
      });
  std::vector<Backend> cluster;
  for (const auto& endpoint : usable.cluster) {
    if (wants_cluster) cluster.push_back({endpoint.ip, endpoint.port, endpoint.local});
  }
  std::vector<Backend> local_apart;
  for (const auto& endpoint : usable.local) {
    if (wants_local && !(wants_cluster && contains(usable.cluster, endpoint))) {
      local_apart.push_back({endpoint.ip, endpoint.port, true});
    }
  }
  const auto local_first = [](const Backend& a, const Backend& b) {
    return std::tie(b.local, a.ip, a.port) < std::tie(a.local, b.ip, b.port);
  };
  std::sort(cluster.begin(), cluster.end(), local_first);
  std::sort(local_apart.begin(), local_apart.end(), local_first);
  rule.backends = std::move(local_apart);
  rule.cluster_first = wants_cluster ? static_cast<uint32_t>(rule.backends.size()) : 0;
  rule.backends.insert(rule.backends.end(), cluster.begin(), cluster.end());
  rule.if_empty = usable.any ? NoBackend::drop : NoBackend::reject;
}

}  // namespace

std::string why_not_proxied(const api::Service& service, const NodeConfig& node) {
  if (service.type == api::ServiceType::external_name) return "ExternalName is DNS only";
  if (service.headless) return "headless: DNS gives the endpoints, nothing is proxied";
  const auto& labels = service.meta.labels;
  if (labels.contains("service.kubernetes.io/headless")) {
    return "label service.kubernetes.io/headless says that nobody shall proxy it";
  }
  const auto name = labels.find("service.kubernetes.io/service-proxy-name");
  if (name != labels.end() && (name->second != node.proxy_name || node.proxy_name.empty())) {
    return cat("label service.kubernetes.io/service-proxy-name gives it to '", name->second, "'");
  }
  if (name == labels.end() && !node.proxy_name.empty()) {
    return cat("this proxy serves Services with service-proxy-name '", node.proxy_name, "' only");
  }
  if (service.cluster_ips.empty()) return "it has no ClusterIP yet";
  return service.ports.empty() ? "it has no ports" : "";
}

ServiceEntry compile_service(const api::Snapshot& snapshot, const NodeConfig& node,
                             const api::ObjectKey& key) {
  ServiceEntry entry;
  const auto service = snapshot.find<api::Service>(key);
  if (service == nullptr || !why_not_proxied(*service, node).empty()) return entry;
  const auto slices = snapshot.slices_of(key);
  for (const bool ipv6 : {false, true}) {
    if (!has_family(service->cluster_ips, ipv6)) continue;
    for (const api::ServicePort& port : service->ports) {
      PortRule& rule = entry.ports.emplace_back();
      rule.port_name = port.name;
      rule.protocol = port.protocol;
      rule.ipv6 = ipv6;
      rule.frontends = frontends_of(*service, port, ipv6);
      set_options(rule, *service);
      set_backends(rule, api::usable_endpoints(slices, port.name, port.protocol, ipv6,
                                               {node.node_name, node.zone}));
    }
  }
  entry.health_check = health_check_of(*service, slices, node.node_name);
  std::sort(entry.ports.begin(), entry.ports.end(), [](const PortRule& a, const PortRule& b) {
    return std::tie(a.ipv6, a.protocol, a.port_name, a.frontends) <
           std::tie(b.ipv6, b.protocol, b.port_name, b.frontends);
  });
  return entry;
}

ServiceTable compile(const api::Snapshot& snapshot, const NodeConfig& node) {
  ServiceTable table;
  table.node = node;
  snapshot.each<api::Service>([&](const api::Service& service) {
    ServiceEntry entry = compile_service(snapshot, node, service.meta.key);
    if (!entry.ports.empty()) table.services.emplace(service.meta.key, std::move(entry));
  });
  return table;
}

namespace {

std::set<api::ObjectKey> replace_all(ServiceTable& table, ServiceTable next) {
  std::set<api::ObjectKey> changed;
  for (const auto& [key, entry] : next.services) {
    const auto old = table.services.find(key);
    if (old == table.services.end() || old->second != entry) changed.insert(key);
  }
  for (const auto& [key, entry] : table.services) {
    if (!next.services.contains(key)) changed.insert(key);
  }
  table = std::move(next);
  return changed;
}

}  // namespace

std::set<api::ObjectKey> update(ServiceTable& table, const api::Snapshot& snapshot,
                                const api::Changes& changes) {
  if (changes.everything) return replace_all(table, compile(snapshot, table.node));
  std::set<api::ObjectKey> changed;
  for (const api::ObjectKey& key : changes.services) {
    ServiceEntry entry = compile_service(snapshot, table.node, key);
    const auto old = table.services.find(key);
    if (entry.ports.empty()) {
      if (old == table.services.end()) continue;
      table.services.erase(old);
    } else if (old == table.services.end()) {
      table.services.emplace(key, std::move(entry));
    } else if (old->second != entry) {
      old->second = std::move(entry);
    } else {
      continue;
    }
    changed.insert(key);
  }
  return changed;
}

}  // namespace fairlead::dataplane
