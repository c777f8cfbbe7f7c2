// Defaults and validation of Services (Kubernetes pkg/apis/core/v1/defaults.go and
// pkg/apis/core/validation, ValidateService). Families and addresses: service_families.cc.
#include <map>
#include <set>

#include "base/ip.h"
#include "controlplane/objects/kind_rules.h"
#include "controlplane/objects/service_families.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr int64_t kAffinitySeconds = 10'800, kMaxAffinitySeconds = 86'400;
constexpr int64_t kKubeletPort = 10'250;

void default_affinity(json::object& spec) {
  default_to(spec, "sessionAffinity", "None");
  if (string_at(spec, "sessionAffinity") == "None") spec.erase("sessionAffinityConfig");
  if (string_at(spec, "sessionAffinity") != "ClientIP") return;
  json::object& client = make_object(make_object(spec, "sessionAffinityConfig"), "clientIP");
  default_to(client, "timeoutSeconds", kAffinitySeconds);
}

void default_ports(json::object& spec) {
  json::value* ports = spec.if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (json::value& item : ports->get_array()) {
    if (!item.is_object()) continue;
    json::object& port = item.get_object();
    if (string_at(port, "protocol").empty()) port["protocol"] = "TCP";
    const json::value* target = port.if_contains("targetPort");
    const bool unset = target == nullptr || target->is_null() || as_integer(*target) == 0 ||
                       (target->is_string() && target->get_string().empty());
    if (unset) port["targetPort"] = integer_at(port, "port").value_or(0);
    if (integer_at(port, "nodePort") == 0) port.erase("nodePort");
    if (has(port, "name") && string_at(port, "name").empty()) port.erase("name");
  }
}

void default_service(json::object& service) {
  json::object& spec = make_object(service, "spec");
  for (std::string_view field : {"type", "clusterIP", "externalName", "externalTrafficPolicy"})
    if (has(spec, field) && string_at(spec, field).empty()) spec.erase(field);
  default_to(spec, "type", "ClusterIP");
  default_affinity(spec);
  default_ports(spec);
  if (externally_accessible(spec)) default_to(spec, "externalTrafficPolicy", "Cluster");
  if (needs_cluster_ip(spec)) default_to(spec, "internalTrafficPolicy", "Cluster");
  if (type_of(spec) == "LoadBalancer") default_to(spec, "allocateLoadBalancerNodePorts", true);
  if (integer_at(spec, "healthCheckNodePort") == 0) spec.erase("healthCheckNodePort");
  // One of clusterIP and clusterIPs is enough.
  const json::array* many = array_at(spec, "clusterIPs");
  if (has(spec, "clusterIP") && (many == nullptr || many->empty()))
    spec["clusterIPs"] = json::array{spec.at("clusterIP")};
  json::object& status = make_object(service, "status");
  make_object(status, "loadBalancer");
}

void validate_target(const json::object& port, const std::string& at, Problems& problems) {
  const json::value* target = port.if_contains("targetPort");
  if (target == nullptr) return;
  if (target->is_string()) {
    const std::string_view name = view(target->get_string());
    problems.invalid(at + ".targetPort", name, port_name(name));
  } else if (const auto number = as_integer(*target); number && !port_number(*number).empty()) {
    problems.invalid(at + ".targetPort", *number, port_number(*number)[0]);
  }
}

void validate_port(const json::object& port, bool name_required, const std::string& at,
                   std::set<std::string, std::less<>>& names, Problems& problems) {
  const std::string_view name = string_at(port, "name");
  if (name.empty() && name_required) problems.required(at + ".name");
  if (!name.empty()) {
    problems.invalid(at + ".name", name, dns_label(name));
    if (!names.emplace(name).second) problems.duplicate(at + ".name", json::value(name));
  }
  const int64_t number = integer_at(port, "port").value_or(0);
  if (!port_number(number).empty()) problems.invalid(at + ".port", number, port_number(number)[0]);
  problems.one_of(at + ".protocol", string_at(port, "protocol"), {"SCTP", "TCP", "UDP"});
  validate_target(port, at, problems);
  const std::string_view app = string_at(port, "appProtocol");
  if (!app.empty()) problems.invalid(at + ".appProtocol", app, qualified_name(app));
}

