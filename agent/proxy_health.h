// Whether the proxy keeps up, and whether its node may get traffic: /healthz and /livez as
// kube-proxy answers them on port 10256 (pkg/proxy/healthcheck/proxier_health.go).
#pragma once

#include <optional>
#include <string>

#include "api/objects.h"
#include "base/clock.h"

namespace fairlead::agent {

// Belongs to the feed loop.
class ProxyHealth {
 public:
  ProxyHealth(const Clock& clock, Duration sync_period);

  void queued();  // an update is on its way to the kernel
  void synced();  // and all of them are there
  // The Node object of this node; null when it is not there. One that was there and is gone counts
  // as deleted; one that never was, as a node that nobody manages.
  void set_node(const api::Node* node);

  // No update has waited longer than twice the sync period. Starting up is healthy.
  bool healthy() const;
  // The Node is neither being deleted nor about to be taken away by the cluster autoscaler.
  bool node_eligible() const { return eligible_; }

  // {"lastUpdated": ..., "currentTime": ..., "nodeEligible": ...}; /livez leaves the last one out.
  std::string to_json(bool with_node) const;

 private:
  const Clock& clock_;
  Duration patience_;
  WallTime last_updated_;
  std::optional<MonoTime> waiting_since_;
  bool node_known_ = false;
  bool eligible_ = true;
};

}  // namespace fairlead::agent
