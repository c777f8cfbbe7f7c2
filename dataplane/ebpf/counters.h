// The BPF programs' counters and the sizes of their maps, as metrics.
#pragma once

#include <array>
#include <vector>

#include "base/metrics.h"
#include "bpf/shared/counters.h"

namespace fairlead::dataplane::ebpf {

using CounterValues = std::array<uint64_t, FL_COUNTERS>;

// Sums of all CPUs; zeroes when the map cannot be read.
CounterValues read_counters(int counters_map_fd);

// Belongs to one thread; `registry` outlives it.
class CounterMetrics {
 public:
  explicit CounterMetrics(Registry& registry);
  // The map counts since it was made, so the first values of a takeover are history: they become
  // the base of what is reported from here on.
  void start(const CounterValues& values) { last_ = values; }
  void update(const CounterValues& values);

 private:
  std::vector<Counter*> counters_;  // by enum fl_counter
  CounterValues last_{};
};

}  // namespace fairlead::dataplane::ebpf