void validate_ports(const json::object& spec, Problems& problems) {
  const json::array* ports = array_at(spec, "ports");
  const bool none = ports == nullptr || ports->empty();
  if (none && !is_headless(spec) && type_of(spec) != "ExternalName")
    problems.required("spec.ports");
  std::set<std::string, std::less<>> names;
  std::set<std::pair<std::string, int64_t>> seen, node_ports;
  each_object(spec, "ports", "spec.", [&](const json::object& port, const std::string& at) {
    validate_port(port, ports->size() > 1, at, names, problems);
    const std::string protocol(string_at(port, "protocol"));
    const int64_t number = integer_at(port, "port").value_or(0);
    if (!seen.emplace(protocol, number).second)
      problems.duplicate(at, json::object{{"protocol", protocol}, {"port", number}});
    if (type_of(spec) == "LoadBalancer" && number == kKubeletPort)
      problems.invalid(at, number,
                       "may not expose port 10250 externally since it is used by kubelet");
    const int64_t node_port = integer_at(port, "nodePort").value_or(0);
    if (node_port == 0) return;
    if (!may_have_node_ports(spec))
      problems.forbidden(at + ".nodePort",
                         cat("may not be used when `type` is '", type_of(spec), "'"));
    else if (!node_ports.emplace(protocol, node_port).second)
      problems.duplicate(at + ".nodePort", node_port);
  });
}

void validate_type(const json::object& spec, Problems& problems) {
  const std::string_view type = type_of(spec);
  problems.one_of("spec.type", type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
  if (may_have_node_ports(spec) && is_headless(spec))
    problems.invalid("spec.clusterIPs[0]", json::value("None"),
                     cat("may not be set to 'None' for ", type, " services"));
  if (type != "ExternalName") return;
  for (std::string_view field : {"clusterIPs", "ipFamilies", "ipFamilyPolicy"})
    if (has(spec, field))
      problems.forbidden(cat("spec.", field), "may not be set for ExternalName services");
  std::string_view name = string_at(spec, "externalName");
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty())
    problems.required("spec.externalName");
  else
    problems.invalid("spec.externalName", name, dns_subdomain(name));
}

void validate_affinity(const json::object& spec, Problems& problems) {
  const std::string_view affinity = string_at(spec, "sessionAffinity");
  problems.one_of("spec.sessionAffinity", affinity, {"ClientIP", "None"});
  if (affinity == "None" && has(spec, "sessionAffinityConfig"))
    problems.forbidden("spec.sessionAffinityConfig",
                       "must not be set when session affinity is None");
  if (affinity != "ClientIP") return;
  const json::value* seconds = find(spec.at("sessionAffinityConfig"), "clientIP", "timeoutSeconds");
  const auto value = seconds == nullptr ? std::nullopt : as_integer(*seconds);
  if (value && (*value <= 0 || *value > kMaxAffinitySeconds))
    problems.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", *value,
                     "must be greater than 0 and less than 86400");
}

void validate_traffic(const json::object& spec, Problems& problems) {
  const std::string_view external = string_at(spec, "externalTrafficPolicy");
  if (externally_accessible(spec))
    problems.one_of("spec.externalTrafficPolicy", external, {"Cluster", "Local"});
  else if (!external.empty())
    problems.invalid("spec.externalTrafficPolicy", json::value(external),
                     "may only be set for externally-accessible services");
  const int64_t health = integer_at(spec, "healthCheckNodePort").value_or(0);
  if (health != 0 && !needs_health_check_port(spec))
    problems.invalid("spec.healthCheckNodePort", health,
                     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
                     "'Local'");
  if (needs_cluster_ip(spec))
    problems.one_of("spec.internalTrafficPolicy", string_at(spec, "internalTrafficPolicy"),
                    {"Cluster", "Local"});
  if (has(spec, "trafficDistribution"))
    problems.one_of("spec.trafficDistribution", string_at(spec, "trafficDistribution"),
                    {"PreferClose"});
  if (type_of(spec) == "LoadBalancer") return;
  for (std::string_view field :
       {"allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"}) {
    const json::array* list = array_at(spec, field);
    if (has(spec, field) && (list == nullptr || !list->empty()))
      problems.forbidden(cat("spec.", field), "may only be used when `type` is 'LoadBalancer'");
  }
}

void validate_service(const json::object& service, Problems& problems) {
  const json::object& spec = service_spec(service);
  validate_ports(spec, problems);
  if (const json::object* selector = object_at(spec, "selector"))
    validate_labels(*selector, "spec.selector", problems);
  validate_affinity(spec, problems);
  validate_cluster_ips(spec, problems);
  each_string(spec, "externalIPs", "spec.", [&](std::string_view ip, const std::string& at) {
    problems.invalid(at, ip, endpoint_ip(ip));
  });
  each_string(spec, "loadBalancerSourceRanges", "spec.",
              [&](std::string_view range, const std::string& at) {
                if (!Cidr::parse(trim(range)))
                  problems.invalid(
                      at, json::value(range),
                      "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
              });
  validate_type(spec, problems);
  validate_traffic(spec, problems);
}

}  // namespace

const KindRules service_rules = {.api_version = "v1",
                                 .kind = "Service",
                                 .name = dns_1035_label,
                                 .server_status = true,
                                 .defaults = default_service,
                                 .carry_over = carry_over_service,
                                 .validate = validate_service,
                                 .validate_update = validate_service_update};

}  // namespace fairlead::controlplane
