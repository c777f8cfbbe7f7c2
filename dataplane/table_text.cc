#include "base/text.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane {
namespace {

std::string backend_line(const PortRule& rule, size_t index) {
  const Backend& backend = rule.backends[index];
  return cat("backend ", SocketAddress{backend.ip, backend.port}.to_string(),
             backend.local ? " local" : "", index < rule.cluster_first ? " for-local-only" : "");
}

std::string_view to_text(NoBackend verdict) {
  return verdict == NoBackend::reject ? "reject" : "drop";
}

void append_options(std::string& out, const PortRule& rule) {
  if (rule.affinity_timeout_s != 0)
    append(out, cat("    affinity ", rule.affinity_timeout_s, "s\n"));
  for (const Cidr& range : rule.source_ranges) {
    append(out, cat("    source-range ", range.to_string(), "\n"));
  }
  if (rule.algorithm == Algorithm::maglev) append(out, "    algorithm maglev\n");
  if (rule.forwarding == Forwarding::dsr) append(out, "    forwarding dsr\n");
}

void append_rule(std::string& out, const PortRule& rule) {
  append(out, cat("  port ", rule.port_name.empty() ? "-" : rule.port_name, " ",
                  to_string(rule.protocol), rule.ipv6 ? " IPv6" : " IPv4", "\n"));
  for (const Frontend& frontend : rule.frontends) {
    append(out, cat("    ", to_text(frontend), "\n"));
  }
  for (size_t i = 0; i < rule.backends.size(); ++i) {
    append(out, cat("    ", backend_line(rule, i), "\n"));
  }
  append(out, cat("    if-empty ", to_text(rule.if_empty), "\n"));
  append_options(out, rule);
}

void append_node(std::string& out, const NodeConfig& node) {
  append(out, cat("node ", node.node_name.empty() ? "-" : node.node_name, "\n"));
  for (const Ip& ip : node.node_ips) append(out, cat("  node-ip ", ip.to_string(), "\n"));
  for (const Cidr& cidr : node.local_pod_cidrs) {
    append(out, cat("  local-pods ", cidr.to_string(), "\n"));
  }
  if (!node.zone.empty()) append(out, cat("  zone ", node.zone, "\n"));
  if (node.node_port_ips) {
    append(out, "  node-ports-on");
    for (const Ip& ip : *node.node_port_ips) append(out, cat(" ", ip.to_string()));
    append(out, "\n");
  }
  if (!node.localhost_node_ports) append(out, "  no-localhost-node-ports\n");
  if (node.masquerade_all) append(out, "  masquerade-all\n");
  for (const Cidr& cidr : node.service_cidrs) {
    append(out, cat("  services ", cidr.to_string(), "\n"));
  }
  for (const Cidr& cidr : node.node_cidrs) append(out, cat("  nodes ", cidr.to_string(), "\n"));
  if (!node.proxy_name.empty()) append(out, cat("  proxy-name ", node.proxy_name, "\n"));
}

}  // namespace

std::string to_text(const Frontend& frontend) {
  const SocketAddress address{frontend.ip, frontend.port};
  std::string line;
  switch (frontend.kind) {
    case FrontendKind::cluster_ip:
      line = cat("cluster-ip ", address.to_string());
      break;
    case FrontendKind::node_port:
      line = cat("node-port ", frontend.port);
      break;
    case FrontendKind::external_ip:
      line = cat("external-ip ", address.to_string());
      break;
    case FrontendKind::load_balancer:
      line = cat("load-balancer ", address.to_string());
      break;
  }
  return frontend.local_only ? line + " local-only" : line;
}

std::string to_text(const ServiceTable& table) {
  std::string out;
  append_node(out, table.node);
  for (const auto& [key, entry] : table.services) {
    append(out, cat("service ", key.to_string(), "\n"));
    for (const PortRule& rule : entry.ports) append_rule(out, rule);
    if (const HealthCheck& check = entry.health_check; check.port != 0) {
      append(out,
             cat("  health-check ", check.port, " local-endpoints ", check.local_endpoints, "\n"));
    }
  }
  return out;
}

}  // namespace fairlead::dataplane
