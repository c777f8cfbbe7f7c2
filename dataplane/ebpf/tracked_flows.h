// Connections of two translators on one node, while the mode is switched or when this one begins:
// the kernel's connection tracker translates some, the tc programs others, and neither knows the
// ports that the other has given. Two connections to one backend from one address and port would
// reset each other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "dataplane/ebpf/maps.h"
#include "net/conntrack.h"

namespace fairlead::dataplane::ebpf {

// Writes masqueraded connections to Services that the tracker carries into the conntrack map, as
// flows whose addresses are translated into themselves: so their ports are not given again, and
// they end as others do. One without a packet for FL_TIMEOUT_TCP_OPENING may lose its port. A
// quarter of the map at most. Returns how many.
Result<size_t> take_tracked_ports(net::Conntrack& tracker, Maps& maps, uint32_t now);

// Lets the tracker take up our open TCP connections, as they look between the programs and, when
// they are masqueraded, behind them: rules that ask for their state know them from the first packet
// on, whichever it is, and nobody gives their ports again. Returns how many it had not known.
Result<size_t> give_to_tracker(net::Conntrack& tracker, const Maps& maps, uint32_t now);

}  // namespace fairlead::dataplane::ebpf
