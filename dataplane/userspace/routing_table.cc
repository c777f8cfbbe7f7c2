#include "dataplane/userspace/routing_table.h"

#include <algorithm>
#include <unordered_map>

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
  // The low bits have something of every bit: they alone choose the leaf.
  const uint64_t mixed = (std::hash<Ip>()(key.to.ip) ^ more) * 0x9e3779b97f4a7c15;
  return mixed ^ mixed >> 32;
}

Rows rows_of(const NodeConfig& node, const api::ObjectKey& service, const ServiceEntry& entry) {
  Rows rows;
  for (const PortRule& rule : entry.ports) {
    if (rule.protocol == Protocol::sctp) continue;
    const auto named =
        std::make_shared<const NamedRule>(cat(port_label(service, rule.port_name), "/",
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

RoutingTable::RoutingTable() : node_(std::make_shared<const NodeConfig>()) {}

RoutingTable RoutingTable::with(std::shared_ptr<const NodeConfig> node,
                                const Changes& changes) const {
  RoutingTable next = *this;
  next.node_ = std::move(node);
  // Of the next table alone: these may be written to.
  std::array<std::shared_ptr<Branch>, fanout> branches;
  std::unordered_map<size_t, Leaf*> leaves;
  for (const auto& [key, route] : changes) {
    const size_t hash = FlowKeyHash()(key) % (fanout * fanout);
    auto& branch = branches[hash / fanout];
    if (!branch) {
      auto& shared = next.branches_[hash / fanout];
      branch = shared ? std::make_shared<Branch>(*shared) : std::make_shared<Branch>();
      shared = branch;
    }
    Leaf*& leaf = leaves[hash];
    if (leaf == nullptr) {
      auto& shared = (*branch)[hash % fanout];
      auto copy = shared ? std::make_shared<Leaf>(*shared) : std::make_shared<Leaf>();
      leaf = copy.get();
      shared = std::move(copy);
    }
    std::erase_if(*leaf, [&](const auto& row) { return row.first == key; });
    if (route) leaf->emplace_back(key, *route);
  }
  return next;
}

const Route* RoutingTable::find(const FlowKey& key) const {
  const size_t hash = FlowKeyHash()(key) % (fanout * fanout);
  const auto& branch = branches_[hash / fanout];
  if (!branch || !(*branch)[hash % fanout]) return nullptr;
  for (const auto& [held, route] : *(*branch)[hash % fanout]) {
    if (held == key) return &route;
  }
  return nullptr;
}

Rows RoutingTable::rows() const {
  Rows rows;
  for (const auto& branch : branches_) {
    if (!branch) continue;
    for (const auto& leaf : *branch) {
      if (leaf) rows.insert(rows.end(), leaf->begin(), leaf->end());
    }
  }
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
