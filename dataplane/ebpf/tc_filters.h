// The tc programs on links where the kernel has no tcx: one filter each for ingress and egress of a
// clsact qdisc, always with the same handle and priority, so that a newer program replaces an older
// one atomically.
#pragma once

#include <string>

#include "base/result.h"

namespace fairlead::dataplane::ebpf {

// Both act in the network namespace of the calling thread.
Result<void> attach_tc(int link_index, int ingress_program, int egress_program);

// Takes our filters away, and the clsact qdisc when no filter is left in it. Filters that are
// somebody else's stay, and a link without ours is left alone.
Result<void> detach_tc(int link_index);

bool has_tc(int link_index);  // at least one of them
bool has_both_tc(int link_index);

}  // namespace fairlead::dataplane::ebpf
