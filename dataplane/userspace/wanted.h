// Wanted: what the kernel and the forwarding thread shall know, kept as the service table changes.
//
// Two Services may claim one address and port (externalIPs can); the one that sorts first has it,
// and when it goes the next one takes over.
#pragma once

#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/routing_table.h"

namespace fairlead::dataplane::userspace {

// What the kernel does with a new flow on this route. Refused there when no source gets a backend:
// with RST or ICMP port unreachable, which for TCP also stands for a drop.
CaptureAction action_of(const NodeConfig& node, const Route& route);

class Wanted {
 public:
  struct Touched {
    RoutingTable::Changes routes;
    std::set<FlowKey> keys;
    std::set<Ip> vips;
  };
  // Reads the entries of `services` again, all of them when `full`. Everything whose state may have
  // changed is named in the answer.
  Touched update(const ServiceTable& table, const std::set<api::ObjectKey>& services, bool full);

  const std::unordered_map<FlowKey, CaptureAction, FlowKeyHash>& captured() const {
    return captured_;
  }
  // ClusterIPs, external IPs and load balancer IPs, with the number of Services that have them.
  const std::map<Ip, uint32_t>& vips() const { return vips_; }

  // What a Service has, others' keys left out.
  std::vector<FlowKey> keys_of(const api::ObjectKey& service) const;
  std::vector<Ip> vips_of(const api::ObjectKey& service) const;

 private:
  struct Service {
    Rows rows;
    std::set<Ip> vips;
  };

  void forget(const api::ObjectKey& key, Touched& touched);
  void remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                Touched& touched);
  const Route& route_of(const api::ObjectKey& owner, const FlowKey& key) const;

  std::map<api::ObjectKey, Service> services_;
  std::unordered_map<FlowKey, std::vector<api::ObjectKey>, FlowKeyHash> claims_;  // sorted
  std::unordered_map<FlowKey, CaptureAction, FlowKeyHash> captured_;
  std::map<Ip, uint32_t> vips_;
};

}  // namespace fairlead::dataplane::userspace
