#include "dns/metrics.h"

#include "base/text.h"

namespace fairlead::dns {
namespace {

constexpr std::array<std::string_view, answerers> answerer_names = {"", "kubernetes", "forward"};

template <size_t N>
void sum(std::array<uint64_t, N>& out, const std::array<Cell, N>& cells) {
  for (size_t i = 0; i < N; ++i) out[i] += cells[i].value();
}

template <size_t N>
std::vector<uint64_t> difference(const std::array<uint64_t, N>& now,
                                 const std::array<uint64_t, N>& before) {
  std::vector<uint64_t> out(N);
  for (size_t i = 0; i < N; ++i) out[i] = now[i] - before[i];
  return out;
}

Labels with(Labels labels, std::string_view key, std::string_view value) {
  labels.emplace_back(key, value);
  return labels;
}

}  // namespace

const std::vector<double>& size_bounds() {
  static const std::vector<double> bounds = {0,    100,  200,  300,  400,  511,  1023,
                                             2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3};
  return bounds;
}

void SlotCells::Sizes::observe(size_t bytes) {
  const auto& bounds = size_bounds();
  size_t i = 0;
  while (i < bounds.size() && static_cast<double>(bytes) > bounds[i]) ++i;
  buckets[i].add();
  sum.add(bytes);
}

void Shard::count(size_t slot, const QueryFacts& facts) {
  SlotCells& cells = slots_[slot];
  const size_t way = (facts.tcp ? 2u : 0u) + (facts.ipv6 ? 1u : 0u);
  cells.requests[way * counted_types + counted_type(facts.type)].add();
  const size_t rcode = std::min<size_t>(facts.rcode, counted_rcodes - 1);
  cells.responses[static_cast<size_t>(facts.by) * counted_rcodes + rcode].add();
  if (facts.dnssec_ok) cells.dnssec_ok.add();
  cells.request_bytes[facts.tcp].observe(facts.request_bytes);
  cells.response_bytes[facts.tcp].observe(facts.reply_bytes);
}

void Shard::observe_duration(size_t slot, Duration duration, uint64_t queries) {
  static const std::vector<double> bounds = latency_bounds_s();
  const double seconds = static_cast<double>(duration.count()) / 1e9;
  size_t i = 0;
  while (i < bounds.size() && seconds > bounds[i]) ++i;
  slots_[slot].durations[i].add(queries);
  slots_[slot].duration_sum_ns.add(static_cast<uint64_t>(duration.count()) * queries);
}

struct Metrics::Totals {
  struct Sizes {
    std::array<uint64_t, size_buckets> buckets{};
    uint64_t sum = 0;
  };
  std::array<uint64_t, 4 * counted_types> requests{};
  std::array<uint64_t, answerers * counted_rcodes> responses{};
  std::array<uint64_t, duration_buckets> durations{};
  uint64_t duration_sum_ns = 0, dnssec_ok = 0;
  std::array<Sizes, 2> request_bytes{}, response_bytes{};

