#include "dataplane/flow.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane {
namespace {

bool matches(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
             const Ip& destination) {
  if (destination.is_v4() == rule.ipv6) return false;
  if (frontend.kind != FrontendKind::node_port) return frontend.ip == destination;
  if (destination.is_loopback()) return node.localhost_node_ports && !rule.ipv6;
  const std::vector<Ip>& served = node_port_ips(node);
  return std::find(served.begin(), served.end(), destination) != served.end();
}

bool inside(const std::vector<Cidr>& cidrs, const Ip& ip) {
  return std::any_of(cidrs.begin(), cidrs.end(),
                     [&](const Cidr& cidr) { return cidr.contains(ip); });
}

bool is_cluster_ip(const ServiceTable& table, const Ip& ip) {
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      for (const Frontend& frontend : rule.frontends) {
        if (frontend.kind == FrontendKind::cluster_ip && frontend.ip == ip) return true;
      }
    }
  }
  return false;
}

FlowResult no_service(const ServiceTable& table, const Ip& destination) {
  FlowResult result;
  if (is_cluster_ip(table, destination)) {
    result.outcome = FlowOutcome::reject;
  } else if (inside(table.node.service_cidrs, destination)) {
    result.outcome = FlowOutcome::drop;
  }
  return result;
}

FlowResult decide(const NodeConfig& node, const api::ObjectKey& key, const PortRule& rule,
                  const Frontend& frontend, const Ip& source) {
  FlowResult result;
  result.service = key;
  result.port_name = rule.port_name;
  result.frontend = frontend;
  if (!may_dial(node, rule, frontend, source)) {
    result.outcome = FlowOutcome::drop;
    return result;
  }
  const Treatment how = treatment(node, rule, frontend, classify_source(node, source));
  if (how.backends.empty()) {
    result.outcome = rule.if_empty == NoBackend::reject ? FlowOutcome::reject : FlowOutcome::drop;
    return result;
  }
  result.outcome = FlowOutcome::forward;
  for (const Backend& backend : how.backends) {
    const bool itself = backend.ip == source;
    const bool direct = how.direct && !backend.local && !itself;
    result.candidates.push_back({backend, !direct && (how.masquerade || itself), direct});
  }
  return result;
}

}  // namespace

bool knows_local_pods(const NodeConfig& node, bool ipv6) {
  return std::any_of(node.local_pod_cidrs.begin(), node.local_pod_cidrs.end(),
                     [&](const Cidr& cidr) { return cidr.base.is_v4() != ipv6; });
}

SourceClass classify_source(const NodeConfig& node, const Ip& source) {
  if (source.is_loopback() ||
      std::find(node.node_ips.begin(), node.node_ips.end(), source) != node.node_ips.end()) {
    return SourceClass::node;
  }
  return inside(node.local_pod_cidrs, source) ? SourceClass::local_pod : SourceClass::outside;
}

bool may_dial(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
              const Ip& source) {
  if (frontend.kind != FrontendKind::load_balancer || rule.source_ranges.empty()) return true;
  if (inside(rule.source_ranges, source)) return true;
  if (source != frontend.ip) return false;
  return std::any_of(node.node_ips.begin(), node.node_ips.end(),
                     [&](const Ip& ip) { return inside(rule.source_ranges, ip); });
}

Treatment treatment(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                    SourceClass source) {
  if (frontend.kind == FrontendKind::cluster_ip) {
    const bool masquerade = node.masquerade_all ||
                            (source != SourceClass::local_pod && knows_local_pods(node, rule.ipv6));
    return {frontend.local_only ? local_backends(rule) : cluster_backends(rule), masquerade};
  }
  if (!frontend.local_only) {
    const bool direct = rule.forwarding == Forwarding::dsr && source == SourceClass::outside &&
                        knows_local_pods(node, rule.ipv6);
    return {cluster_backends(rule), true, direct};
  }
  if (source == SourceClass::outside) return {local_backends(rule), false};
  return {cluster_backends(rule), source == SourceClass::node};
}

FlowResult resolve(const ServiceTable& table, const Ip& source, const Ip& destination,
                   uint16_t port, Protocol protocol) {
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      if (rule.protocol != protocol) continue;
      for (const Frontend& frontend : rule.frontends) {
        if (frontend.port != port || !matches(table.node, rule, frontend, destination)) continue;
        return decide(table.node, key, rule, frontend, source);
      }
    }
  }
  return no_service(table, destination);
}

std::string port_label(const api::ObjectKey& service, std::string_view port_name) {
  return port_name.empty() ? service.to_string() : cat(service.to_string(), ":", port_name);
}

std::string to_text(const FlowResult& result) {
  const bool nobody = result.service.name.empty();
  const std::string name = nobody ? "no such port" : port_label(result.service, result.port_name);
  switch (result.outcome) {
    case FlowOutcome::pass:
      return "pass";
    case FlowOutcome::reject:
      return cat("reject ", name);
    case FlowOutcome::drop:
      return cat("drop ", nobody ? "no such address" : name);
    case FlowOutcome::forward:
      break;
  }
  std::vector<std::string> parts;
  for (const FlowCandidate& candidate : result.candidates) {
    const SocketAddress address{candidate.backend.ip, candidate.backend.port};
    parts.push_back(cat(address.to_string(), candidate.masquerade ? " (masquerade)" : "",
                        candidate.direct ? " (direct return)" : ""));
  }
  return cat("forward ", name, " to ", join(parts, ", "));
}

}  // namespace fairlead::dataplane
