// What drivers share that leave flows to the kernel's connection tracker: after a change, datagram
// flows that it made stale (stale_flows.h) are forgotten, so that their next packet chooses anew;
// and which flows go on after a driver has retired.
#pragma once

#include <memory>
#include <set>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/service_table.h"
#include "net/conntrack.h"

namespace fairlead::dataplane {

// What a driver had rules for when it retired.
struct RetiredAddresses {
  std::set<SocketAddress> dialled, backends;
};

// Belongs to the driver's thread. The log's sink and the registry outlive it.
class DriverFlows {
 public:
  // `mode` names the metric. Without `conntrack` stale flows stay.
  DriverFlows(std::unique_ptr<net::Conntrack> conntrack, std::string_view mode, const Log& log,
              Registry& registry);

  // Remembers the Services with UDP ports, and what of them came, left or moved. `changed` and
  // `full` as in Driver::apply().
  void update(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full);

  // A UDP frontend that the kernel had and no update() named, such as an earlier run's, has gone.
  void left(const SocketAddress& frontend);
  // The kernel may have sent flows elsewhere than the updates say.
  void check_all() { wanted_ = true; }

  // When the kernel sends new flows as the last update() says: forgets those that are stale. Lists
  // flows only after a change that can have made some. What fails is tried again by the next call.
  Result<void> repair();

  // Whether some flow, of any protocol, needs the tracker to go on: one to a dialled address that
  // is translated, or one to a backend that is sent on from another port than its own (of two
  // connections of this node to one backend the later one is, when the first is a client's that is
  // masqueraded). Also when that cannot be told.
  bool any_left(const RetiredAddresses& retired) const;

 private:
  void change(const api::ObjectKey& key, ServiceEntry next, const NodeConfig& node);

  std::unique_ptr<net::Conntrack> conntrack_;
  const Log log_;
  Counter& removed_;
  ServiceTable table_;              // UDP ports only
  std::set<SocketAddress> former_;  // frontends that have gone since the last repair()
  bool wanted_ = false;
};

}  // namespace fairlead::dataplane
