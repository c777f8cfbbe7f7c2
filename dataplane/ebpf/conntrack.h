// Ages the conntrack map. The programs ignore entries that are over by themselves; this frees
// their room before the kernel's LRU has to choose.
#pragma once

#include <cstdint>

#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

uint32_t ticks_now();  // as the programs count (FL_TICK_SHIFT)

struct ConntrackSweep {
  size_t entries = 0;  // that stay
  size_t removed = 0;
  int error = 0;  // errno
};
// `hurry`: connections that are closed go after two seconds, not ten.
ConntrackSweep sweep_conntrack(Maps& maps, uint32_t now, bool hurry = false);

// Whether a sweep cannot wait for its turn: full, the kernel would make room itself, and an idle
// connection may go for a closed one. Counted from new flows, which cost no look at the map.
class SweepPace {
 public:
  // A sweep left `entries` when the programs had counted `flows`.
  void swept(size_t entries, uint64_t flows) {
    entries_ = entries;
    flows_ = flows;
  }
  bool due(uint64_t flows, size_t capacity) const {
    constexpr uint64_t entries_a_flow = 4;  // a masqueraded one
    return entries_ + (flows - flows_) * entries_a_flow > capacity / 2;
  }

 private:
  size_t entries_ = 0;
  uint64_t flows_ = 0;
};

// Entries that are not over; not 0 when that cannot be told. Removes none.
size_t live_flows(const Maps& maps, uint32_t now);

}  // namespace fairlead::dataplane::ebpf
