// ServiceTable: what the kernel should do, as a value. compile() makes it; drivers obey it; no
// driver looks at a Kubernetes object.
#pragma once

#include <map>
#include <set>
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
  friend bool operator==(const NodeConfig&, const NodeConfig&) = default;
};

struct Backend {
  Ip ip;
  uint16_t port = 0;
  bool local = false;                 // on this node
  friend auto operator<=>(const Backend&, const Backend&) = default;
};

enum class FrontendKind : uint8_t { cluster_ip, node_port };

struct Frontend {
  FrontendKind kind = FrontendKind::cluster_ip;
  Ip ip;                              // ClusterIP; for a NodePort: unspecified, of its family
  uint16_t port = 0;
  friend auto operator<=>(const Frontend&, const Frontend&) = default;
};

// What happens to a new flow that finds no backend.
enum class NoBackend : uint8_t {
  reject,  // no endpoint anywhere: connection refused / ICMP unreachable
  drop,    // endpoints exist, but not for this traffic policy
};

// One Service port of one address family, with everything needed to serve it.
struct PortRule {
  std::string port_name;
  Protocol protocol = Protocol::tcp;
  bool ipv6 = false;
  std::vector<Frontend> frontends;    // sorted
  std::vector<Backend> backends;      // sorted, local ones first
  NoBackend if_empty = NoBackend::reject;
  friend bool operator==(const PortRule&, const PortRule&) = default;
};

struct ServiceEntry {
  std::vector<PortRule> ports;        // sorted by (family, protocol, port name)
  friend bool operator==(const ServiceEntry&, const ServiceEntry&) = default;
};

struct ServiceTable {
  NodeConfig node;
  std::map<api::ObjectKey, ServiceEntry> services;  // only those with something to program
  friend bool operator==(const ServiceTable&, const ServiceTable&) = default;
};

// A stable text dump, one line per fact, for golden files and for people.
std::string to_text(const ServiceTable& table);

}  // namespace fairlead::dataplane
