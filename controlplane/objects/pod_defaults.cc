// Kubernetes pkg/apis/core/v1/defaults.go, and the DefaultTolerationSeconds admission plugin.
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

constexpr int64_t kGraceSeconds = 30, kTolerationSeconds = 300, kFileMode = 0644;

// "registry/image:tag@digest": without a tag, or with :latest, the image may change under its name.
bool moves(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return false;
  const size_t colon = image.rfind(':'), slash = image.rfind('/');
  if (colon == std::string_view::npos || (slash != std::string_view::npos && colon < slash))
    return true;
  return image.substr(colon + 1) == "latest";
}

void default_probe(json::object& container, std::string_view name) {
  json::value* found = container.if_contains(name);
  if (found == nullptr || !found->is_object()) return;
  json::object& probe = found->get_object();
  default_to(probe, "timeoutSeconds", 1);
  default_to(probe, "periodSeconds", 10);
  default_to(probe, "successThreshold", 1);
  default_to(probe, "failureThreshold", 3);
  json::value* http = probe.if_contains("httpGet");
  if (http == nullptr || !http->is_object()) return;
  default_to(http->get_object(), "path", "/");
  default_to(http->get_object(), "scheme", "HTTP");
}

void default_container(json::object& container, bool host_network) {
  const bool always = moves(string_at(container, "image"));
  default_to(container, "imagePullPolicy", always ? "Always" : "IfNotPresent");
  default_to(container, "terminationMessagePath", "/dev/termination-log");
  default_to(container, "terminationMessagePolicy", "File");
  json::object& resources = make_object(container, "resources");
  if (const json::object* limits = object_at(resources, "limits")) {
    const json::object copy = *limits;
    json::object& requests = make_object(resources, "requests");
    for (const auto& limit : copy) default_to(requests, view(limit.key()), limit.value());
  }
  for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"})
    default_probe(container, probe);
  json::value* ports = container.if_contains("ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (json::value& item : ports->get_array()) {
    if (!item.is_object()) continue;
    json::object& port = item.get_object();
    default_to(port, "protocol", "TCP");
    const auto number = integer_at(port, "containerPort");
    if (host_network && number && integer_at(port, "hostPort").value_or(0) == 0)
      port["hostPort"] = *number;
  }
}

void default_volume(json::object& volume) {
  if (volume.size() == 1 && volume.contains("name")) volume["emptyDir"] = json::object();
  for (std::string_view source : {"secret", "configMap", "downwardAPI", "projected"}) {
    json::value* found = volume.if_contains(source);
    if (found != nullptr && found->is_object())
      default_to(found->get_object(), "defaultMode", kFileMode);
  }
  json::value* host = volume.if_contains("hostPath");
  if (host != nullptr && host->is_object()) default_to(host->get_object(), "type", "");
}

void default_toleration(json::array& tolerations, std::string_view key) {
  for (const json::value& item : tolerations) {
    const std::string_view named = find_string(item, "key"), effect = find_string(item, "effect");
    if ((named == key || named.empty()) && (effect.empty() || effect == "NoExecute")) return;
  }
  tolerations.push_back(json::object{{"key", key},
                                     {"operator", "Exists"},
                                     {"effect", "NoExecute"},
                                     {"tolerationSeconds", kTolerationSeconds}});
}

}  // namespace

void default_pod(json::object& pod) {
  json::object& spec = make_object(pod, "spec");
  default_to(spec, "restartPolicy", "Always");
  default_to(spec, "dnsPolicy", "ClusterFirst");
  default_to(spec, "schedulerName", "default-scheduler");
  default_to(spec, "terminationGracePeriodSeconds", kGraceSeconds);
  default_to(spec, "enableServiceLinks", true);
  make_object(spec, "securityContext");
  const bool host_network = bool_at(spec, "hostNetwork").value_or(false);
  for (std::string_view list : {"initContainers", "containers"}) {
    json::value* containers = spec.if_contains(list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (json::value& container : containers->get_array())
      if (container.is_object()) default_container(container.get_object(), host_network);
  }
  json::value* volumes = spec.if_contains("volumes");
  if (volumes != nullptr && volumes->is_array())
    for (json::value& volume : volumes->get_array())
      if (volume.is_object()) default_volume(volume.get_object());
  json::array& tolerations = make_array(spec, "tolerations");
  default_toleration(tolerations, "node.kubernetes.io/not-ready");
  default_toleration(tolerations, "node.kubernetes.io/unreachable");
  default_to(make_object(pod, "status"), "phase", "Pending");
}

}  // namespace fairlead::controlplane
