// The tc programs by tcx (Linux 6.6): one BPF link for each direction of a network link, pinned
// beside the links of the socket programs, so that they outlive the process and are updated in
// place. No qdisc takes part, and a packet costs one call less than with clsact.
#pragma once

#include <set>
#include <string>

#include "base/result.h"
#include "dataplane/ebpf/pins.h"

namespace fairlead::dataplane::ebpf {

// Acts in the network namespace of the calling thread. `pins` outlives it.
class TcxLinks {
 public:
  explicit TcxLinks(const Pins& pins) : pins_(pins) {}

  // After the programs of others that are there already. Pinned links to the same network link, of
  // this layout or an older one, are taken over.
  Result<void> attach(int link_index, int ingress_program, int egress_program) const;
  void detach(int link_index) const;    // nothing there is fine
  bool attached(int link_index) const;  // both directions

  // Detaches and unpins what belongs to links that are not in `present`: a network link that went
  // away leaves its pins behind.
  void sweep(const std::set<int>& present) const;

 private:
  const Pins& pins_;
};

// How many tcx programs of this name a direction of a link has; 0 where the kernel has no tcx.
int count_tcx(int link_index, bool ingress, const std::string& program);

}  // namespace fairlead::dataplane::ebpf
