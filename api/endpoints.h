// The one rule for usable endpoints, shared by dataplane, dns and ingress.
// Source: Kubernetes pkg/proxy/topology.go, KEP-1669 (terminating endpoints).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "api/objects.h"

namespace fairlead::api {

struct UsableEndpoint {
  Ip ip;
  uint16_t port = 0;
  const Endpoint* endpoint = nullptr;  // into the slice that was passed in
  bool local = false;                  // on `node_name`
  friend bool operator==(const UsableEndpoint& a, const UsableEndpoint& b) {
    return a.ip == b.ip && a.port == b.port && a.local == b.local;
  }
};

struct UsableSet {
  std::vector<UsableEndpoint> cluster;  // ready ones; else serving-and-terminating ones
  std::vector<UsableEndpoint> local;    // the same rule among the node's own
  bool any = false;                     // some endpoint anywhere could serve: decides reject/drop
  bool terminating_fallback = false;    // `cluster` holds terminating endpoints
};

using SliceList = std::vector<std::shared_ptr<const EndpointSlice>>;

// The endpoints behind one port of a Service, by the slice ports' name and protocol, of one
// family, without duplicates, ordered by address. `slices` must outlive the result.
UsableSet usable_endpoints(const SliceList& slices, std::string_view port_name, Protocol protocol,
                           bool ipv6, std::string_view node_name);

}  // namespace fairlead::api
