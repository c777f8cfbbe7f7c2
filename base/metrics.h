// Counters, gauges and histograms in the Prometheus text format (version 0.0.4).
//
// A Registry owns its metrics; the references it hands out live as long as it does. Creating a
// metric takes a lock and may be done from any thread; add/set/observe are lock-free, so hot paths
// keep the reference. The number of series per family is limited (max_series): past it every new
// label set shares one series labelled "_overflow", so that outside input cannot grow memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead {

class Counter {
 public:
  void add(uint64_t by = 1) { value_.fetch_add(by, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(int64_t by) { value_.fetch_add(by, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<int64_t> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);
  void observe(double value);
  // Adds observations that were counted elsewhere: one count per bucket, +Inf last.
  void merge(const std::vector<uint64_t>& counts, double sum);

  const std::vector<double>& bounds() const { return bounds_; }
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const {
    return static_cast<double>(sum_nano_.load(std::memory_order_relaxed)) / 1e9;
  }

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;  // one per bound, then +Inf
  std::atomic<int64_t> sum_nano_{0};
};

using Labels = std::vector<std::pair<std::string, std::string>>;

class Registry {
 public:
  static constexpr size_t max_series = 2000;

  // The same name and labels give the same metric. Names are the caller's full metric name.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                       const Labels& labels = {});

  std::string text() const;  // the whole /metrics page

 private:
  struct Family;
  template <class Metric, class Make>
  Metric& find_or_make(std::string_view name, std::string_view help, const Labels& labels,
                       Make make);

  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_;

 public:
  Registry();
  ~Registry();
};

std::vector<double> latency_bounds_s();  // 100 us to 10 s, for request durations in seconds

}  // namespace fairlead
