// Connected UDP sockets whose backend is gone. The kernel asks nobody when such a socket sends, so
// it would talk to the dead address for as long as its process lives. Closing it from outside
// (sock_diag(7), SOCK_DESTROY: its calls fail with ECONNABORTED) makes the process connect again.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/ip.h"
#include "base/result.h"
#include "dataplane/ebpf/maps.h"
#include "dataplane/ebpf/service_sync.h"

namespace fairlead::dataplane::ebpf {

// Socket cookie -> the peer that it must still have.
using StaleSockets = std::unordered_map<uint64_t, SocketAddress>;

// Whether this kernel closes sockets on request (CONFIG_INET_DIAG_DESTROY) for this process.
bool can_close_sockets();

// Looks into the network namespace of every process that /proc shows. Returns how many were
// closed. Blocks for a dump of the UDP sockets of each namespace.
Result<size_t> close_udp_sockets(const StaleSockets& sockets);

// Those of the map `connected` whose backend is no member of its service any more. They are
// forgotten, also such as were closed before.
Result<size_t> close_stale_sockets(Maps& maps, const ServiceSync& services);

}  // namespace fairlead::dataplane::ebpf
