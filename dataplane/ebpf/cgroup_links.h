// The socket programs' links: pinned, so that they work on while no agent runs, and updated in
// place, so that a new program takes over between two connects.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/pins.h"

namespace fairlead::dataplane::ebpf {

// The first cgroup2 mount of /proc/mounts.
Result<std::string> cgroup2_root();

// Attaches every program of `object` that is loaded to the cgroup folder `cgroup`. A pinned link to
// the same cgroup, of this layout or an older one, is taken over; one to another cgroup is
// replaced.
Result<void> attach_socket_programs(const Object& object, const Pins& pins,
                                    const std::string& cgroup);

// Names of the programs of `object` that are not attached to `cgroup` by their pinned link.
std::vector<std::string> missing_socket_programs(const Object& object, const Pins& pins,
                                                 const std::string& cgroup);

}  // namespace fairlead::dataplane::ebpf
