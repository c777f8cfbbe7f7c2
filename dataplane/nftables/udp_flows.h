// Removes datagram flows that a change of rows made stale; see dataplane/stale_flows.h.
#pragma once

#include <memory>
#include <set>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/nftables/rows.h"
#include "net/conntrack.h"

namespace fairlead::dataplane::nft {

class UdpFlows {
 public:
  // `conntrack` may be null: then nothing is done.
  UdpFlows(std::unique_ptr<net::Conntrack> conntrack, const Log& log, Registry& registry);

  // Keeps what it needs of the table: the Services with a UDP port.
  void update(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full);
  // nullptr: not there. Flows are only listed after a row came or lost a backend.
  void row_changes(const RowKey& key, const Row* from, const Row* to);
  void check_all() { stale_ = true; }

  // Whether some flow, of any protocol, to one of these is translated. Also when that cannot be
  // told.
  bool any_to(const std::set<SocketAddress>& frontends) const;

  // Does it, when something changed. After an error the next call tries again.
  Result<void> clean();

 private:
  std::unique_ptr<net::Conntrack> conntrack_;
  const Log log_;
  Counter& removed_;
  ServiceTable table_;
  std::set<SocketAddress> former_;
  bool stale_ = false;
};

}  // namespace fairlead::dataplane::nft
