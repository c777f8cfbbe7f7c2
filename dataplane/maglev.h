// Consistent hashing: which backend each place of a table has (Eisenbud et al., "Maglev", NSDI
// 2016, section 3.4). A flow's hash gives its place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"

namespace fairlead::dataplane {

// Places of a table of eBPF mode, and so the most backends that it can have. The size is part of
// the contract between nodes.
inline constexpr uint32_t ebpf_maglev_places = 2011;

// Place -> index into `backends`. A function of the set of backends alone: their order, the node
// and the time do not matter. Every backend has `size / n` places, or one more. When one of n goes,
// its places, 1/n of all, go to the others, and few more change hands.
// REQUIRES: `backends` are distinct, not more than `size`; `size` is prime, at most 65521.
// No backends: an empty table.
std::vector<uint16_t> maglev_table(std::span<const SocketAddress> backends, uint32_t size);

}  // namespace fairlead::dataplane
