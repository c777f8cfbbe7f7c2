// RoutingTable: where new flows go, by what their client dialled. A value that never changes once
// it is made, so that the thread that forwards reads it without a lock; the next one shares with it
// all but what the change touches.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/service_table.h"

namespace fairlead::dataplane::userspace {

// What a client dials.
struct FlowKey {
  SocketAddress to;
  Protocol protocol = Protocol::tcp;
  std::string to_string() const;  // "10.96.0.1:80/TCP"
  friend auto operator<=>(const FlowKey&, const FlowKey&) = default;
};
struct FlowKeyHash {
  size_t operator()(const FlowKey& key) const noexcept;
};

// A PortRule with a name that no other has: what is remembered about a rule is kept under it.
struct NamedRule {
  std::string name;  // "default/web:http/TCP4"
  PortRule rule;
  friend bool operator==(const NamedRule&, const NamedRule&) = default;
};

struct Route {
  std::shared_ptr<const NamedRule> rule;
  Frontend frontend;
  friend bool operator==(const Route& a, const Route& b) {
    return a.frontend == b.frontend && *a.rule == *b.rule;
  }
};

using Rows = std::vector<std::pair<FlowKey, Route>>;

// Every key that an entry serves, sorted and each once; as resolve() has it, the first frontend in
// the order of the rules wins. SCTP has none.
Rows rows_of(const NodeConfig& node, const api::ObjectKey& service, const ServiceEntry& entry);

class RoutingTable {
 public:
  RoutingTable();  // empty, of a node without addresses

  using Changes = std::vector<std::pair<FlowKey, std::optional<Route>>>;  // nothing: the key goes
  RoutingTable with(std::shared_ptr<const NodeConfig> node, const Changes& changes) const;

  const Route* find(const FlowKey& key) const;  // null: nobody serves it
  const NodeConfig& node() const { return *node_; }
  Rows rows() const;  // sorted

 private:
  // By the key's hash: branches of leaves of a few rows each. Where nothing is there is none.
  static constexpr size_t fanout = 64;
  using Leaf = Rows;
  using Branch = std::array<std::shared_ptr<const Leaf>, fanout>;

  std::shared_ptr<const NodeConfig> node_;
  std::array<std::shared_ptr<const Branch>, fanout> branches_;
};

// Who may serve a new flow. Views into the table.
struct Choice {
  const Route* route = nullptr;       // null: nobody has this address and port
  std::span<const Backend> backends;  // empty: the flow is refused or dropped
};
Choice choose_route(const RoutingTable& table, const Ip& source, const FlowKey& key);

}  // namespace fairlead::dataplane::userspace
