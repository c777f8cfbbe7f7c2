#include "agent/proxy_health.h"

#include <algorithm>

#include "api/json.h"

namespace fairlead::agent {

constexpr std::string_view autoscaler_taint = "ToBeDeletedByClusterAutoscaler";

ProxyHealth::ProxyHealth(const Clock& clock, Duration sync_period)
    : clock_(clock), patience_(2 * sync_period), last_updated_(clock.wall()) {}

void ProxyHealth::queued() {
  if (!waiting_since_) waiting_since_ = clock_.now();
}

void ProxyHealth::synced() {
  waiting_since_.reset();
  last_updated_ = clock_.wall();
}

void ProxyHealth::set_node(const api::Node* node) {
  if (node == nullptr) {
    eligible_ = !node_known_;
    return;
  }
  node_known_ = true;
  eligible_ = !node->meta.deleting && std::find(node->taints.begin(), node->taints.end(),
                                                autoscaler_taint) == node->taints.end();
}

bool ProxyHealth::healthy() const {
  return !waiting_since_ || clock_.now() - *waiting_since_ <= patience_;
}

std::string ProxyHealth::to_json(bool with_node) const {
  // While nothing waits, what the kernel holds is up to date now.
  json::object body{{"lastUpdated", to_rfc3339(waiting_since_ ? last_updated_ : clock_.wall())},
                    {"currentTime", to_rfc3339(clock_.wall())}};
  if (with_node) body["nodeEligible"] = eligible_;
  return json::serialize(body);
}

}  // namespace fairlead::agent
