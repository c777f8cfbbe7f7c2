// Names of chains: kube-proxy's own, so that whoever can read its rules can read these.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/service_table.h"

namespace fairlead::dataplane::ipt {

// Chains of one Service port: which of its endpoints, or what stands before them.
enum class ChainKind : uint8_t {
  cluster,   // KUBE-SVC-: endpoints of policy Cluster
  local,     // KUBE-SVL-: endpoints of policy Local
  external,  // KUBE-EXT-: traffic to NodePorts, external IPs, load balancers
  firewall,  // KUBE-FW-: the same from the source ranges only
};

std::string_view protocol_word(Protocol protocol);  // "tcp"

// The prefix and base32(sha256(label + protocol))[:16].
std::string chain_name(ChainKind kind, const std::string& label, Protocol protocol);

// "KUBE-SEP-...": one endpoint of one Service port; `endpoint` as "10.0.0.1:80", "[fd00::1]:80".
std::string endpoint_chain_name(const std::string& label, Protocol protocol,
                                const std::string& endpoint);

// The tree below KUBE-SERVICES, by the last byte of a Service's address in hexadecimal:
// "KUBE-SERVICES-5" leads to the leaves "KUBE-SERVICES-05" to "KUBE-SERVICES-f5".
std::string branch_name(int low_bits);
std::string leaf_name(int byte);
bool is_leaf(std::string_view chain);

// The tree below KUBE-NODEPORTS, by the hexadecimal digits of a port without the last `bits`:
// "KUBE-NODEPORTS-tcp-7" leads to "KUBE-NODEPORTS-tcp-75", and that to the leaf
// "KUBE-NODEPORTS-tcp-753", which has the ports 30000 (7530h) to 30015.
std::string port_chain_name(Protocol protocol, uint16_t port, int bits);
bool is_port_chain(std::string_view chain);

// Whether a chain of this name is made and removed by us (or by kube-proxy, whom we replace).
bool is_our_chain(std::string_view name);
// One of ours that belongs to one Service port.
bool is_service_chain(std::string_view name);

// What is removed in pieces goes in this order, since a chain that a rule leads to stays. The ranks
// 0 and last_rank have chains that lead to each other. The canary is among the last ones: as long
// as it stands, all others are known for ours.
int rank_of(std::string_view name);
inline constexpr int last_rank = 8;

}  // namespace fairlead::dataplane::ipt
