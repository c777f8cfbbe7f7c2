#include <algorithm>
#include <tuple>

#include "api/endpoints.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

std::string_view state_of(const Endpoint& endpoint) {
  if (endpoint.ready) return "ready";
  if (!endpoint.terminating) return "not ready";
  return endpoint.serving ? "terminating, still serving" : "terminating, not serving";
}

bool usable(const Endpoint& endpoint) {
  return endpoint.ready || (endpoint.serving && endpoint.terminating);
}

bool has(const std::vector<UsableEndpoint>& set, const JudgedEndpoint& one) {
  return std::any_of(set.begin(), set.end(), [&](const UsableEndpoint& other) {
    return other.ip == one.ip && other.port == one.port;
  });
}

std::string hint_reason(const Endpoint& endpoint, Topology topology, const Viewpoint& from) {
  if (topology == Topology::same_node) {
    return cat("its hints name nodes ", join(endpoint.hint_nodes, ", "), ", this is ",
               from.node_name);
  }
  return cat("its hints name zones ", join(endpoint.hint_zones, ", "), ", this node is in ",
             from.zone);
}

std::string why_not_cluster(const Endpoint& endpoint, const UsableSet& set, const Viewpoint& from) {
  if (!endpoint.ready) return "ready ones are there";
  return hint_reason(endpoint, set.topology, from);
}

std::string why_not_local(const Endpoint& endpoint, const JudgedEndpoint& judged) {
  if (judged.local) return "ready local ones are there";
  return endpoint.node_name.empty() ? "on no node" : cat("on ", endpoint.node_name);
}

// Sets are compared by address and port, so a second mention of the same pair is told apart here.
struct Judge {
  const UsableSet& set;
  const Viewpoint& from;
  std::vector<JudgedEndpoint> out = {};

  const JudgedEndpoint* earlier(const JudgedEndpoint& one) const {
    for (const JudgedEndpoint& other : out) {
      if (other.ip == one.ip && other.port == one.port && (other.in_cluster || other.in_local)) {
        return &other;
      }
    }
    return nullptr;
  }

  void add(const EndpointSlice& slice, const Endpoint& endpoint, uint16_t port) {
    if (endpoint.addresses.empty()) return;
    JudgedEndpoint one;
    one.ip = endpoint.addresses.front();
    one.port = port;
    one.local = !from.node_name.empty() && endpoint.node_name == from.node_name;
    one.slice = slice.meta.key.name;
    one.node_name = endpoint.node_name;
    one.why = state_of(endpoint);
    if (usable(endpoint)) judge(one, endpoint);
    out.push_back(std::move(one));
  }

  void judge(JudgedEndpoint& one, const Endpoint& endpoint) const {
    if (const JudgedEndpoint* other = earlier(one)) {
      one.why += cat("; slice ", other->slice, " names it already");
      return;
    }
    one.in_cluster = endpoint.ready != set.terminating_fallback && has(set.cluster, one);
    one.in_local = one.local && has(set.local, one);
    if (one.in_cluster && !endpoint.ready) one.why += "; no endpoint is ready";
    if (!one.in_cluster) one.why += "; " + why_not_cluster(endpoint, set, from);
    if (!one.in_local) one.why += "; " + why_not_local(endpoint, one);
  }
};

}  // namespace

std::vector<JudgedEndpoint> judge_endpoints(const SliceList& slices, std::string_view port_name,
                                            Protocol protocol, bool ipv6, const Viewpoint& from) {
  const UsableSet set = usable_endpoints(slices, port_name, protocol, ipv6, from);
  Judge judge{set, from};
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
      one.node_name = endpoint.node_name;
      one.why = cat("its slice has no ", to_string(protocol), " port named '", port_name, "'");
    }
  }
  return std::move(judge.out);
}

}  // namespace fairlead::api
