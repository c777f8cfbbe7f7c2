// What a Pod must say so that a node agent and the EndpointSlice controller can work with it; the
// resource model, security contexts and scheduling constraints are checked by the schema only.
#include <set>

#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

using Names = std::set<std::string, std::less<>>;

void validate_container_ports(const json::object& container, bool host_network,
                              const std::string& at, Problems& problems) {
  Names names;
  each_object(container, "ports", at + ".", [&](const json::object& port, const std::string& here) {
    const std::string_view name = string_at(port, "name");
    if (!name.empty()) {
      problems.invalid(here + ".name", name, port_name(name));
      if (!names.emplace(name).second) problems.duplicate(here + ".name", json::value(name));
    }
    const int64_t number = integer_at(port, "containerPort").value_or(0);
    const int64_t host = integer_at(port, "hostPort").value_or(0);
    if (number == 0)
      problems.required(here + ".containerPort");
    else if (!port_number(number).empty())
      problems.invalid(here + ".containerPort", number, port_number(number)[0]);
    if (host != 0 && !port_number(host).empty())
      problems.invalid(here + ".hostPort", host, port_number(host)[0]);
    else if (host_network && host != number)
      problems.invalid(here + ".hostPort", host,
                       "must match `containerPort` when `hostNetwork` is true");
    problems.one_of(here + ".protocol", string_at(port, "protocol"), {"SCTP", "TCP", "UDP"});
  });
}

void validate_container(const json::object& container, bool host_network, const Names& volumes,
                        Names& seen, const std::string& at, Problems& problems) {
  const std::string_view name = string_at(container, "name");
  if (name.empty())
    problems.required(at + ".name");
  else
    problems.invalid(at + ".name", name, dns_label(name));
  if (!name.empty() && !seen.emplace(name).second)
    problems.duplicate(at + ".name", json::value(name));
  const std::string_view image = string_at(container, "image");
  if (image.empty())
    problems.required(at + ".image");
  else if (trim(image) != image)
    problems.invalid(at + ".image", json::value(image),
                     "must not have leading or trailing whitespace");
  problems.one_of(at + ".imagePullPolicy", string_at(container, "imagePullPolicy"),
                  {"Always", "IfNotPresent", "Never"});
  problems.one_of(at + ".terminationMessagePolicy",
                  string_at(container, "terminationMessagePolicy"),
                  {"FallbackToLogsOnError", "File"});
  validate_container_ports(container, host_network, at, problems);
  each_object(container, "env", at + ".", [&](const json::object& env, const std::string& here) {
    const std::string_view variable = string_at(env, "name");
    if (variable.empty())
      problems.required(here + ".name");
    else if (variable.find('=') != std::string_view::npos)
      problems.invalid(here + ".name", json::value(variable),
                       "a valid environment variable name must consist only of printable ASCII "
                       "characters other than '='");
    if (!string_at(env, "value").empty() && has(env, "valueFrom"))
      problems.invalid(here + ".valueFrom", json::value(""),
                       "may not be specified when `value` is not empty");
  });
  Names paths;
  each_object(container, "volumeMounts", at + ".",
              [&](const json::object& mount, const std::string& here) {
                const std::string_view volume = string_at(mount, "name");
                const std::string_view path = string_at(mount, "mountPath");
                if (volume.empty())
                  problems.required(here + ".name");
                else if (!volumes.contains(volume))
                  problems.not_found(here + ".name", json::value(volume));
                if (path.empty())
                  problems.required(here + ".mountPath");
                else if (!paths.emplace(path).second)
                  problems.invalid(here + ".mountPath", json::value(path), "must be unique");
              });
}

Names validate_volumes(const json::object& spec, Problems& problems) {
  Names names;
  each_object(spec, "volumes", "spec.", [&](const json::object& volume, const std::string& at) {
    const std::string_view name = string_at(volume, "name");
    if (name.empty())
      problems.required(at + ".name");
    else
      problems.invalid(at + ".name", name, dns_label(name));
    if (!name.empty() && !names.emplace(name).second)
      problems.duplicate(at + ".name", json::value(name));
    if (volume.size() > 2) problems.forbidden(at, "may not specify more than 1 volume type");
  });
  return names;
}

