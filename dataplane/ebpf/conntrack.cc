#include "dataplane/ebpf/conntrack.h"

#include <netinet/in.h>
#include <time.h>

namespace fairlead::dataplane::ebpf {

uint32_t ticks_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // what bpf_ktime_get_ns() reads
  uint64_t ns =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  return static_cast<uint32_t>(ns >> FL_TICK_SHIFT);
}

namespace {

// A packet may have come since `now` was read.
bool is_over(const fl_tuple& tuple, const fl_nat& nat, uint32_t now) {
  auto idle = static_cast<int32_t>(now - nat.seen);
  return idle > static_cast<int32_t>(fl_flow_timeout(tuple.protocol == IPPROTO_TCP, nat.flags));
}

}  // namespace

size_t live_flows(const Maps& maps, uint32_t now) {
  size_t live = 0;
  each_entry<fl_tuple, fl_nat>(
      maps, MapId::conntrack,
      [&](const fl_tuple& tuple, const fl_nat& nat) { live += !is_over(tuple, nat, now); });
  return live;
}

ConntrackSweep sweep_conntrack(Maps& maps, uint32_t now) {
  ConntrackSweep sweep;
  std::vector<fl_tuple> over;
  sweep.error = each_entry<fl_tuple, fl_nat>(maps, MapId::conntrack,
                                             [&](const fl_tuple& tuple, const fl_nat& nat) {
                                               if (is_over(tuple, nat, now)) {
                                                 over.push_back(tuple);
                                               } else {
                                                 ++sweep.entries;
                                               }
                                             });
  if (over.empty()) return sweep;
  WriteOutcome outcome = maps.erase(MapId::conntrack, bytes_of(over));
  sweep.removed = outcome.done;
  if (sweep.error == 0) sweep.error = outcome.error;
  return sweep;
}

}  // namespace fairlead::dataplane::ebpf
