// What the TCP and the UDP half of the forwarding thread share.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "dataplane/userspace/balancer.h"
#include "dataplane/userspace/routing_table.h"
#include "net/event_loop.h"

namespace fairlead::dataplane::userspace {

// One side of a TCP connection that is carried: who began it, and whom that one dialled.
struct ConnectionSide {
  SocketAddress client, dialled;
  friend auto operator<=>(const ConnectionSide&, const ConnectionSide&) = default;
};

struct CarriedConnections {
  std::vector<ConnectionSide> clients;
  std::vector<ConnectionSide> backends;  // this node is their client; not of all there is one yet
};

struct ForwardingLimits {
  size_t max_connections = 16384;
  size_t max_udp_flows = 16384;
  size_t max_clients = 65536;  // whose backend is remembered for session affinity
  Duration connect_timeout = std::chrono::seconds(3);  // per backend
  size_t connect_attempts = 4;                         // backends that one connection may try
  Duration udp_idle = std::chrono::seconds(60);
  Duration sweep = std::chrono::seconds(1);  // how often idle flows are looked for
};

// The table of now. Thread-safe. Not a std::atomic: the pointer's own of GCC 12 lets a load race
// with the next store (libstdc++ unlocks with relaxed order).
class PublishedTable {
 public:
  std::shared_ptr<const RoutingTable> load() const {
    const std::lock_guard lock(mutex_);
    return table_;
  }
  void store(std::shared_ptr<const RoutingTable> table) {
    const std::lock_guard lock(mutex_);
    table_.swap(table);  // the old one ends with `table`, outside the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const RoutingTable> table_ = std::make_shared<const RoutingTable>();
};

struct ForwardingMetrics {
  explicit ForwardingMetrics(Registry& registry);

  Gauge& connections;
  Gauge& udp_flows;
  Counter& accepted;         // TCP connections
  Counter& datagrams;        // from clients
  Counter& bytes;            // of TCP, both ways
  Counter& refused_policy;   // no backend for this source, or not allowed to dial
  Counter& refused_limit;    // more connections or file descriptors than there may be
  Counter& refused_backend;  // no backend could be reached
  Counter& connect_failures;
  Counter& flows_evicted;  // UDP flows that made room for newer ones
  Counter& datagrams_lost;
};

// Everything here outlives the halves, and belongs to their loop; the table is set by another
// thread.
struct Forwarding {
  net::EventLoop& loop;
  const PublishedTable& table;
  Balancer& balancer;
  const Clock& clock;
  const ForwardingLimits& limits;
  ForwardingMetrics& metrics;
};

}  // namespace fairlead::dataplane::userspace
