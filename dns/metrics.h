// The server's own counters, with CoreDNS's names (plugin/metrics/vars). Each worker counts in a
// shard of its own; collect() sums the shards into the Registry.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "dns/plan.h"
#include "dns/types.h"

namespace fairlead::dns {

// Which step made the reply.
enum class AnsweredBy : uint8_t { nobody, kubernetes, forward };
inline constexpr size_t answerers = 3;
inline constexpr size_t counted_rcodes = 24;
inline constexpr size_t duration_buckets = 17;  // the bounds of latency_bounds_s(), and +Inf
inline constexpr size_t size_buckets = 15;      // the bounds of size_bounds(), and +Inf

const std::vector<double>& size_bounds();  // bytes

// Written by one thread, read by any: no locked instruction.
class Cell {
 public:
  void add(uint64_t by = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct SlotCells {
  struct Sizes {
    std::array<Cell, size_buckets> buckets;
    Cell sum;
    void observe(size_t bytes);
  };
  std::array<Cell, 4 * counted_types> requests;  // [(tcp * 2 + ipv6) * counted_types + type]
  std::array<Cell, answerers * counted_rcodes> responses;
  std::array<Cell, duration_buckets> durations;
  Cell duration_sum_ns;
  Cell dnssec_ok;
  std::array<Sizes, 2> request_bytes, response_bytes;  // [tcp]
};

struct QueryFacts {
  bool tcp = false, ipv6 = false, dnssec_ok = false;
  uint16_t type = 0;
  uint8_t rcode = 0;
  AnsweredBy by = AnsweredBy::nobody;
  size_t request_bytes = 0, reply_bytes = 0;
};

// Belongs to one worker.
class Shard {
 public:
  explicit Shard(size_t slots) : slots_(slots) {}
  void count(size_t slot, const QueryFacts& facts);
  void observe_duration(size_t slot, Duration duration, uint64_t queries = 1);
  const SlotCells& slot(size_t i) const { return slots_[i]; }

  Cell dropped_packets;  // too short to answer, or replies
  Cell rejected_concurrent;

 private:
  std::vector<SlotCells> slots_;
};

// Thread-safe. The registry must outlive it.
class Metrics {
 public:
  Metrics(Registry& registry, const Plan& plan, size_t shards);
  Shard& shard(size_t i) { return *shards_[i]; }
  // Brings the registry up to date.
  void collect();
  uint64_t queries() const;

 private:
  struct Totals;
  void collect_slot(size_t slot);
  void add_counts(const Labels& labels, const Totals& now, const Totals& before);

  Registry& registry_;
  const Plan& plan_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Totals>> collected_;  // by slot: what the registry has
  uint64_t dropped_ = 0, rejected_ = 0;

 public:
  ~Metrics();
};

}  // namespace fairlead::dns
