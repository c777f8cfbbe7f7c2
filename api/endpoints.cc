#include "api/endpoints.h"

#include <algorithm>
#include <tuple>

namespace fairlead::api {
namespace {

// One address may stand in several slices while the controller moves it: it counts once, and as
// local if any of them says so.
void order_and_dedupe(std::vector<UsableEndpoint>& endpoints) {
  std::sort(endpoints.begin(), endpoints.end(),
            [](const UsableEndpoint& a, const UsableEndpoint& b) {
              return std::tie(a.ip, a.port, b.local) < std::tie(b.ip, b.port, a.local);
            });
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end(),
                              [](const UsableEndpoint& a, const UsableEndpoint& b) {
                                return a.ip == b.ip && a.port == b.port;
                              }),
                  endpoints.end());
}

// Unready endpoints that do not terminate are in neither list: they are not yet, or no longer, in
// use.
struct Candidates {
  std::vector<UsableEndpoint> ready;
  std::vector<UsableEndpoint> terminating;  // serving and terminating, not ready
};

void collect(const EndpointSlice& slice, uint16_t port, std::string_view node_name,
             Candidates& into) {
  for (const Endpoint& endpoint : slice.endpoints) {
    if (endpoint.addresses.empty() || !may_serve(endpoint)) continue;
    const bool local = !node_name.empty() && endpoint.node_name == node_name;
    (endpoint.ready ? into.ready : into.terminating)
        .push_back({endpoint.addresses.front(), port, &endpoint, local});
  }
}

std::vector<UsableEndpoint> local_of(const std::vector<UsableEndpoint>& endpoints) {
  std::vector<UsableEndpoint> out;
  std::copy_if(endpoints.begin(), endpoints.end(), std::back_inserter(out),
               [](const UsableEndpoint& endpoint) { return endpoint.local; });
  return out;
}

bool hints_allow(const Endpoint& endpoint, Topology topology, const Viewpoint& from) {
  if (topology == Topology::same_node) return endpoint.hint_nodes.contains(from.node_name);
  if (topology == Topology::same_zone) return endpoint.hint_zones.contains(from.zone);
  return true;
}

// One endpoint without a hint, and the hints are not trusted: the controller may be half way.
Topology choose_topology(const std::vector<UsableEndpoint>& ready, const Viewpoint& from) {
  bool node_hints = !from.node_name.empty(), zone_hints = !from.zone.empty();
  bool here = false, this_zone = false;
  for (const UsableEndpoint& one : ready) {
    node_hints &= !one.endpoint->hint_nodes.empty();
    zone_hints &= !one.endpoint->hint_zones.empty();
    here |= one.endpoint->hint_nodes.contains(from.node_name);
    this_zone |= one.endpoint->hint_zones.contains(from.zone);
  }
  if (node_hints && here) return Topology::same_node;
  if (zone_hints && this_zone) return Topology::same_zone;
  return Topology::everywhere;
}

}  // namespace

// The fallback to terminating endpoints is decided apart for the cluster and for this node
// (KEP-1669): a node whose own endpoints all terminate still serves external traffic with them,
// while ready ones elsewhere take the traffic that may go anywhere.
UsableSet usable_endpoints(const SliceList& slices, std::string_view port_name, Protocol protocol,
                           bool ipv6, const Viewpoint& from) {
  Candidates candidates;
  for (const auto& slice : slices) {
    if (slice->address_type != (ipv6 ? "IPv6" : "IPv4")) continue;
    for (const EndpointPort& port : slice->ports) {
      if (port.name != port_name || port.protocol != protocol || !port.port) continue;
      collect(*slice, *port.port, from.node_name, candidates);
    }
  }
  order_and_dedupe(candidates.ready);
  order_and_dedupe(candidates.terminating);

  UsableSet set;
  set.local = local_of(candidates.ready);
  if (set.local.empty()) set.local = local_of(candidates.terminating);
  set.terminating_fallback = candidates.ready.empty() && !candidates.terminating.empty();
  set.cluster = std::move(candidates.ready.empty() ? candidates.terminating : candidates.ready);
  set.any = !set.cluster.empty();
  if (set.any && !set.terminating_fallback) {
    set.topology = choose_topology(set.cluster, from);
    std::erase_if(set.cluster, [&](const UsableEndpoint& endpoint) {
      return !hints_allow(*endpoint.endpoint, set.topology, from);
    });
  }
  return set;
}

}  // namespace fairlead::api
