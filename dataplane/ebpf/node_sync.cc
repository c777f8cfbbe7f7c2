#include "dataplane/ebpf/node_sync.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/flow.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr int so_netns_cookie = 71;  // SO_NETNS_COOKIE, asm-generic/socket.h, Linux 5.14
constexpr uint16_t first_node_port = 30000;

template <class T>
std::string blob(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

Bytes as_bytes_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

fl_network network_of(const Cidr& cidr) {
  const fl_cidr prefix = to_map(cidr);
  fl_network network{prefix.ip, {}};
  auto* mask = reinterpret_cast<uint8_t*>(&network.mask);
  for (uint32_t i = 0; i < prefix.prefixlen; ++i)
    mask[i / 8] |= static_cast<uint8_t>(128u >> i % 8);
  return network;
}

}  // namespace

std::pair<uint16_t, uint16_t> masquerade_ports(uint16_t low, uint16_t high) {
  constexpr uint16_t enough = 4096;
  uint16_t below = std::min(low, first_node_port);
  if (below >= 1024 + enough) return {1024, static_cast<uint16_t>(below - 1)};
  if (high <= 65535 - enough) return {static_cast<uint16_t>(high + 1), 65535};
  // Every port is given to sockets: the upper end collides least with listeners.
  return {61000, 65535};
}

uint64_t own_netns_cookie() {
  const net::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return getsockopt(socket.get(), SOL_SOCKET, so_netns_cookie, &cookie, &length) == 0 ? cookie : 0;
}

NodeFacts read_node_facts() {
  NodeFacts facts;
  facts.netns_cookie = own_netns_cookie();
  unsigned low = 32768, high = 60999;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
  std::tie(facts.masquerade_port_low, facts.masquerade_port_high) =
      masquerade_ports(static_cast<uint16_t>(low), static_cast<uint16_t>(high));
  return facts;
}

Result<void> NodeSync::load() {
  for (auto [map, held] : {std::pair(MapId::pod_cidrs, &pod_cidrs_),
                           std::pair(MapId::service_cidrs, &service_cidrs_)}) {
    const int error = maps_.each(map, [&, set = held](const std::byte* key, const std::byte*) {
      set->emplace(reinterpret_cast<const char*>(key), sizeof(fl_cidr));
    });
    if (error != 0) {
      return fail(cat("cannot read the ", shape_of(map).name, " map: ", std::strerror(error)));
    }
  }
  each_entry<uint32_t, fl_config>(maps_, MapId::config,
                                  [&](uint32_t, const fl_config& held) { config_ = held; });
  return {};
}

void NodeSync::apply(const NodeConfig& node, ApplyReport& report) {
  if (in_sync_ && wanted_ == node) return;
  wanted_ = node;
  write(report);
}

void NodeSync::retry(ApplyReport& report) {
  if (pending()) write(report);
}

fl_config NodeSync::config_for(const NodeConfig& node) const {
  fl_config config{};
  config.node_netns = facts_.netns_cookie;
  config.masquerade_port_low = facts_.masquerade_port_low;
  config.masquerade_port_high = facts_.masquerade_port_high;
  const auto set = [&](bool on, uint32_t flag) { config.flags |= on ? flag : 0u; };
  set(knows_local_pods(node, false), FL_CONFIG_POD_CIDRS4);
  set(knows_local_pods(node, true), FL_CONFIG_POD_CIDRS6);
  set(facts_.tc, FL_CONFIG_TC);
  set(node.masquerade_all, FL_CONFIG_MASQUERADE_ALL);
  set(node.localhost_node_ports, FL_CONFIG_LOCALHOST);
  set(!node.service_cidrs.empty(), FL_CONFIG_SERVICE_CIDRS);
  for (const Cidr& cidr : node.node_cidrs) {
    if (config.node_network_count == FL_MAX_NODE_NETWORKS) break;  // write() says so
    config.node_networks[config.node_network_count++] = network_of(cidr);
  }
  for (const Ip& ip : node.node_ips) {
    fl_ip& address = config.node_address[ip.is_v4() ? 0 : 1];
    if (same_bytes(address, fl_ip{}) && !ip.is_loopback()) address = to_map(ip);
  }
  return config;
}

static_assert(ebpf_node_cidrs == FL_MAX_NODE_NETWORKS);

// New members first, then the switch that says how to read them, then what has to go: no program
// sees a pod's address without its CIDR.
void NodeSync::write(ApplyReport& report) {
  size_t errors_before = report.errors.size();
  std::set<std::string> pods, services;
  for (const Cidr& cidr : wanted_->local_pod_cidrs) pods.insert(blob(to_map(cidr)));
  for (const Cidr& cidr : wanted_->service_cidrs) services.insert(blob(to_map(cidr)));
  addresses_.set_node(*wanted_);
  addresses_.write(report);
  write_set(MapId::pod_cidrs, pods, pod_cidrs_, true, report);
  write_set(MapId::service_cidrs, services, service_cidrs_, true, report);
  if (const size_t count = wanted_->node_cidrs.size(); count > FL_MAX_NODE_NETWORKS) {
    report.errors.push_back(cat("node: ", count, " networks of nodes, expected at most ",
                                uint32_t{FL_MAX_NODE_NETWORKS}, ": the others are not believed"));
  }
  const fl_config config = config_for(*wanted_);
  if (!config_ || !same_bytes(*config_, config)) {
    std::string zero = blob(uint32_t{0}), value = blob(config);
    WriteOutcome outcome = maps_.update(MapId::config, as_bytes_of(zero), as_bytes_of(value));
    ++report.writes;
    if (outcome.error != 0) {
      report.errors.push_back(cat("node: ", write_trouble(maps_, MapId::config, outcome.error)));
    } else {
      config_ = config;
    }
  }
  write_set(MapId::pod_cidrs, pods, pod_cidrs_, false, report);
  write_set(MapId::service_cidrs, services, service_cidrs_, false, report);
  in_sync_ = report.errors.size() == errors_before;
}

void NodeSync::write_set(MapId map, const std::set<std::string>& wanted,
                         std::set<std::string>& held, bool add, ApplyReport& report) {
  const std::set<std::string> from = add ? wanted : held;
  const std::set<std::string>& other = add ? held : wanted;
  const std::string one = blob(uint32_t{1});
  for (const std::string& key : from) {
    if (other.contains(key)) continue;
    WriteOutcome outcome = add ? maps_.update(map, as_bytes_of(key), as_bytes_of(one))
                               : maps_.erase(map, as_bytes_of(key));
    ++report.writes;
    if (outcome.error == 0) {
      if (add)
        held.insert(key);
      else
        held.erase(key);
      continue;
    }
    fl_cidr cidr;
    std::memcpy(&cidr, key.data(), sizeof cidr);
    report.errors.push_back(
        cat("node: ", to_text(cidr), ": ", write_trouble(maps_, map, outcome.error)));
  }
}

void NodeSync::each(MapId map, const Maps::Visit& visit) const {
  static constexpr uint32_t zero = 0, one = 1;
  if (map == MapId::config) {
    if (!config_) return;
    visit(reinterpret_cast<const std::byte*>(&zero), reinterpret_cast<const std::byte*>(&*config_));
    return;
  }
  for (const std::string& key : map == MapId::pod_cidrs ? pod_cidrs_ : service_cidrs_) {
    visit(reinterpret_cast<const std::byte*>(key.data()), reinterpret_cast<const std::byte*>(&one));
  }
}

}  // namespace fairlead::dataplane::ebpf
