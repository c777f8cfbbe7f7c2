#include "tests/dataplane/ebpf/tables.h"

#include <algorithm>
#include <sstream>
#include <tuple>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane::test {
namespace {

bool read_node_line(const std::string& word, const std::string& value, NodeConfig& node) {
  if (word == "node")
    node.node_ips.push_back(*Ip::parse(value));
  else if (word == "pods")
    node.local_pod_cidrs.push_back(*Cidr::parse(value));
  else if (word == "nodes")
    node.node_cidrs.push_back(*Cidr::parse(value));
  else if (word == "services")
    node.service_cidrs.push_back(*Cidr::parse(value));
  else if (word == "ports-on") {
    if (!node.node_port_ips) node.node_port_ips.emplace();
    node.node_port_ips->push_back(*Ip::parse(value));
  } else if (word == "masquerade-all")
    node.masquerade_all = true;
  else if (word == "no-localhost")
    node.localhost_node_ports = false;
  else
    return false;
  return true;
}

Frontend read_frontend(std::string_view part) {
  Frontend frontend;
  frontend.local_only = part.ends_with('!');
  if (frontend.local_only) part.remove_suffix(1);
  const auto strip = [&](std::string_view prefix) {
    if (!part.starts_with(prefix)) return false;
    part.remove_prefix(prefix.size());
    return true;
  };
  const bool node4 = strip("node:"), node6 = strip("node6:");
  if (node4 || node6) {
    frontend.kind = FrontendKind::node_port;
    frontend.ip = node6 ? Ip{} : Ip::v4(0);
    frontend.port = static_cast<uint16_t>(*parse_int(part));
    return frontend;
  }
  if (strip("ext:")) frontend.kind = FrontendKind::external_ip;
  if (strip("lb:")) frontend.kind = FrontendKind::load_balancer;
  const SocketAddress address = *SocketAddress::parse(part);
  frontend.ip = address.ip;
  frontend.port = address.port;
  return frontend;
}

void read_backends(std::string_view text, PortRule& rule) {
  if (text == "drop") rule.if_empty = NoBackend::drop;
  if (text.empty() || text == "drop") return;
  for (std::string_view part : split(text, ',')) {
    const bool apart = part.ends_with('^'), local = apart || part.ends_with('*');
    const auto address = *SocketAddress::parse(part.substr(0, part.size() - (local ? 1 : 0)));
    rule.backends.push_back({address.ip, address.port, local});
    rule.cluster_first += apart;
  }
  const auto cluster = rule.backends.begin() + rule.cluster_first;
  std::sort(cluster, rule.backends.end(), [](const Backend& a, const Backend& b) {
    return std::tie(b.local, a.ip, a.port) < std::tie(a.local, b.ip, b.port);
  });
}

void read_option(std::string_view word, PortRule& rule) {
  const std::string_view value = word.substr(word.find('=') + 1);
  if (word.starts_with("affinity=")) {
    rule.affinity_timeout_s = static_cast<uint32_t>(*parse_int(value));
  } else if (word.starts_with("from=")) {
    for (std::string_view cidr : split(value, ',')) {
      rule.source_ranges.push_back(*Cidr::parse(cidr));
    }
  } else if (word == "maglev") {
    rule.algorithm = Algorithm::maglev;
  } else if (word == "dsr") {
    rule.forwarding = Forwarding::dsr;
  } else {
    CHECK(word == "if-empty=drop");
    rule.if_empty = NoBackend::drop;
  }
}

}  // namespace

ServiceTable table_of(const std::string& text) {
  ServiceTable table;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name, protocol, frontends, arrow, backends;
    words >> name >> protocol >> frontends >> arrow >> backends;
    if (name.empty() || read_node_line(name, protocol, table.node)) continue;
    PortRule rule{.port_name = "p", .protocol = *parse_protocol(protocol)};
    for (std::string_view part : split(frontends, ',')) {
      rule.frontends.push_back(read_frontend(part));
      rule.ipv6 = !rule.frontends.back().ip.is_v4();
    }
    read_backends(backends, rule);
    for (std::string option; words >> option;) read_option(option, rule);
    std::sort(rule.frontends.begin(), rule.frontends.end());
    size_t slash = name.find('/');
    table.services[{name.substr(0, slash), name.substr(slash + 1)}].ports.push_back(rule);
  }
  return table;
}

}  // namespace fairlead::dataplane::test
