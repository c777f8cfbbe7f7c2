// Reads the maps back and compares them with what was written last.
#pragma once

#include <vector>

#include "base/result.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/maps.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/service_sync.h"

namespace fairlead::dataplane::ebpf {

// At most this many lines for one map; one more says how many were left out.
inline constexpr size_t max_drifts_of_map = 100;

// Every entry that is missing, has another value, or was put there by somebody else. With `repair`
// each is written or removed, in the order of a sync: frontends last.
Result<std::vector<Drift>> verify_maps(Maps& maps, const ServiceSync& services,
                                       const NodeSync& node, bool repair);

}  // namespace fairlead::dataplane::ebpf
