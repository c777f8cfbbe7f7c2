#include "agent/sync_metrics.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::agent {
namespace {

constexpr size_t max_triggers = 10'000;
const std::string trigger_annotation = "endpoints.kubernetes.io/last-change-trigger-time";

std::vector<double> sync_bounds_s() {
  std::vector<double> bounds;
  for (double bound = 0.001; bounds.size() < 15; bound *= 2) bounds.push_back(bound);
  return bounds;
}

std::vector<double> programming_bounds_s() {
  std::vector<double> bounds = {0.25, 0.5};
  for (int s = 1; s <= 59; ++s) bounds.push_back(s);
  for (int s = 60; s <= 115; s += 5) bounds.push_back(s);
  for (int s = 120; s <= 300; s += 30) bounds.push_back(s);
  return bounds;
}

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace

SyncMetrics::Family SyncMetrics::family(Registry& registry, const char* name) {
  const Labels labels = {{"ip_family", name}};
  return {registry.histogram("kubeproxy_sync_proxy_rules_duration_seconds",
                             "Time of one sync in seconds", sync_bounds_s(), labels),
          registry.histogram("kubeproxy_sync_full_proxy_rules_duration_seconds",
                             "Time of one full sync in seconds", sync_bounds_s(), labels),
          registry.histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                             "Time of one partial sync in seconds", sync_bounds_s(), labels),
          registry.histogram("kubeproxy_network_programming_duration_seconds",
                             "From the change of an endpoint to the kernel in seconds",
                             programming_bounds_s(), labels)};
}

SyncMetrics::SyncMetrics(Registry& registry, WallTime started)
    : v4_(family(registry, "IPv4")),
      v6_(family(registry, "IPv6")),
      last_sync_s_(registry.gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                                  "When the last sync ended well")),
      last_queued_s_(registry.gauge("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                                    "When the last change came")),
      endpoint_changes_(registry.counter("kubeproxy_sync_proxy_rules_endpoint_changes_total",
                                         "EndpointSlice changes")),
      service_changes_(
          registry.counter("kubeproxy_sync_proxy_rules_service_changes_total", "Service changes")),
      endpoint_pending_(registry.gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                                       "EndpointSlice changes that wait for a sync")),
      service_pending_(registry.gauge("kubeproxy_sync_proxy_rules_service_changes_pending",
                                      "Service changes that wait for a sync")),
      no_local_internal_(registry.gauge("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                                        "Service ports of a Local policy without local endpoints",
                                        {{"traffic_policy", "internal"}})),
      no_local_external_(registry.gauge("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                                        "Service ports of a Local policy without local endpoints",
                                        {{"traffic_policy", "external"}})),
      nftables_failures_(registry.counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                                          "Syncs of nftables mode that left something undone")),
      started_(started) {}

void SyncMetrics::failed(std::string_view mode) {
  if (mode == "nftables") nftables_failures_.add();
}

void SyncMetrics::queued(const api::Snapshot& snapshot, const api::Changes& changes, WallTime now) {
  if (changes.empty()) return;
  last_queued_s_.set(seconds(now));
  int64_t endpoints = 0, services = 0;
  for (const api::Change& change : changes.objects) {
    services += change.kind == api::Kind::service;
    if (change.kind != api::Kind::endpoint_slice) continue;
    ++endpoints;
    const auto slice = snapshot.find<api::EndpointSlice>(change.key);
    if (slice == nullptr || triggers_.size() >= max_triggers) continue;
    const auto at = slice->meta.annotations.find(trigger_annotation);
    if (at == slice->meta.annotations.end()) continue;
    const auto time = parse_rfc3339(at->second);
    if (time && *time >= started_) triggers_.push_back(*time);
  }
  endpoint_changes_.add(static_cast<uint64_t>(endpoints));
  service_changes_.add(static_cast<uint64_t>(services));
  endpoint_pending_.add(endpoints);
  service_pending_.add(services);
}

void SyncMetrics::synced(bool full, bool ok, Duration took, const Counts& counts, WallTime now) {
  const double took_s = std::chrono::duration<double>(took).count();
  const auto observe = [&](Family& family) {
    family.all.observe(took_s);
    (full ? family.full : family.partial).observe(took_s);
    for (const WallTime trigger : triggers_) {
      // Another machine's clock may be ahead; a sum that falls would look like a restart.
      const double passed_s = std::chrono::duration<double>(now - trigger).count();
      if (ok) family.programming.observe(std::max(0.0, passed_s));
    }
  };
  if (counts.rules_v4 > 0 || counts.rules_v6 == 0) observe(v4_);
  if (counts.rules_v6 > 0) observe(v6_);
  no_local_internal_.set(static_cast<int64_t>(counts.no_local_internal));
  no_local_external_.set(static_cast<int64_t>(counts.no_local_external));
  if (!ok) return;
  triggers_.clear();
  last_sync_s_.set(seconds(now));
  endpoint_pending_.set(0);
  service_pending_.set(0);
}

}  // namespace fairlead::agent
