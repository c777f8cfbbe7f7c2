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

// What the kernel does with a new flow on this route, and whom it admits (sorted; of a route that
// is not guarded nobody is named).
Verdicts verdicts_of(const NodeConfig& node, const Route& route);
std::vector<Cidr> admitted_by(const NodeConfig& node, const Route& route);

class Wanted {
 public:
  struct Touched {
    RoutingTable::Changes routes;
    std::set<CaptureKey> entries;  // VIPs with them
  };
  // Reads the entries of `services` again; when `full`, all of them, and the node's settings.
  // Everything whose state may have changed is named in the answer.
  Touched update(const ServiceTable& table, const std::set<api::ObjectKey>& services, bool full);

  // All but VIPs.
  const CaptureEntries& entries() const { return entries_; }
  // ClusterIPs, external IPs and load balancer IPs, with the number of Services that have them.
  const std::map<Ip, uint32_t>& vips() const { return vips_; }

  // What a Service has, others' keys left out.
  std::vector<CaptureKey> keys_of(const api::ObjectKey& service) const;
  std::vector<Ip> vips_of(const api::ObjectKey& service) const;

 private:
  struct Service {
    Rows rows;
    std::set<Ip> vips;
  };

  void forget(const api::ObjectKey& key, std::set<FlowKey>& flows, Touched& touched);
  void remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                std::set<FlowKey>& flows, Touched& touched);
  void set_sources(const NodeConfig& node, Touched& touched);
  void decide(const NodeConfig& node, const FlowKey& key, Touched& touched);
  std::vector<CaptureKey> guards_of(const FlowKey& key) const;
  const Route& route_of(const api::ObjectKey& owner, const FlowKey& key) const;

  std::map<api::ObjectKey, Service> services_;
  std::unordered_map<FlowKey, std::vector<api::ObjectKey>, FlowKeyHash> claims_;  // sorted
  CaptureEntries entries_;
  std::map<Ip, uint32_t> vips_;
};

}  // namespace fairlead::dataplane::userspace
