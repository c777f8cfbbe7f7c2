#include "agent/sync_metrics.h"

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

// Digits after the point as nanoseconds; nothing when there are none or more than nine.
std::optional<int64_t> fraction_ns(std::string_view digits) {
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  auto value = parse_int(digits, 0);
  if (!value) return std::nullopt;
  for (size_t i = digits.size(); i < 9; ++i) *value *= 10;
  return value;
}

}  // namespace

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  using std::chrono::year, std::chrono::month, std::chrono::day;
  if (text.size() < 20 || !text.ends_with('Z')) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const auto number = [&](size_t at, size_t size, int64_t high) {
    return parse_int(text.substr(at, size), 0, high);
  };
  const auto y = number(0, 4, 9999), mo = number(5, 2, 12), d = number(8, 2, 31);
  const auto h = number(11, 2, 23), mi = number(14, 2, 59), s = number(17, 2, 60);
  if (!y || !mo || !d || !h || !mi || !s) return std::nullopt;
  const std::chrono::year_month_day date(year(static_cast<int>(*y)),
                                         month(static_cast<unsigned>(*mo)),
                                         day(static_cast<unsigned>(*d)));
  // Nanoseconds since 1970 fit the years up to 2262.
  if (!date.ok() || *y < 1970 || *y > 2200) return std::nullopt;
  int64_t ns = 0;
  if (text.size() > 20) {
    if (text[19] != '.') return std::nullopt;
    const auto fraction = fraction_ns(text.substr(20, text.size() - 21));
    if (!fraction) return std::nullopt;
    ns = *fraction;
  }
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(*h) +
      std::chrono::minutes(*mi) + std::chrono::seconds(*s) + std::chrono::nanoseconds(ns)));
}

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
      started_(started) {}

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
      if (ok) family.programming.observe(std::chrono::duration<double>(now - trigger).count());
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
