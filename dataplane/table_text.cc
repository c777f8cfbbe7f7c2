#include "base/text.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane {
namespace {

std::string frontend_line(const Frontend& frontend) {
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
  }
  return frontend.local_only ? line + " local-only" : line;
}

std::string backend_line(const PortRule& rule, size_t index) {
  const Backend& backend = rule.backends[index];
  return cat("backend ", SocketAddress{backend.ip, backend.port}.to_string(),
             backend.local ? " local" : "", index < rule.cluster_first ? " for-local-only" : "");
}

std::string_view to_text(NoBackend verdict) {
  return verdict == NoBackend::reject ? "reject" : "drop";
}

void append_rule(std::string& out, const PortRule& rule) {
  append(out, cat("  port ", rule.port_name.empty() ? "-" : rule.port_name, " ",
                  to_string(rule.protocol), rule.ipv6 ? " IPv6" : " IPv4", "\n"));
  for (const Frontend& frontend : rule.frontends) {
    append(out, cat("    ", frontend_line(frontend), "\n"));
  }
  for (size_t i = 0; i < rule.backends.size(); ++i) {
    append(out, cat("    ", backend_line(rule, i), "\n"));
  }
  append(out, cat("    if-empty ", to_text(rule.if_empty), "\n"));
}

}  // namespace

std::string to_text(const ServiceTable& table) {
  std::string out = cat("node ", table.node.node_name.empty() ? "-" : table.node.node_name, "\n");
  for (const Ip& ip : table.node.node_ips) append(out, cat("  node-ip ", ip.to_string(), "\n"));
  for (const Cidr& cidr : table.node.local_pod_cidrs) {
    append(out, cat("  local-pods ", cidr.to_string(), "\n"));
  }
  for (const auto& [key, entry] : table.services) {
    append(out, cat("service ", key.to_string(), "\n"));
    for (const PortRule& rule : entry.ports) append_rule(out, rule);
  }
  return out;
}

}  // namespace fairlead::dataplane