  void add(const SlotCells& cells) {
    sum(requests, cells.requests);
    sum(responses, cells.responses);
    sum(durations, cells.durations);
    duration_sum_ns += cells.duration_sum_ns.value();
    dnssec_ok += cells.dnssec_ok.value();
    for (size_t tcp = 0; tcp < 2; ++tcp) {
      sum(request_bytes[tcp].buckets, cells.request_bytes[tcp].buckets);
      sum(response_bytes[tcp].buckets, cells.response_bytes[tcp].buckets);
      request_bytes[tcp].sum += cells.request_bytes[tcp].sum.value();
      response_bytes[tcp].sum += cells.response_bytes[tcp].sum.value();
    }
  }
};

Metrics::Metrics(Registry& registry, const Plan& plan, size_t shards)
    : registry_(registry), plan_(plan) {
  for (size_t i = 0; i < shards; ++i) {
    shards_.push_back(std::make_unique<Shard>(plan.slots.size()));
  }
  for (size_t i = 0; i < plan.slots.size(); ++i) collected_.push_back(std::make_unique<Totals>());
  for (const auto& site : plan.sites) {
    for (const auto& served : site.zones) {
      const ServerBlock& block = plan.corefile.blocks[served.block];
      const SlotLabels& slot = plan.slots[served.slot];
      const auto enabled = [&](bool is_enabled, std::string_view plugin) {
        if (!is_enabled) return;
        registry
            .gauge("coredns_plugin_enabled", "Plugins by server block and zone.",
                   {{"server", slot.server},
                    {"zone", slot.zone},
                    {"view", ""},
                    {"name", std::string(plugin)}})
            .set(1);
      };
      enabled(block.errors, "errors");
      enabled(!block.logs.empty(), "log");
      enabled(block.kubernetes.has_value(), "kubernetes");
      enabled(!block.forwards.empty(), "forward");
      enabled(block.prometheus.has_value(), "prometheus");
    }
  }
}

Metrics::~Metrics() = default;

void Metrics::add_counts(const Labels& labels, const Totals& now, const Totals& before) {
  for (size_t i = 0; i < now.requests.size(); ++i) {
    if (now.requests[i] == before.requests[i]) continue;
    const size_t way = i / counted_types;
    Labels all = with(labels, "proto", way >= 2 ? "tcp" : "udp");
    all = with(std::move(all), "family", way % 2 == 0 ? "1" : "2");
    all = with(std::move(all), "type", counted_type_text(i % counted_types));
    registry_.counter("coredns_dns_requests_total", "DNS requests by zone, protocol and type.", all)
        .add(now.requests[i] - before.requests[i]);
  }
  for (size_t i = 0; i < now.responses.size(); ++i) {
    if (now.responses[i] == before.responses[i]) continue;
    Labels all = with(labels, "rcode", rcode_text(static_cast<uint8_t>(i % counted_rcodes)));
    all = with(std::move(all), "plugin", answerer_names[i / counted_rcodes]);
    registry_
        .counter("coredns_dns_responses_total", "DNS responses by zone and response code.", all)
        .add(now.responses[i] - before.responses[i]);
  }
  if (now.dnssec_ok != before.dnssec_ok) {
    registry_.counter("coredns_dns_do_requests_total", "DNS requests with the DO bit.", labels)
        .add(now.dnssec_ok - before.dnssec_ok);
  }
}

void Metrics::collect_slot(size_t slot) {
  Totals now;
  for (const auto& shard : shards_) now.add(shard->slot(slot));
  Totals& before = *collected_[slot];
  const Labels labels = {
      {"server", plan_.slots[slot].server}, {"zone", plan_.slots[slot].zone}, {"view", ""}};
  add_counts(labels, now, before);
  if (now.durations != before.durations) {
    registry_
        .histogram("coredns_dns_request_duration_seconds", "Time from request to response.",
                   latency_bounds_s(), labels)
        .merge(difference(now.durations, before.durations),
               static_cast<double>(now.duration_sum_ns - before.duration_sum_ns) / 1e9);
  }
  for (size_t tcp = 0; tcp < 2; ++tcp) {
    const Labels all = with(labels, "proto", tcp == 1 ? "tcp" : "udp");
    const auto merge = [&](std::string_view name, std::string_view help, const Totals::Sizes& a,
                           const Totals::Sizes& b) {
      if (a.buckets == b.buckets) return;
      registry_.histogram(name, help, size_bounds(), all)
          .merge(difference(a.buckets, b.buckets), static_cast<double>(a.sum - b.sum));
    };
    merge("coredns_dns_request_size_bytes", "Size of requests.", now.request_bytes[tcp],
          before.request_bytes[tcp]);
    merge("coredns_dns_response_size_bytes", "Size of responses.", now.response_bytes[tcp],
          before.response_bytes[tcp]);
  }
  before = now;
}

void Metrics::collect() {
  const std::lock_guard lock(mutex_);
  for (size_t slot = 0; slot < collected_.size(); ++slot) collect_slot(slot);
  uint64_t dropped = 0, rejected = 0;
  for (const auto& shard : shards_) {
    dropped += shard->dropped_packets.value();
    rejected += shard->rejected_concurrent.value();
  }
  registry_
      .counter("fairlead_dns_dropped_packets_total",
               "Packets that are no requests, or too short to answer.")
      .add(dropped - std::exchange(dropped_, dropped));
  registry_
      .counter("coredns_forward_max_concurrent_rejects_total",
               "Queries refused because too many were under way.")
      .add(rejected - std::exchange(rejected_, rejected));
}

uint64_t Metrics::queries() const {
  uint64_t total = 0;
  for (const auto& shard : shards_) {
    for (size_t slot = 0; slot < plan_.slots.size(); ++slot) {
      for (const Cell& cell : shard->slot(slot).requests) total += cell.value();
    }
  }
  return total;
}

}  // namespace fairlead::dns
