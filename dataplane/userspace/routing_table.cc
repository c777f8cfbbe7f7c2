#include "dataplane/userspace/routing_table.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane::userspace {
namespace {

// The addresses that a frontend answers on.
std::vector<Ip> addresses_of(const NodeConfig& node, const PortRule& rule,
                             const Frontend& frontend) {
  if (frontend.kind != FrontendKind::node_port) return {frontend.ip};
  std::vector<Ip> out;
  for (const Ip& ip : node_port_ips(node)) {
    if (ip.is_v4() != rule.ipv6 && !ip.is_loopback()) out.push_back(ip);
  }
  if (node.localhost_node_ports && !rule.ipv6) out.push_back(Ip::v4(0x7f000001));
  return out;
}

}  // namespace

std::string FlowKey::to_string() const {
  return cat(to.to_string(), "/", fairlead::to_string(protocol));
}

size_t FlowKeyHash::operator()(const FlowKey& key) const noexcept {
  const size_t more = static_cast<size_t>(key.to.port) << 8 | static_cast<size_t>(key.protocol);
  return (std::hash<Ip>()(key.to.ip) ^ more) * 0x9e3779b97f4a7c15 >> 7;
}

Rows rows_of(const NodeConfig& node, const api::ObjectKey& service, const ServiceEntry& entry) {
  Rows rows;
  for (const PortRule& rule : entry.ports) {
    if (rule.protocol == Protocol::sctp) continue;
    const auto named =
        std::make_shared<const NamedRule>(cat(service.to_string(), ":", rule.port_name, "/",
                                              to_string(rule.protocol), rule.ipv6 ? "6" : "4"),
                                          rule);
    for (const Frontend& frontend : rule.frontends) {
      for (const Ip& ip : addresses_of(node, rule, frontend)) {
        rows.push_back({{{ip, frontend.port}, rule.protocol}, {named, frontend}});
      }
    }
  }
  const auto by_key = [](const auto& a, const auto& b) { return a.first < b.first; };
  const auto same_key = [](const auto& a, const auto& b) { return a.first == b.first; };
  std::stable_sort(rows.begin(), rows.end(), by_key);
  rows.erase(std::unique(rows.begin(), rows.end(), same_key), rows.end());
  return rows;
}

RoutingTable::RoutingTable() : node_(std::make_shared<const NodeConfig>()) {
  shards_.fill(std::make_shared<const Shard>());
}

RoutingTable RoutingTable::with(std::shared_ptr<const NodeConfig> node,
                                const Changes& changes) const {
  RoutingTable next = *this;
  next.node_ = std::move(node);
  std::array<std::shared_ptr<Shard>, shard_count> copies;
  for (const auto& [key, route] : changes) {
    const size_t shard = shard_of(key);
    auto& copy = copies[shard];
    if (!copy) {
      copy = std::make_shared<Shard>(*shards_[shard]);
      next.shards_[shard] = copy;
    }
    if (route) {
      copy->insert_or_assign(key, *route);
    } else {
      copy->erase(key);
    }
  }
  return next;
}

const Route* RoutingTable::find(const FlowKey& key) const {
  const Shard& shard = *shards_[shard_of(key)];
  const auto found = shard.find(key);
  return found == shard.end() ? nullptr : &found->second;
}

Rows RoutingTable::rows() const {
  Rows rows;
  for (const auto& shard : shards_) rows.insert(rows.end(), shard->begin(), shard->end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return rows;
}

Choice choose_route(const RoutingTable& table, const Ip& source, const FlowKey& key) {
  const Route* route = table.find(key);
  if (route == nullptr) return {};
  const PortRule& rule = route->rule->rule;
  if (!may_dial(table.node(), rule, route->frontend, source)) return {route, {}};
  // Only this node can have the dialled address as its source: a VIP is local to it.
  const SourceClass from =
      source == key.to.ip ? SourceClass::node : classify_source(table.node(), source);
  return {route, treatment(table.node(), rule, route->frontend, from).backends};
}

}  // namespace fairlead::dataplane::userspace