void validate_pod(const json::object& pod, Problems& problems) {
  static const json::object none;
  const json::object* found = object_at(pod, "spec");
  const json::object& spec = found == nullptr ? none : *found;
  const Names volumes = validate_volumes(spec, problems);
  const bool host_network = bool_at(spec, "hostNetwork").value_or(false);
  Names names;
  const json::array* containers = array_at(spec, "containers");
  if (containers == nullptr || containers->empty()) problems.required("spec.containers");
  for (std::string_view list : {"containers", "initContainers"})
    each_object(spec, list, "spec.", [&](const json::object& container, const std::string& at) {
      validate_container(container, host_network, volumes, names, at, problems);
    });
  problems.one_of("spec.restartPolicy", string_at(spec, "restartPolicy"),
                  {"Always", "Never", "OnFailure"});
  problems.one_of("spec.dnsPolicy", string_at(spec, "dnsPolicy"),
                  {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"});
  for (std::string_view field : {"hostname", "subdomain"}) {
    const std::string_view text = string_at(spec, field);
    if (!text.empty()) problems.invalid(cat("spec.", field), text, dns_label(text));
  }
  const std::string_view node = string_at(spec, "nodeName");
  if (!node.empty()) problems.invalid("spec.nodeName", node, dns_subdomain(node));
  if (const json::object* selector = object_at(spec, "nodeSelector"))
    validate_labels(*selector, "spec.nodeSelector", problems);
  const auto deadline = integer_at(spec, "activeDeadlineSeconds");
  if (deadline && *deadline < 1)
    problems.invalid("spec.activeDeadlineSeconds", *deadline,
                     "must be between 1 and 2147483647, inclusive");
}

// The spec without what an update may change.
json::object fixed_part(const json::object& spec) {
  json::object out = spec;
  for (std::string_view field :
       {"activeDeadlineSeconds", "tolerations", "schedulingGates", "terminationGracePeriodSeconds"})
    out.erase(field);
  for (std::string_view list : {"containers", "initContainers"}) {
    json::value* containers = out.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (json::value& container : containers->get_array())
      if (container.is_object()) container.get_object().erase("image");
  }
  return out;
}

bool keeps_tolerations(const json::object& before, const json::object& after) {
  const json::array *old = array_at(before, "tolerations"), *now = array_at(after, "tolerations");
  if (old == nullptr) return true;
  for (const json::value& toleration : *old) {
    const auto same = [&](const json::value& other) { return same_value(toleration, other); };
    if (now == nullptr || std::none_of(now->begin(), now->end(), same)) return false;
  }
  return true;
}

void validate_pod_update(const json::object& old, const json::object& pod, Problems& problems) {
  const json::object *before = object_at(old, "spec"), *after = object_at(pod, "spec");
  if (before == nullptr || after == nullptr) return;
  if (!keeps_tolerations(*before, *after))
    problems.forbidden("spec.tolerations",
                       "existing toleration can not be modified except its tolerationSeconds");
  const bool same_grace = integer_at(*before, "terminationGracePeriodSeconds") ==
                          integer_at(*after, "terminationGracePeriodSeconds");
  if (same_grace && same_value(fixed_part(*before), fixed_part(*after))) return;
  problems.forbidden(
      "spec",
      "pod updates may not change fields other than `spec.containers[*].image`,"
      "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
      "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
      "to 1 if it was previously negative)");
}

}  // namespace

const KindRules pod_rules = {.api_version = "v1",
                             .kind = "Pod",
                             .server_status = true,
                             .defaults = default_pod,
                             .validate = validate_pod,
                             .validate_update = validate_pod_update};

}  // namespace fairlead::controlplane
