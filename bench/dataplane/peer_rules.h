// Rule sets that others would make of the same services, by the kernel's own tools: peers in the
// same run. Services are TCP ClusterIPs only; the chains that every packet passes are all there, as
// kube-proxy makes them, those of its filters too.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/service_table.h"

namespace fairlead::bench {

// In the caller's namespace. `tool`: iptables_nft, iptables_legacy (kube-proxy's chains),
// nftables (kube-proxy's: a map of verdicts, a chain for each service and each endpoint),
// ipvs (ipvsadm, addresses on a dummy device).
void load_peer_rules(std::string_view tool, const dataplane::ServiceTable& table);

// A part of an input of iptables-restore for kube-proxy's nat table: what leads to KUBE-SERVICES
// and KUBE-POSTROUTING, and these; then the chains (":NAME - [0:0]" lines) and rules of Services.
std::string peer_nat_input(std::string_view chains, std::string_view rules);

// What stands behind every Service in KUBE-SERVICES, and is written again when that chain is.
std::string peer_last_service_rule();

}  // namespace fairlead::bench
