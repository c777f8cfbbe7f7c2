// What an update of a Service keeps from the old one, drops with a change of type, and may not
// change (Kubernetes pkg/registry/core/service: patchAllocatedValues, dropTypeDependentFields;
// pkg/apis/core/validation: ValidateServiceUpdate).
#include <set>

#include "controlplane/objects/kind_rules.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

bool same_member(const json::object& a, const json::object& b, std::string_view key) {
  const bool in_a = has(a, key), in_b = has(b, key);
  return in_a == in_b && (!in_a || same_value(a.at(key), b.at(key)));
}

// A client that knows only clusterIP changed or cleared it: clusterIPs follow.
void follow_cluster_ip(const json::object& old, json::object& spec) {
  const std::string_view before = string_at(old, "clusterIP");
  const std::string after(string_at(spec, "clusterIP"));
  if (before == after || before.empty() || !same_member(old, spec, "clusterIPs")) return;
  if (after.empty()) {
    spec.erase("clusterIPs");
  } else if (has(spec, "clusterIPs")) {
    json::array& ips = make_array(spec, "clusterIPs");
    if (!ips.empty()) ips[0] = after;
  }
}

void keep_cluster_ips(const json::object& old, json::object& spec) {
  if (!needs_cluster_ip(old) || !needs_cluster_ip(spec)) return;
  const json::array* given = array_at(spec, "clusterIPs");
  const bool has_list = given != nullptr && !given->empty();
  if (string_at(spec, "clusterIP").empty() && has(old, "clusterIP")) {
    if (has_list)
      spec["clusterIP"] = json::value(given->front());
    else
      spec["clusterIP"] = old.at("clusterIP");
  }
  if (!has_list && has(old, "clusterIPs") &&
      string_at(spec, "clusterIP") == string_at(old, "clusterIP"))
    spec["clusterIPs"] = old.at("clusterIPs");
  for (std::string_view field : {"ipFamilies", "ipFamilyPolicy"})
    if (!has(spec, field) && has(old, field)) spec[field] = old.at(field);
}

// Leaving dual stack by changing the policy alone.
void trim_second_family(const json::object& old, json::object& spec) {
  if (string_at(spec, "ipFamilyPolicy") != "SingleStack" || !needs_cluster_ip(spec)) return;
  const bool unchanged =
      same_member(old, spec, "clusterIPs") && same_member(old, spec, "ipFamilies");
  if (!unchanged || string_at(old, "ipFamilyPolicy") == "SingleStack") return;
  for (std::string_view field : {"clusterIPs", "ipFamilies"})
    if (has(spec, field) && make_array(spec, field).size() > 1) make_array(spec, field).resize(1);
}

const json::object* find_port(const json::object& spec, const json::object& port) {
  const json::array* ports = array_at(spec, "ports");
  if (ports == nullptr) return nullptr;
  const auto protocol = [](const json::object& item) {
    const std::string_view text = string_at(item, "protocol");
    return text.empty() ? std::string_view("TCP") : text;
  };
  for (const json::value& item : *ports)
    if (const json::object* candidate = item.if_object())
      if (protocol(*candidate) == protocol(port) &&
          integer_at(*candidate, "port") == integer_at(port, "port"))
        return candidate;
  return nullptr;
}

void keep_node_ports(const json::object& old, json::object& spec) {
  if (!needs_node_ports(old) || !needs_node_ports(spec)) return;
  std::set<int64_t> used;
  each_object(spec, "ports", "", [&](const json::object& port, const std::string&) {
    if (const auto number = integer_at(port, "nodePort")) used.insert(*number);
  });
  json::value* ports = spec.if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (json::value& item : ports->get_array()) {
    if (!item.is_object() || integer_at(item.get_object(), "nodePort").value_or(0) != 0) continue;
    const json::object* before = find_port(old, item.get_object());
    const int64_t number = before == nullptr ? 0 : integer_at(*before, "nodePort").value_or(0);
    if (number != 0 && !used.contains(number)) item.get_object()["nodePort"] = number;
  }
}

// Fields that the new type cannot have, when the client left them as they were.
void drop_for_type(const json::object& old, json::object& spec) {
  const auto drop = [&](bool had, bool may_have, std::string_view field) {
    if (had && !may_have && same_member(old, spec, field)) spec.erase(field);
  };
  const bool had_ip = needs_cluster_ip(old), has_ip = needs_cluster_ip(spec);
  for (std::string_view field :
       {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"})
    drop(had_ip, has_ip, field);
  const bool was_balanced = type_of(old) == "LoadBalancer",
             is_balanced = type_of(spec) == "LoadBalancer";
  for (std::string_view field : {"allocateLoadBalancerNodePorts", "loadBalancerClass"})
    drop(was_balanced, is_balanced, field);
  drop(needs_health_check_port(old), needs_health_check_port(spec), "healthCheckNodePort");
  drop(externally_accessible(old), externally_accessible(spec), "externalTrafficPolicy");
  drop(!had_ip, !has_ip, "externalName");
  if (!may_have_node_ports(old) || may_have_node_ports(spec)) return;
  json::value* ports = spec.if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (json::value& item : ports->get_array()) {
    if (!item.is_object()) continue;
    const json::object* before = find_port(old, item.get_object());
    if (before != nullptr && same_member(*before, item.get_object(), "nodePort"))
      item.get_object().erase("nodePort");
  }
}

}  // namespace

void carry_over_service(const json::object& old, json::object& service) {
  const json::object& before = service_spec(old);
  json::object& spec = make_object(service, "spec");
  follow_cluster_ip(before, spec);
  keep_cluster_ips(before, spec);
  trim_second_family(before, spec);
  keep_node_ports(before, spec);
  if (needs_health_check_port(before) && needs_health_check_port(spec) &&
      integer_at(spec, "healthCheckNodePort").value_or(0) == 0 &&
      has(before, "healthCheckNodePort"))
    spec["healthCheckNodePort"] = before.at("healthCheckNodePort");
  drop_for_type(before, spec);
}

void validate_service_update(const json::object& old, const json::object& service,
                             Problems& problems) {
  const json::object &before = service_spec(old), &after = service_spec(service);
  if (!needs_cluster_ip(before) || !needs_cluster_ip(after)) return;
  const auto old_ips = strings_at(before, "clusterIPs"), ips = strings_at(after, "clusterIPs");
  const json::value shown = ips.empty() ? json::value(json::array()) : after.at("clusterIPs");
  if (!old_ips.empty() && ips.empty())
    problems.invalid("spec.clusterIPs[0]", shown, "primary clusterIP can not be unset");
  if (!old_ips.empty() && !ips.empty() && ips[0] != old_ips[0])
    problems.invalid("spec.clusterIPs[0]", shown, "may not change once set");
  const std::string_view policy = string_at(after, "ipFamilyPolicy");
  if (old_ips.size() == 2 && ips.size() == 2 && ips[1] != old_ips[1])
    problems.invalid("spec.clusterIPs[1]", shown, "may not change once set");
  if (old_ips.size() == 2 && ips.size() == 1 && policy != "SingleStack" && ips[0] == old_ips[0])
    problems.invalid("spec.ipFamilyPolicy", json::value(policy),
                     "must be 'SingleStack' to release the secondary cluster IP");
  const auto old_families = strings_at(before, "ipFamilies"),
             families = strings_at(after, "ipFamilies");
  if (!old_families.empty() && !families.empty() && families[0] != old_families[0])
    problems.invalid("spec.ipFamilies[0]", after.at("ipFamilies"), "may not change once set");
}

}  // namespace fairlead::controlplane
