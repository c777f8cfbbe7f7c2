// Rows: the ServiceTable as the flat content of the kernel's maps.
//
// One row is one (address, protocol, port) that packets are sent to, with what happens to them and
// the backends in numbered slots: the kernel draws a number below the count and looks the slot up.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane::nft {

struct RowKey {
  Ip ip;
  Protocol protocol = Protocol::tcp;
  uint16_t port = 0;
  // Rows that only sources from outside the node see, before the ordinary ones: the local set of
  // externalTrafficPolicy Local. Without the ordinary row there is none of these.
  bool outside = false;
  friend auto operator<=>(const RowKey&, const RowKey&) = default;
};

struct RowKeyHash {
  size_t operator()(const RowKey& key) const noexcept {
    const size_t rest = size_t{key.port} << 16 | size_t(key.protocol) << 1 | size_t(key.outside);
    return std::hash<Ip>()(key.ip) ^ (rest * 0x9e3779b97f4a7c15);
  }
};

// The chain that serves a row. Masquerade is decided by the chain, from the packet's source.
enum class Action : uint8_t {
  internal,     // ClusterIP: masquerade what is not a local pod
  external,     // NodePort, external IP, load balancer: masquerade all
  node_only,    // the same with policy Local, sources inside the node: masquerade the node's own
  outside,      // the same with policy Local, sources outside: never masquerade
  no_endpoint,  // reject
  policy_drop,
};

// What names the memory of which client has which backend. Rows with one id share it: those of one
// rule that choose from the same backends.
struct Affinity {
  uint64_t id = 0;         // both halves below 2^31
  uint32_t timeout_s = 0;  // 0: no affinity
  friend auto operator<=>(const Affinity&, const Affinity&) = default;
};

struct Row {
  Action action = Action::no_endpoint;
  std::vector<SocketAddress> slots;  // empty for the last two actions
  Affinity affinity = {};            // only with slots
  // Not empty or `guarded`: sources outside the ranges are dropped. None is inside another. The
  // outside row of an address uses those of the ordinary one.
  std::vector<Cidr> ranges = {};
  bool guarded = false;
  friend bool operator==(const Row&, const Row&) = default;
};

using RowMap = std::unordered_map<RowKey, Row, RowKeyHash>;

// The rows of one Service, sorted by key; slots are in the order of the backends.
std::vector<std::pair<RowKey, Row>> rows_of(const NodeConfig& node, const api::ObjectKey& service,
                                            const ServiceEntry& entry);

// The same backends as `wanted`, each that `current` has kept in its slot where possible: holes are
// filled from new backends, then from the end. One backend more or less moves at most one slot.
std::vector<SocketAddress> assign_slots(const std::vector<SocketAddress>& current,
                                        const std::vector<SocketAddress>& wanted);

// A stable text of rows, whatever their slots, for dumps: "10.96.0.1:80 TCP internal ADDRESS...".
std::string to_text(const RowMap& rows);
std::string_view to_string(Action action);

}  // namespace fairlead::dataplane::nft
