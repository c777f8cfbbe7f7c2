// Namespace, Node, Event and Lease.
#include <set>

#include "base/ip.h"
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

void default_namespace(json::object& space) {
  json::object& metadata = make_object(space, "metadata");
  const std::string name(string_at(metadata, "name"));
  const bool deleting = has(metadata, "deletionTimestamp");
  if (!name.empty()) make_object(metadata, "labels")["kubernetes.io/metadata.name"] = name;
  default_to(make_object(space, "status"), "phase", "Active");
  json::array& finalizers = make_array(make_object(space, "spec"), "finalizers");
  bool present = false;
  for (const json::value& item : finalizers) present = present || item == "kubernetes";
  // While it is being deleted only the finalize subresource decides.
  if (!present && !deleting) finalizers.emplace_back("kubernetes");
}

void carry_over_namespace(const json::object& old, json::object& space) {
  const json::object* spec = object_at(old, "spec");
  space["spec"] = spec == nullptr ? json::object() : *spec;
}

void default_node(json::object& node) {
  json::object& spec = make_object(node, "spec");
  const std::string single(string_at(spec, "podCIDR"));
  const json::array* many = array_at(spec, "podCIDRs");
  if (!single.empty() && (many == nullptr || many->empty()))
    spec["podCIDRs"] = json::array{single};
  else if (single.empty() && many != nullptr && !many->empty())
    spec["podCIDR"] = json::value(many->front());
}

void validate_taints(const json::object& spec, Problems& problems) {
  std::set<std::string> seen;
  each_object(spec, "taints", "spec.", [&](const json::object& taint, const std::string& at) {
    const std::string_view key = string_at(taint, "key"), effect = string_at(taint, "effect");
    problems.invalid(at + ".key", key, qualified_name(key));
    problems.invalid(at + ".value", string_at(taint, "value"),
                     label_value(string_at(taint, "value")));
    problems.one_of(at + ".effect", effect, {"NoExecute", "NoSchedule", "PreferNoSchedule"});
    if (!seen.insert(cat(key, "\n", effect)).second) problems.duplicate(at, taint);
  });
}

void validate_node(const json::object& node, Problems& problems) {
  if (const json::object* spec = object_at(node, "spec")) {
    validate_taints(*spec, problems);
    size_t v4 = 0, v6 = 0;
    each_string(*spec, "podCIDRs", "spec.", [&](std::string_view text, const std::string& at) {
      const auto cidr = Cidr::parse(text);
      if (!cidr)
        problems.invalid(at, json::value(text),
                         "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
      else
        ++(cidr->base.is_v4() ? v4 : v6);
    });
    if (v4 > 1 || v6 > 1)
      problems.invalid("spec.podCIDRs", spec->at("podCIDRs"),
                       "may specify no more than one CIDR for each IP family");
  }
  const json::object* status = object_at(node, "status");
  std::set<std::string> seen;
  if (status != nullptr)
    each_object(*status, "addresses", "status.",
                [&](const json::object& address, const std::string& at) {
                  const std::string key =
                      cat(string_at(address, "type"), "\n", string_at(address, "address"));
                  if (!seen.insert(key).second) problems.duplicate(at, address);
                });
}

void validate_node_update(const json::object& old, const json::object& node, Problems& problems) {
  const json::object *before = object_at(old, "spec"), *after = object_at(node, "spec");
  if (before == nullptr || after == nullptr) return;
  const json::array *old_cidrs = array_at(*before, "podCIDRs"),
                    *new_cidrs = array_at(*after, "podCIDRs");
  if (old_cidrs != nullptr && !old_cidrs->empty() &&
      (new_cidrs == nullptr || *new_cidrs != *old_cidrs))
    problems.forbidden("spec.podCIDRs",
                       "node updates may not change podCIDR except from \"\" to valid");
  const std::string_view provider = string_at(*before, "providerID");
  if (!provider.empty() && string_at(*after, "providerID") != provider)
    problems.forbidden("spec.providerID",
                       "node updates may not change providerID except from \"\" to valid");
}

void validate_event(const json::object& event, Problems& problems) {
  const json::object* involved = object_at(event, "involvedObject");
  const json::object* metadata = object_at(event, "metadata");
  if (metadata == nullptr) return;
  const std::string_view space = string_at(*metadata, "namespace");
  const std::string_view other =
      involved == nullptr ? std::string_view() : string_at(*involved, "namespace");
  // Events about cluster-scoped objects live in the default namespace.
  const bool fits = other.empty() ? space == "default" || space == "kube-system" : other == space;
  if (!fits)
    problems.invalid("involvedObject.namespace", json::value(other),
                     "does not match event.namespace");
}

void validate_lease(const json::object& lease, Problems& problems) {
  const json::object* spec = object_at(lease, "spec");
  if (spec == nullptr) return;
  const auto duration = integer_at(*spec, "leaseDurationSeconds");
  if (duration && *duration <= 0)
    problems.invalid("spec.leaseDurationSeconds", *duration, "must be greater than 0");
  const auto transitions = integer_at(*spec, "leaseTransitions");
  if (transitions && *transitions < 0)
    problems.invalid("spec.leaseTransitions", *transitions, "must be greater than or equal to 0");
}

}  // namespace

const KindRules namespace_rules = {.api_version = "v1",
                                   .kind = "Namespace",
                                   .namespaced = false,
                                   .name = dns_label,
                                   .server_status = true,
                                   .defaults = default_namespace,
                                   .carry_over = carry_over_namespace};

const KindRules node_rules = {.api_version = "v1",
                              .kind = "Node",
                              .namespaced = false,
                              .defaults = default_node,
                              .validate = validate_node,
                              .validate_update = validate_node_update};

const KindRules event_rules = {
    .api_version = "v1", .kind = "Event", .name = path_segment, .validate = validate_event};

const KindRules lease_rules = {
    .api_version = "coordination.k8s.io/v1", .kind = "Lease", .validate = validate_lease};

}  // namespace fairlead::controlplane
