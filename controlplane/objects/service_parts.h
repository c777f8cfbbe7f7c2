// Questions about Services that their rules, their updates and the allocator share.
// Source: Kubernetes pkg/apis/core/v1/helper, pkg/registry/core/service/strategy.go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {

inline constexpr std::string_view kHeadless = "None";

// The spec of a Service as it is read here; an absent one is empty.
inline const json::object& service_spec(const json::object& service) {
  static const json::object none;
  const json::object* spec = object_at(service, "spec");
  return spec == nullptr ? none : *spec;
}

inline std::string_view type_of(const json::object& spec) {
  const std::string_view type = string_at(spec, "type");
  return type.empty() ? "ClusterIP" : type;
}

inline bool is_headless(const json::object& spec) {
  return string_at(spec, "clusterIP") == kHeadless;
}
inline bool needs_cluster_ip(const json::object& spec) { return type_of(spec) != "ExternalName"; }
inline bool needs_node_ports(const json::object& spec) {
  const std::string_view type = type_of(spec);
  if (type == "LoadBalancer") return bool_at(spec, "allocateLoadBalancerNodePorts").value_or(true);
  return type == "NodePort";
}
// NodePorts may be set, whether or not the server must pick them.
inline bool may_have_node_ports(const json::object& spec) {
  return type_of(spec) == "NodePort" || type_of(spec) == "LoadBalancer";
}
inline bool externally_accessible(const json::object& spec) {
  const json::array* ips = array_at(spec, "externalIPs");
  return may_have_node_ports(spec) ||
         (type_of(spec) == "ClusterIP" && ips != nullptr && !ips->empty());
}
inline bool needs_health_check_port(const json::object& spec) {
  return type_of(spec) == "LoadBalancer" && string_at(spec, "externalTrafficPolicy") == "Local";
}

inline std::vector<std::string> strings_at(const json::object& object, std::string_view key) {
  std::vector<std::string> out;
  if (const json::array* items = array_at(object, key))
    for (const json::value& item : *items)
      if (item.is_string()) out.emplace_back(view(item.get_string()));
  return out;
}

}  // namespace fairlead::controlplane
