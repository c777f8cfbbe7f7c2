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
ConntrackSweep sweep_conntrack(Maps& maps, uint32_t now);

// Entries that are not over. Removes none.
size_t live_flows(const Maps& maps, uint32_t now);

}  // namespace fairlead::dataplane::ebpf
