// The conntrack maps behind the slots of `flows` (bpf/shared/maps.h). Programs follow the slots, so
// that flows move into a map of another size while packets come, and none of them finds its flow
// missing. The slots alone say how far that has come: whoever is killed in between leaves programs
// that work, and the next run ends it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "dataplane/ebpf/pins.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {

// What the kernel is told of a conntrack map's entries. Before Linux 6.2 it takes a map for `flows`
// only when that, too, says its types: numbers in the BTF of this descriptor.
struct EntryTypes {
  int btf = -1;
  uint32_t key = 0, value = 0;
};
Result<net::Fd> make_conntrack(uint32_t entries, const EntryTypes& types);

// The conntrack map that `flows`, a descriptor, has in use.
Result<net::Fd> conntrack_in_use(int flows);

// The same. An empty `flows` is given the map of an older layout, where that has our shape (it has
// had it since layout 1), so that the programs of both layouts share it until the older ones are
// gone; else a new one of `entries`. What older entries say of their service may be another
// service's number here: their datagrams then choose a backend again.
Result<net::Fd> open_conntrack(int flows, const Pins& pins, uint32_t entries,
                               const EntryTypes& types);

// Ends a move that an earlier run began, and moves to a map of `entries` when the one in use has
// another size. Returns how many entries moved.
Result<size_t> resize_conntrack(int flows, uint32_t entries, const EntryTypes& types);

}  // namespace fairlead::dataplane::ebpf
