// Rule sets that others would make of the same services, by the kernel's own tools: peers in the
// same run. TCP ClusterIPs only.
#pragma once

#include <string_view>

#include "dataplane/service_table.h"

namespace fairlead::bench {

// In the caller's namespace. `tool`: iptables_nft, iptables_legacy (kube-proxy's chains),
// nftables (kube-proxy's: a map of verdicts, a chain for each service and each endpoint),
// ipvs (ipvsadm, addresses on a dummy device).
void load_peer_rules(std::string_view tool, const dataplane::ServiceTable& table);

}  // namespace fairlead::bench
