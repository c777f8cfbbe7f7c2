#include "dataplane/stale_flows.h"

#include <algorithm>
#include <unordered_map>

namespace fairlead::dataplane {
namespace {

struct AddressHash {
  size_t operator()(const SocketAddress& address) const noexcept {
    return std::hash<Ip>()(address.ip) ^ address.port * 0x9e3779b97f4a7c15;
  }
};

// Who serves an address. Of two rules the first has it, as in resolve().
class Frontends {
 public:
  explicit Frontends(const ServiceTable& table) {
    for (const auto& [key, entry] : table.services) {
      for (const PortRule& rule : entry.ports) {
        if (rule.protocol != Protocol::udp) continue;
        for (const SocketAddress& address : dialled_addresses(table.node, rule)) {
          rules_.emplace(address, &rule);
        }
      }
    }
  }

  const PortRule* find(const SocketAddress& address) const {
    const auto rule = rules_.find(address);
    return rule == rules_.end() ? nullptr : rule->second;
  }

 private:
  std::unordered_map<SocketAddress, const PortRule*, AddressHash> rules_;
};

bool served_by(const PortRule& rule, const SocketAddress& answers) {
  return std::any_of(rule.backends.begin(), rule.backends.end(), [&](const Backend& backend) {
    return backend.ip == answers.ip && backend.port == answers.port;
  });
}

bool inside(const std::vector<Cidr>& cidrs, const Ip& ip) {
  return std::any_of(cidrs.begin(), cidrs.end(),
                     [&](const Cidr& cidr) { return cidr.contains(ip); });
}

}  // namespace

std::vector<SocketAddress> dialled_addresses(const NodeConfig& node, const PortRule& rule) {
  std::vector<SocketAddress> out;
  for (const Frontend& frontend : rule.frontends) {
    if (frontend.kind != FrontendKind::node_port) {
      out.push_back({frontend.ip, frontend.port});
      continue;
    }
    for (const Ip& ip : node_port_ips(node)) {
      if (ip.is_v4() != rule.ipv6) out.push_back({ip, frontend.port});
    }
    if (node.localhost_node_ports && !rule.ipv6) {
      out.push_back({Ip::v4(0x7f000001), frontend.port});
    }
  }
  return out;
}

std::vector<TrackedFlow> stale_flows(const ServiceTable& table, std::span<const TrackedFlow> flows,
                                     const std::set<SocketAddress>& former) {
  std::vector<TrackedFlow> stale;
  if (flows.empty()) return stale;
  const Frontends frontends(table);
  for (const TrackedFlow& flow : flows) {
    if (flow.protocol != Protocol::udp) continue;
    if (const PortRule* rule = frontends.find(flow.destination)) {
      if (!served_by(*rule, flow.reply_source)) stale.push_back(flow);
    } else if (flow.translated() && (former.contains(flow.destination) ||
                                     inside(table.node.service_cidrs, flow.destination.ip))) {
      stale.push_back(flow);
    }
  }
  return stale;
}

}  // namespace fairlead::dataplane
