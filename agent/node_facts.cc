#include "agent/node_facts.h"

#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "net/netlink.h"

namespace fairlead::agent {
namespace {

bool is_link_local(const Ip& ip) {
  if (ip.is_v4()) return (ip.to_v4() >> 16) == 0xa9fe;  // 169.254/16, RFC 3927
  return ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
}

bool contains(const std::vector<Ip>& ips, const Ip& ip) {
  return std::find(ips.begin(), ips.end(), ip) != ips.end();
}

void add_primary(const std::vector<Ip>& node_ips, std::vector<Ip>& out) {
  for (const bool v4 : {true, false}) {
    const auto first = std::find_if(node_ips.begin(), node_ips.end(),
                                    [&](const Ip& ip) { return ip.is_v4() == v4; });
    if (first != node_ips.end() && !contains(out, *first)) out.push_back(*first);
  }
}

void set_node_ports(const AgentConfig& config, const HostAddresses& addresses,
                    dataplane::NodeConfig& node) {
  std::vector<Ip> served;
  std::vector<Ip> candidates;  // asked for once, with the first network
  bool loopback = false;
  for (const NodePortRange& range : config.node_port_addresses) {
    if (!range.network) {
      add_primary(node.node_ips, served);
      continue;
    }
    loopback = loopback || range.network->contains(Ip::v4(0x7f000001));
    if (candidates.empty()) {
      candidates = addresses();
      candidates.insert(candidates.end(), node.node_ips.begin(), node.node_ips.end());
    }
    for (const Ip& ip : candidates) {
      if (range.network->contains(ip) && !contains(served, ip)) served.push_back(ip);
    }
  }
  std::sort(served.begin(), served.end());
  node.node_port_ips = std::move(served);
  node.localhost_node_ports = node.localhost_node_ports && loopback;
}

}  // namespace

std::string node_name(const std::string& configured) {
  if (!trim(configured).empty()) return to_lower(trim(configured));
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return to_lower(trim(name));
}

std::vector<Ip> read_host_addresses() {
  std::vector<Ip> ips;
  auto netlink = net::Netlink::open();
  if (!netlink) return ips;
  const auto links = netlink->links();
  const auto addresses = netlink->addresses();
  if (!links || !addresses) return ips;
  for (const net::AddressInfo& address : *addresses) {
    const auto link = std::find_if(links->begin(), links->end(), [&](const net::LinkInfo& one) {
      return one.index == address.link_index;
    });
    if (link != links->end() && holds_service_addresses(*link)) continue;
    if (!address.ip.is_loopback() && !is_link_local(address.ip)) ips.push_back(address.ip);
  }
  return ips;
}

dataplane::NodeConfig node_config(const AgentConfig& config, const std::string& node_name,
                                  const api::Node* object, const HostAddresses& addresses) {
  dataplane::NodeConfig node{node_name, config.node_ips, config.local_pod_cidrs};
  if (object != nullptr) {
    if (node.node_ips.empty()) node.node_ips = object->internal_ips;
    if (node.local_pod_cidrs.empty()) node.local_pod_cidrs = object->pod_cidrs;
    node.zone = object->zone;
  }
  node.localhost_node_ports = config.localhost_node_ports;
  node.masquerade_all = config.masquerade_all;
  node.service_cidrs = config.service_cidrs;
  node.node_cidrs = config.node_cidrs;
  node.proxy_name = config.service_proxy_name;
  if (!config.node_port_addresses.empty()) set_node_ports(config, addresses, node);
  return node;
}

}  // namespace fairlead::agent
