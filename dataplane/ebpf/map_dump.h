// The maps as text, read back: one line per fact, sorted, without ids, so that two ways to the same
// state read the same.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

using ServiceName = std::function<std::string(uint32_t service)>;  // "" when unknown

// `mode ebpf`, node lines, then each frontend with its backends below it. What should never be
// there is said too: missing and unreachable slots.
std::string dump_maps(const Maps& maps, const ServiceName& name);

// The entries of these services and lists, read back, as "<map>: <key> -> <value>".
std::vector<std::string> entry_lines(const Maps& maps, const std::set<uint32_t>& ids);

}  // namespace fairlead::dataplane::ebpf
