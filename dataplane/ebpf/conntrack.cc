#include "dataplane/ebpf/conntrack.h"

#include <netinet/in.h>
#include <time.h>

#include <cerrno>

namespace fairlead::dataplane::ebpf {

uint32_t ticks_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // what bpf_ktime_get_ns() reads
  uint64_t ns =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  return static_cast<uint32_t>(ns >> FL_TICK_SHIFT);
}

namespace {

constexpr uint32_t hurried_timeout = 2;

// A packet may have come since `now` was read.
bool is_over(const fl_tuple& tuple, const fl_nat& nat, uint32_t now, bool hurry) {
  uint32_t timeout = fl_flow_timeout(tuple.protocol == IPPROTO_TCP, nat.flags);
  if (hurry && timeout == FL_TIMEOUT_TCP_CLOSED) timeout = hurried_timeout;
  return static_cast<int32_t>(now - nat.seen) > static_cast<int32_t>(timeout);
}

}  // namespace

size_t live_flows(const Maps& maps, uint32_t now) {
  size_t live = 0;
  const int error = each_entry<fl_tuple, fl_nat>(
      maps, MapId::conntrack,
      [&](const fl_tuple& tuple, const fl_nat& nat) { live += !is_over(tuple, nat, now, false); });
  return error != 0 && live == 0 ? 1 : live;
}

ConntrackSweep sweep_conntrack(Maps& maps, uint32_t now, bool hurry) {
  ConntrackSweep sweep;
  std::vector<fl_tuple> over;
  sweep.error = each_entry<fl_tuple, fl_nat>(maps, MapId::conntrack,
                                             [&](const fl_tuple& tuple, const fl_nat& nat) {
                                               if (is_over(tuple, nat, now, hurry)) {
                                                 over.push_back(tuple);
                                               } else {
                                                 ++sweep.entries;
                                               }
                                             });
  // Reading takes its time, and clients use the ports of ended connections again: each entry is
  // looked at once more right before it goes, or a connection would lose it that has just begun.
  for (const fl_tuple& tuple : over) {
    fl_nat nat;
    const int error = maps.get(MapId::conntrack, reinterpret_cast<const std::byte*>(&tuple),
                               reinterpret_cast<std::byte*>(&nat));
    if (error == ENOENT) continue;
    if (error != 0) {
      sweep.error = error;
      break;
    }
    if (!is_over(tuple, nat, now, hurry)) {
      ++sweep.entries;
      continue;
    }
    const WriteOutcome outcome = maps.erase(MapId::conntrack, std::as_bytes(std::span(&tuple, 1)));
    sweep.removed += outcome.done;
    if (sweep.error == 0) sweep.error = outcome.error;
  }
  return sweep;
}

}  // namespace fairlead::dataplane::ebpf
