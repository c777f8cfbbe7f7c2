// ServiceTable: what the kernel should do, as a value. compile() makes it; drivers obey it; no
// driver looks at a Kubernetes object.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "api/objects.h"
#include "api/snapshot.h"
#include "base/ip.h"

namespace fairlead::dataplane {

// Facts about this node that change what is compiled.
struct NodeConfig {
  std::string node_name;
  std::vector<Ip> node_ips;           // NodePorts are served on these; empty: none
  std::vector<Cidr> local_pod_cidrs;  // sources inside are local pods: no masquerade to ClusterIPs
  std::string zone = {};              // for topology hints; "": they are not looked at
  // The node's addresses that NodePorts are served on, when not all of node_ips.
  std::optional<std::vector<Ip>> node_port_ips = {};
  bool localhost_node_ports = true;      // NodePorts on 127.0.0.1 too, for the node itself
  bool masquerade_all = false;           // whatever goes to a ClusterIP
  std::vector<Cidr> service_cidrs = {};  // an address inside that no Service has is dropped
  std::string proxy_name = {};           // serves Services with this service-proxy-name label only
  // The networks of all nodes: for whose NodePorts direct return is believed; empty: any address's.
  std::vector<Cidr> node_cidrs = {};
  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

// Where NodePorts answer, loopback aside.
inline const std::vector<Ip>& node_port_ips(const NodeConfig& node) {
  return node.node_port_ips ? *node.node_port_ips : node.node_ips;
}

struct Backend {
  Ip ip;
  uint16_t port = 0;
  bool local = false;  // on this node
  friend auto operator<=>(const Backend&, const Backend&) = default;
};

enum class FrontendKind : uint8_t {
  cluster_ip,
  node_port,      // the port on every NodeConfig::node_ips of the rule's family
  external_ip,    // spec.externalIPs: matched like a ClusterIP, by address
  load_balancer,  // a load balancer's VIP: the same, and PortRule::source_ranges apply
};

struct Frontend {
  FrontendKind kind = FrontendKind::cluster_ip;
  Ip ip;  // for a NodePort: unspecified, of its family
  uint16_t port = 0;
  // Traffic policy Local. Of a ClusterIP (internalTrafficPolicy): every source gets
  // local_backends(). Of the other kinds (externalTrafficPolicy): sources that are neither this
  // node nor in local_pod_cidrs get local_backends(); the others get cluster_backends().
  bool local_only = false;
  friend auto operator<=>(const Frontend&, const Frontend&) = default;
};

// What happens to a new flow whose set of backends (cluster or local) is empty.
enum class NoBackend : uint8_t {
  reject,  // no endpoint anywhere: connection refused / ICMP unreachable
  drop,    // endpoints exist, but not for this traffic policy
};

// How a new flow's backend is chosen, among those that its frontend and source may have.
enum class Algorithm : uint8_t {
  random,
  maglev,  // by the flow's addresses and ports, the same on every node
};

// How answers come back to clients of NodePorts and external addresses.
enum class Forwarding : uint8_t {
  snat,  // through this node
  dsr,   // from the backend's node directly
};

// One Service port of one address family, with everything needed to serve it.
struct PortRule {
  std::string port_name;
  Protocol protocol = Protocol::tcp;
  bool ipv6 = false;
  std::vector<Frontend> frontends;  // sorted
  std::vector<Backend> backends;    // sorted, local ones first
  NoBackend if_empty = NoBackend::reject;
  // The cluster set starts here: 0, except when local backends serve the Local policy only, or what
  // other nodes send with direct return (terminating ones, while other nodes have ready ones; those
  // that topology hints give to others).
  uint32_t cluster_first = 0;
  // Not 0: a client (its address) keeps its backend until it was away for so long. One memory for
  // all frontends of the rule.
  uint32_t affinity_timeout_s = 0;
  // Of the rule's family. Not empty: who may dial the load_balancer frontends; the others are
  // dropped. The node itself may when one of its addresses is inside, and then also with the
  // dialled address as its source.
  std::vector<Cidr> source_ranges = {};
  Algorithm algorithm = Algorithm::random;
  Forwarding forwarding = Forwarding::snat;
  friend bool operator==(const PortRule&, const PortRule&) = default;
};

// The sets that a frontend chooses from at random, as ranges of rule.backends; they may overlap.
// A rule whose frontends are all ClusterIPs with local_only holds the local backends alone, so
// that a driver without local_only is right for it.
inline std::span<const Backend> cluster_backends(const PortRule& rule) {
  return std::span(rule.backends).subspan(rule.cluster_first);
}
inline std::span<const Backend> local_backends(const PortRule& rule) {
  size_t count = 0;
  while (count < rule.backends.size() && rule.backends[count].local) ++count;
  return std::span(rule.backends).first(count);
}

// Masquerade (the source becomes the node's address, so that replies come back through it), by
// source. It is the same in every driver:
// - ClusterIP: everybody with masquerade_all; else sources outside local_pod_cidrs, nobody when it
//   has no CIDR of the family.
// - NodePort, external IP, load balancer: everybody; with local_only only the node itself.
// - any frontend: when the chosen backend is the source itself (hairpin).
// With Forwarding::dsr a NodePort, external IP or load balancer without local_only does not, for a
// source outside and a backend of another node; where local_pod_cidrs has no CIDR of the family it
// does, since a local pod, which cannot be answered directly, looks like an outsider.

// spec.healthCheckNodePort: HTTP on this port of every node says whether it has endpoints.
struct HealthCheck {
  uint16_t port = 0;  // 0: none
  uint32_t local_endpoints =
      0;  // ready ones on this node; terminating ones do not count (KEP-1669)
  friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

struct ServiceEntry {
  std::vector<PortRule> ports;  // sorted by (family, protocol, port name)
  HealthCheck health_check = {};
  friend bool operator==(const ServiceEntry&, const ServiceEntry&) = default;
};

struct ServiceTable {
  NodeConfig node;
  std::map<api::ObjectKey, ServiceEntry> services;  // only those with something to program
  friend bool operator==(const ServiceTable&, const ServiceTable&) = default;
};

// A stable text dump, one line per fact, for golden files and for people.
std::string to_text(const ServiceTable& table);
std::string to_text(const Frontend& frontend);  // "node-port 30080 local-only"

}  // namespace fairlead::dataplane
