// kube-proxy's metrics of its sync, under their own names, so that dashboards and alerts made for
// it work. Source: the Kubernetes metrics reference, subsystem kubeproxy.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "agent/table_counts.h"
#include "api/snapshot.h"
#include "base/clock.h"
#include "base/metrics.h"

namespace fairlead::agent {

// Belongs to the feed loop.
class SyncMetrics {
 public:
  // Trigger times before `started` were served by somebody else.
  SyncMetrics(Registry& registry, WallTime started);

  // A tick came: its changes wait for synced().
  void queued(const api::Snapshot& snapshot, const api::Changes& changes, WallTime now);
  // One hand-over to the kernel ended. `ok`: nothing waits any more.
  void synced(bool full, bool ok, Duration took, const Counts& counts, WallTime now);
  void failed(std::string_view mode);  // and left something undone

 private:
  struct Family {
    Histogram &all, &full, &partial, &programming;
  };
  static Family family(Registry& registry, const char* name);

  Family v4_, v6_;
  Gauge &last_sync_s_, &last_queued_s_;
  Counter &endpoint_changes_, &service_changes_;
  Gauge &endpoint_pending_, &service_pending_;
  Gauge &no_local_internal_, &no_local_external_;
  Counter& nftables_failures_;
  WallTime started_;
  std::vector<WallTime> triggers_;  // of endpoint changes that wait
};

}  // namespace fairlead::agent
