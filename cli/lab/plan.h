// What a lab is made of, as values: pure, so that a test can read the whole of it.
//
//   external --- fabric (bridge) --- node1 --- pods: client, backend1, backend2, ...
//                                \-- node2 --- ...
//
// Nodes and external hosts share one L2 segment. Pods hang off their node by a routed veth pair
// each (no bridge: every packet crosses the node's IP layer, as with most CNIs).
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace fairlead::cli {

struct LabOptions {
  std::string name = "lab";
  unsigned nodes = 1;
  unsigned clients = 1;
  unsigned backends = 3;
  std::string proxy_mode = "ebpf";
  uint16_t api_port = 6443;
  std::string directory = "/run/fairlead-lab";  // state, sockets and logs, in a folder by name
  std::string log_level = "info";
  std::string corefile;  // "": one that forwards nothing
};

struct LabNode {
  std::string name;   // "node1"
  std::string netns;  // "fl-lab-node1"
  Ip v4, v6;          // on the fabric
  Cidr pods4, pods6;
};

struct LabPod {
  std::string name;  // "backend1", "client"
  std::string netns;
  size_t node = 0;  // index into LabPlan::nodes
  Ip v4, v6;
  bool backend = false;  // runs an echo server
};

// One thing to do to a namespace. `args` are in the order that the operation's comment names.
struct LabStep {
  enum class Op {
    add_namespace,  // -
    veth,           // device, peer namespace, peer device
    bridge,         // device
    enslave,        // device, bridge
    address,        // device, CIDR with host bits
    up,             // device
    route,          // destination CIDR, gateway or "", device
    sysctl,         // key, value
  };
  Op op;
  std::string netns;
  std::vector<std::string> args;

  std::string to_string() const;
  friend bool operator==(const LabStep&, const LabStep&) = default;
};

struct LabPlan {
  LabOptions options;
  std::string prefix;    // of every namespace and cgroup: "fl-lab-"
  std::string fabric;    // namespace of the bridge
  std::string external;  // namespace of a host outside the cluster
  Ip external4, external6;
  std::vector<LabNode> nodes;
  std::vector<LabPod> pods;

  std::string path(std::string_view file) const;  // in the lab's folder
  std::vector<LabStep> steps() const;             // in an order that works
  const LabPod* pod(std::string_view name) const;
  const LabNode* node(std::string_view name) const;
};

// Errors: a name that is no DNS label, no node, more nodes or pods than the address plan holds.
Result<LabPlan> plan_lab(const LabOptions& options);

inline constexpr std::string_view lab_dns_ip = "10.96.0.10";
inline constexpr std::string_view lab_service_cidrs = "10.96.0.0/16,fd96::/112";

}  // namespace fairlead::cli
