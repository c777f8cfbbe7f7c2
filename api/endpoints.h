// The one rule for usable endpoints, shared by dataplane, dns and ingress.
// Source: Kubernetes pkg/proxy/topology.go, KEP-1669 (terminating endpoints).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/objects.h"

namespace fairlead::api {

// Ready, or serving while it terminates: no other endpoint ever gets traffic.
inline bool may_serve(const Endpoint& endpoint) {
  return endpoint.ready || (endpoint.serving && endpoint.terminating);
}

struct UsableEndpoint {
  Ip ip;
  uint16_t port = 0;
  const Endpoint* endpoint = nullptr;  // into the slice that was passed in
  bool local = false;                  // on `node_name`
  friend bool operator==(const UsableEndpoint& a, const UsableEndpoint& b) {
    return a.ip == b.ip && a.port == b.port && a.local == b.local;
  }
};

// Where traffic comes from. Empty names: nowhere in particular.
struct Viewpoint {
  std::string_view node_name;
  std::string_view zone;
};

// Which ready endpoints the hints of a Service leave over (KEP-2433, KEP-4444).
enum class Topology : uint8_t {
  everywhere,
  same_node,  // every ready endpoint has node hints, and one of them names this node
  same_zone,  // every ready endpoint has zone hints, and one of them names this zone
};

struct UsableSet {
  // Ready ones that `topology` leaves; when none is ready, serving-and-terminating ones.
  std::vector<UsableEndpoint> cluster;
  std::vector<UsableEndpoint> local;  // the same among the node's own, whatever their hints say
  Topology topology = Topology::everywhere;
  bool any = false;                   // some endpoint anywhere could serve: decides reject/drop
  bool terminating_fallback = false;  // `cluster` holds terminating endpoints
};

using SliceList = std::vector<std::shared_ptr<const EndpointSlice>>;

// The endpoints behind one port of a Service, by the slice ports' name and protocol, of one
// family, without duplicates, ordered by address. `slices` must outlive the result.
UsableSet usable_endpoints(const SliceList& slices, std::string_view port_name, Protocol protocol,
                           bool ipv6, const Viewpoint& from);

// One endpoint of the slices and what became of it: for people who ask why.
struct JudgedEndpoint {
  Ip ip;
  uint16_t port = 0;  // 0: its slice has no port of that name and protocol
  bool local = false;
  bool in_cluster = false, in_local = false;  // in the sets of usable_endpoints()
  std::string slice, node_name;
  std::string why;  // "ready; its hints name zones a, this node is in b; on node-b"
  friend bool operator==(const JudgedEndpoint&, const JudgedEndpoint&) = default;
};

// Every endpoint of the family, in the order of the slices. REQUIRES: `usable` is what
// usable_endpoints() gives for the other arguments.
std::vector<JudgedEndpoint> judge_endpoints(const SliceList& slices, std::string_view port_name,
                                            Protocol protocol, bool ipv6, const Viewpoint& from,
                                            const UsableSet& usable);

}  // namespace fairlead::api
