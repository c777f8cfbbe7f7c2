// What the proxy knows of its node: settings where they are given, else what the Node object and
// the machine itself say.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "api/objects.h"
#include "dataplane/service_table.h"

namespace fairlead::agent {

// The name of this node's Node: what is configured, else the machine's name. As kubelet and
// kube-proxy make it: lower case, without spaces around.
std::string node_name(const std::string& configured);

// The machine's addresses on all its links, but loopback, link-local and the Services' own that
// IPVS keeps on a dummy link. Empty when the kernel does not say.
std::vector<Ip> read_host_addresses();
using HostAddresses = std::function<std::vector<Ip>()>;

// `object` may be null: the Node is not known (yet). `addresses` is asked only when
// --node-port-addresses names networks.
//
// --node-port-addresses: `primary` is the node's first address of each family; a network is every
// address of the node or the machine inside it. NodePorts on 127.0.0.1 then need a network that
// contains it, as in kube-proxy.
dataplane::NodeConfig node_config(const AgentConfig& config, const std::string& node_name,
                                  const api::Node* object, const HostAddresses& addresses);

}  // namespace fairlead::agent
