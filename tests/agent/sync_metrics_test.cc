#include "agent/sync_metrics.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::agent {
namespace {

const WallTime started = *parse_rfc3339("2026-01-02T03:04:05Z");

api::EndpointSlice slice(std::string trigger) {
  api::EndpointSlice out;
  out.meta.key = {"default", "web-1"};
  out.service = "web";
  out.address_type = "IPv4";
  out.meta.annotations["endpoints.kubernetes.io/last-change-trigger-time"] = std::move(trigger);
  return out;
}

bool has_line(const Registry& registry, std::string_view line) {
  return cat("\n", registry.text()).find(cat("\n", line, "\n")) != std::string::npos;
}

TEST(SyncMetrics, AnEndpointChangeIsMeasuredFromItsTriggerToTheKernel) {
  Registry registry;
  SyncMetrics metrics(registry, started);
  api::SnapshotBuilder builder;
  builder.put(std::make_shared<const api::EndpointSlice>(slice("2026-01-02T03:04:10Z")));
  const auto tick = builder.take();
  const WallTime now = started + std::chrono::seconds(7);
  metrics.queued(*tick.snapshot, tick.changes, now);
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1"));
  metrics.synced(false, false, std::chrono::milliseconds(3), {}, now);
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1"))
      << "the kernel did not take it";
  metrics.synced(false, true, std::chrono::milliseconds(3), {}, now);
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0"));
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_endpoint_changes_total 1"));
  EXPECT_TRUE(has_line(registry,
                       "kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 2"));
  EXPECT_TRUE(has_line(
      registry, "kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 2"));
  EXPECT_TRUE(has_line(
      registry, "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 0"));
  EXPECT_TRUE(has_line(
      registry,
      cat("kubeproxy_sync_proxy_rules_last_timestamp_seconds ",
          std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count())));
}

TEST(SyncMetrics, ChangesFromBeforeTheStartAreNotOurs) {
  Registry registry;
  SyncMetrics metrics(registry, started);
  api::SnapshotBuilder builder;
  builder.put(std::make_shared<const api::EndpointSlice>(slice("2026-01-02T03:04:04Z")));
  const auto tick = builder.take();
  metrics.queued(*tick.snapshot, tick.changes, started);
  metrics.synced(true, true, {}, {}, started);
  EXPECT_TRUE(has_line(
      registry, "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 0"));
}

TEST(SyncMetrics, CountsPoliciesWithoutLocalEndpoints) {
  Registry registry;
  SyncMetrics metrics(registry, started);
  metrics.synced(true, true, {}, {.rules_v6 = 2, .no_local_external = 3}, started);
  EXPECT_TRUE(has_line(
      registry,
      "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"external\"} 3"));
  EXPECT_TRUE(has_line(registry,
                       "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1"));
  EXPECT_TRUE(has_line(registry,
                       "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 0"));
}

dataplane::PortRule rule(bool internal, bool local_backend, dataplane::NoBackend if_empty) {
  dataplane::PortRule out;
  out.frontends = {
      {internal ? dataplane::FrontendKind::cluster_ip : dataplane::FrontendKind::load_balancer,
       Ip::v4(1), 80, true}};
  out.backends = {{Ip::v4(2), 80, local_backend}};
  out.if_empty = if_empty;
  return out;
}

TEST(TableCounts, FollowsChangesLikeAFullCount) {
  using dataplane::NoBackend;
  dataplane::ServiceTable table;
  table.services[{"a", "one"}].ports = {rule(true, false, NoBackend::drop)};
  table.services[{"a", "two"}].ports = {rule(false, false, NoBackend::drop),
                                        rule(false, true, NoBackend::drop)};
  table.services[{"a", "none"}].ports = {rule(false, false, NoBackend::reject)};
  TableCounts counts;
  counts.replace(table);
  EXPECT_EQ(counts.total(), (Counts{4, 4, 0, 1, 1}));
  table.services.erase({"a", "one"});
  table.services[{"a", "two"}].ports.pop_back();
  table.services[{"a", "new"}].ports = {rule(true, true, NoBackend::drop)};
  counts.update(table, {{"a", "one"}, {"a", "two"}, {"a", "new"}, {"a", "absent"}});
  TableCounts full;
  full.replace(table);
  EXPECT_EQ(counts.total(), full.total());
}

TEST(SyncMetrics, FailuresOfNftablesModeHaveACounterOfTheirOwn) {
  Registry registry;
  SyncMetrics metrics(registry, started);
  metrics.failed("ebpf");
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total 0"));
  metrics.failed("nftables");
  EXPECT_TRUE(has_line(registry, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total 1"));
}

// Times of triggers that cannot be used, and how many changes are measured then.
TEST(SyncMetrics, TriggersThatAreNoneAreLeftOut) {
  struct Case {
    std::string_view trigger;
    int count;
    std::string_view sum;
  };
  const Case cases[] = {
      {"2026-01-02T03:04:05Z", 1, "5"},  // the moment of the start
      {"2026-01-02T03:04:04Z", 0, "0"},  // before it
      {"2026-01-02T05:04:06+02:00", 1, "4"},
      {"2026-01-02T03:04:09.5Z", 1, "0.5"},
      {"2026-01-02T03:09:05Z", 1, "0"},  // a clock that is five minutes ahead
      {"", 0, "0"},
      {"yesterday", 0, "0"},
      {"2026-13-02T03:04:05Z", 0, "0"},
  };
  for (const Case& c : cases) {
    Registry registry;
    SyncMetrics metrics(registry, started);
    api::SnapshotBuilder builder;
    builder.put(std::make_shared<const api::EndpointSlice>(slice(std::string(c.trigger))));
    const auto tick = builder.take();
    const WallTime now = started + std::chrono::seconds(5);
    metrics.queued(*tick.snapshot, tick.changes, now);
    metrics.synced(false, true, {}, {}, now);
    const std::string family = "kubeproxy_network_programming_duration_seconds_";
    EXPECT_TRUE(has_line(registry, cat(family, "count{ip_family=\"IPv4\"} ", c.count)))
        << c.trigger;
    EXPECT_TRUE(has_line(registry, cat(family, "sum{ip_family=\"IPv4\"} ", c.sum))) << c.trigger;
  }
}

TEST(SyncMetrics, RemembersALimitedNumberOfTriggers) {
  Registry registry;
  SyncMetrics metrics(registry, started);
  api::SnapshotBuilder builder;
  constexpr int limit = 10'000;
  for (int i = 0; i < limit + 7; ++i) {
    auto one = slice("2026-01-02T03:04:05Z");
    one.service = cat("web-", i);
    one.meta.key.name = cat("web-", i, "-1");
    builder.put(std::make_shared<const api::EndpointSlice>(std::move(one)));
  }
  const auto tick = builder.take();
  metrics.queued(*tick.snapshot, tick.changes, started);
  EXPECT_TRUE(
      has_line(registry, cat("kubeproxy_sync_proxy_rules_endpoint_changes_total ", limit + 7)));
  metrics.synced(false, true, {}, {}, started);
  EXPECT_TRUE(has_line(registry, cat("kubeproxy_network_programming_duration_seconds_count{"
                                     "ip_family=\"IPv4\"} ",
                                     limit)));
  metrics.queued(*tick.snapshot, {}, started);
  metrics.synced(false, true, {}, {}, started);
  EXPECT_TRUE(has_line(registry, cat("kubeproxy_network_programming_duration_seconds_count{"
                                     "ip_family=\"IPv4\"} ",
                                     limit)))
      << "each is measured once";
}

}  // namespace
}  // namespace fairlead::agent
