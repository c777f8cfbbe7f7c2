// Datagram flows that would go the wrong way for ever: conntrack translates a flow's packets as it
// did the first, and a client that keeps sending keeps the entry. Drivers that leave flows to the
// kernel's connection tracking remove these after a change.
#pragma once

#include <set>
#include <span>
#include <vector>

#include "base/tracked_flow.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane {

// Where a rule's flows are dialled: each frontend, NodePorts on the node's addresses.
std::vector<SocketAddress> dialled_addresses(const NodeConfig& node, const PortRule& rule);

// Of `flows`, those that the table would send elsewhere, in their order. Only UDP: TCP and SCTP end
// by themselves. A flow is stale when whom it dialled is
// - a frontend, and who answers is none of its rule's backends (it left, or the flow is older than
//   the Service or its endpoints and was never translated);
// - in `former` or inside NodeConfig::service_cidrs, no frontend any more, and it is translated.
// `former`: addresses that were frontends until now.
std::vector<TrackedFlow> stale_flows(const ServiceTable& table, std::span<const TrackedFlow> flows,
                                     const std::set<SocketAddress>& former = {});

}  // namespace fairlead::dataplane
