#include <algorithm>

#include "api/endpoints.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

std::string_view state_of(const Endpoint& endpoint) {
  if (endpoint.ready) return "ready";
  if (!endpoint.terminating) return "not ready";
  return endpoint.serving ? "terminating" : "terminating, not serving";
}

std::string hint_reason(const Endpoint& endpoint, Topology topology, const Viewpoint& from) {
  const bool by_node = topology == Topology::same_node;
  const auto& hints = by_node ? endpoint.hint_nodes : endpoint.hint_zones;
  if (hints.contains(by_node ? from.node_name : from.zone)) return "another mention of it counts";
  const std::string named = join(std::vector<std::string>(hints.begin(), hints.end()), ", ");
  return by_node ? cat("its hints name nodes ", named, ", this is ", from.node_name)
                 : cat("its hints name zones ", named, ", this node is in ", from.zone);
}

std::string why_not_cluster(const Endpoint& endpoint, const UsableSet& set, const Viewpoint& from) {
  if (!endpoint.ready) return "ready ones are there";
  if (set.topology == Topology::everywhere) return "another mention of it counts";
  return hint_reason(endpoint, set.topology, from);
}

std::string why_not_local(const Endpoint& endpoint, const JudgedEndpoint& judged) {
  if (!judged.local)
    return endpoint.node_name.empty() ? "on no node" : cat("on ", endpoint.node_name);
  return endpoint.ready ? "another mention of it counts" : "ready local ones are there";
}

// The sets point at the very mention of an endpoint that they took, which tells it from others of
// the same address.
struct Judge {
  const SliceList& slices;
  const UsableSet& set;
  const Viewpoint& from;
  std::vector<JudgedEndpoint> out = {};

  static bool took(const std::vector<UsableEndpoint>& usable, const Endpoint& endpoint,
                   uint16_t port) {
    return std::any_of(usable.begin(), usable.end(), [&](const UsableEndpoint& one) {
      return one.endpoint == &endpoint && one.port == port;
    });
  }

  // The slice whose mention of the same address and port, in the same state, was taken instead.
  std::string taken_from(const Endpoint& endpoint, const JudgedEndpoint& judged) const {
    for (const auto* usable : {&set.cluster, &set.local}) {
      for (const UsableEndpoint& one : *usable) {
        if (one.ip != judged.ip || one.port != judged.port) continue;
        if (one.endpoint->ready != endpoint.ready) continue;
        for (const auto& slice : slices) {
          for (const Endpoint& other : slice->endpoints) {
            if (&other == one.endpoint) return slice->meta.key.name;
          }
        }
      }
    }
    return {};
  }

  void add(const EndpointSlice& slice, const Endpoint& endpoint, uint16_t port) {
    if (endpoint.addresses.empty()) return;
    JudgedEndpoint one;
    one.ip = endpoint.addresses.front();
    one.port = port;
    one.local = !from.node_name.empty() && endpoint.node_name == from.node_name;
    one.in_cluster = took(set.cluster, endpoint, port);
    one.in_local = took(set.local, endpoint, port);
    one.slice = slice.meta.key.name;
    one.node_name = endpoint.node_name.str();
    one.why = state_of(endpoint);
    if (may_serve(endpoint)) give_reasons(one, endpoint);
    out.push_back(std::move(one));
  }

  void give_reasons(JudgedEndpoint& one, const Endpoint& endpoint) const {
    if (!one.in_cluster && !one.in_local) {
      if (const std::string other = taken_from(endpoint, one); !other.empty()) {
        one.why += cat("; slice ", other, " names it already");
        return;
      }
    }
    if (one.in_cluster && !endpoint.ready) one.why += "; no endpoint is ready";
    if (!one.in_cluster) one.why += "; " + why_not_cluster(endpoint, set, from);
    if (!one.in_local) one.why += "; " + why_not_local(endpoint, one);
  }
};

}  // namespace

std::vector<JudgedEndpoint> judge_endpoints(const SliceList& slices, std::string_view port_name,
                                            Protocol protocol, bool ipv6, const Viewpoint& from,
                                            const UsableSet& usable) {
  Judge judge{slices, usable, from};
  for (const auto& slice : slices) {
    if (slice->address_type != (ipv6 ? "IPv6" : "IPv4")) continue;
    bool served = false;
    for (const EndpointPort& port : slice->ports) {
      if (port.name != port_name || port.protocol != protocol || !port.port) continue;
      served = true;
      for (const Endpoint& endpoint : slice->endpoints) judge.add(*slice, endpoint, *port.port);
    }
    if (served) continue;
    for (const Endpoint& endpoint : slice->endpoints) {
      if (endpoint.addresses.empty()) continue;
      JudgedEndpoint& one = judge.out.emplace_back();
      one.ip = endpoint.addresses.front();
      one.slice = slice->meta.key.name;
      one.node_name = endpoint.node_name.str();
      one.why = cat("its slice has no ", to_string(protocol), " port named '", port_name, "'");
    }
  }
  return std::move(judge.out);
}

}  // namespace fairlead::api
