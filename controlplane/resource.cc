#include "controlplane/resource.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

using Verbs = std::vector<std::string_view>;

const Verbs kAllVerbs = {"create", "delete", "deletecollection", "get",
                         "list",   "patch",  "update",           "watch"};
const Verbs kObjectVerbs = {"get", "patch", "update"};
const Column kName = {.name = "Name", .format = "name"};
const Column kAge = {.name = "Age"};

Resource namespace_row() {
  return {.group = "",
          .version = "v1",
          .plural = "namespaces",
          .singular = "namespace",
          .kind = "Namespace",
          .schema = "io.k8s.api.core.v1.Namespace",
          .namespaced = false,
          .short_names = {"ns"},
          .verbs = {"create", "delete", "get", "list", "patch", "update", "watch"},
          .subresources = {{"finalize", {"update"}}, {"status", kObjectVerbs}},
          .columns = {kName, {.name = "Status"}, kAge},
          .fields = {{"status.phase"}},
          .returns_deleted = true};
}

Resource node_row() {
  return {.group = "",
          .version = "v1",
          .plural = "nodes",
          .singular = "node",
          .kind = "Node",
          .schema = "io.k8s.api.core.v1.Node",
          .namespaced = false,
          .short_names = {"no"},
          .verbs = kAllVerbs,
          .subresources = {{"status", kObjectVerbs}},
          .columns = {kName,
                      {.name = "Status"},
                      {.name = "Roles"},
                      kAge,
                      {.name = "Version"},
                      {.name = "Internal-IP", .priority = 1},
                      {.name = "External-IP", .priority = 1},
                      {.name = "OS-Image", .priority = 1},
                      {.name = "Kernel-Version", .priority = 1},
                      {.name = "Container-Runtime", .priority = 1}},
          .fields = {{"spec.unschedulable", {}, "false"}}};
}

Resource pod_row() {
  return {.group = "",
          .version = "v1",
          .plural = "pods",
          .singular = "pod",
          .kind = "Pod",
          .schema = "io.k8s.api.core.v1.Pod",
          .short_names = {"po"},
          .categories = {"all"},
          .verbs = kAllVerbs,
          .subresources = {{"eviction", {"create"}}, {"status", kObjectVerbs}},
          .columns = {kName,
                      {.name = "Ready"},
                      {.name = "Status"},
                      {.name = "Restarts"},
                      kAge,
                      {.name = "IP", .priority = 1},
                      {.name = "Node", .priority = 1},
                      {.name = "Nominated Node", .priority = 1},
                      {.name = "Readiness Gates", .priority = 1}},
          .fields = {{"spec.nodeName"},
                     {"spec.restartPolicy"},
                     {"spec.schedulerName"},
                     {"spec.serviceAccountName"},
                     {"spec.hostNetwork", {}, "false"},
                     {"status.phase"},
                     {"status.podIP"},
                     {"status.nominatedNodeName"}},
          .graceful = true,
          .returns_deleted = true};
}

Resource service_row() {
  return {.group = "",
          .version = "v1",
          .plural = "services",
          .singular = "service",
          .kind = "Service",
          .schema = "io.k8s.api.core.v1.Service",
          .short_names = {"svc"},
          .categories = {"all"},
          .verbs = kAllVerbs,
          .subresources = {{"status", kObjectVerbs}},
          .columns = {kName,
                      {.name = "Type"},
                      {.name = "Cluster-IP"},
                      {.name = "External-IP"},
                      {.name = "Port(s)"},
                      kAge,
                      {.name = "Selector", .priority = 1}},
          .fields = {{"spec.clusterIP"}, {"spec.type"}},
          .returns_deleted = true};
}

Resource endpoints_row() {
  return {.group = "",
          .version = "v1",
          .plural = "endpoints",
          .singular = "endpoints",
          .kind = "Endpoints",
          .schema = "io.k8s.api.core.v1.Endpoints",
          .short_names = {"ep"},
          .verbs = kAllVerbs,
          .columns = {kName, {.name = "Endpoints"}, kAge},
          .create_on_update = true};
}

Resource endpoint_slice_row() {
  return {
      .group = "discovery.k8s.io",
      .version = "v1",
      .plural = "endpointslices",
      .singular = "endpointslice",
      .kind = "EndpointSlice",
      .schema = "io.k8s.api.discovery.v1.EndpointSlice",
      .verbs = kAllVerbs,
      .columns = {kName, {.name = "AddressType"}, {.name = "Ports"}, {.name = "Endpoints"}, kAge},
      .has_generation = true,
      .old_version = "v1beta1"};
}

Resource ingress_row() {
  return {.group = "networking.k8s.io",
          .version = "v1",
          .plural = "ingresses",
          .singular = "ingress",
          .kind = "Ingress",
          .schema = "io.k8s.api.networking.v1.Ingress",
          .short_names = {"ing"},
          .verbs = kAllVerbs,
          .subresources = {{"status", kObjectVerbs}},
          .columns = {kName,
                      {.name = "Class"},
                      {.name = "Hosts"},
                      {.name = "Address"},
                      {.name = "Ports"},
                      kAge},
          .has_generation = true};
}

Resource ingress_class_row() {
  return {.group = "networking.k8s.io",
          .version = "v1",
          .plural = "ingressclasses",
          .singular = "ingressclass",
          .kind = "IngressClass",
          .schema = "io.k8s.api.networking.v1.IngressClass",
          .namespaced = false,
          .verbs = kAllVerbs,
          .columns = {kName, {.name = "Controller"}, {.name = "Parameters"}, kAge},
          .has_generation = true};
}

Resource secret_row() {
  return {.group = "",
          .version = "v1",
          .plural = "secrets",
          .singular = "secret",
          .kind = "Secret",
          .schema = "io.k8s.api.core.v1.Secret",
          .verbs = kAllVerbs,
          .columns = {kName, {.name = "Type"}, {.name = "Data", .type = "integer"}, kAge},
          .fields = {{"type"}}};
}

Resource config_map_row() {
  return {.group = "",
          .version = "v1",
          .plural = "configmaps",
          .singular = "configmap",
          .kind = "ConfigMap",
          .schema = "io.k8s.api.core.v1.ConfigMap",
          .short_names = {"cm"},
          .verbs = kAllVerbs,
          .columns = {kName, {.name = "Data", .type = "integer"}, kAge}};
}

Resource event_row() {
  return {.group = "",
          .version = "v1",
          .plural = "events",
          .singular = "event",
          .kind = "Event",
          .schema = "io.k8s.api.core.v1.Event",
          .short_names = {"ev"},
          .verbs = kAllVerbs,
          .columns = {{.name = "Last Seen"},
                      {.name = "Type"},
                      {.name = "Reason"},
                      {.name = "Object"},
                      {.name = "Subobject", .priority = 1},
                      {.name = "Source", .priority = 1},
                      {.name = "Message"},
                      {.name = "First Seen", .priority = 1},
                      {.name = "Count", .priority = 1},
                      {.name = "Name", .priority = 1, .format = "name"}},
          .fields = {{"involvedObject.kind"},
                     {"involvedObject.namespace"},
                     {"involvedObject.name"},
                     {"involvedObject.uid"},
                     {"involvedObject.apiVersion"},
                     {"involvedObject.resourceVersion"},
                     {"involvedObject.fieldPath"},
                     {"reason"},
                     {"reportingComponent"},
                     {"source", "source.component"},
                     {"type"}},
          .create_on_update = true,
          .ttl_s = 3600};
}

Resource lease_row() {
  return {.group = "coordination.k8s.io",
          .version = "v1",
          .plural = "leases",
          .singular = "lease",
          .kind = "Lease",
          .schema = "io.k8s.api.coordination.v1.Lease",
          .verbs = kAllVerbs,
          .columns = {kName, {.name = "Holder"}, kAge},
          .create_on_update = true,
          .version_required = true};
}

}  // namespace

std::string Resource::group_version() const {
  return group.empty() ? std::string(version) : cat(group, "/", version);
}

std::string Resource::group_resource() const {
  return group.empty() ? std::string(plural) : cat(plural, ".", group);
}

std::string Resource::group_kind() const {
  return group.empty() ? std::string(kind) : cat(kind, ".", group);
}

const Subresource* Resource::subresource(std::string_view wanted) const {
  for (const Subresource& candidate : subresources)
    if (candidate.name == wanted) return &candidate;
  return nullptr;
}

bool Resource::allows(std::string_view verb) const {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

ResourceTable::ResourceTable()
    : rows_{config_map_row(),     endpoints_row(), event_row(),
            namespace_row(),      node_row(),      pod_row(),
            secret_row(),         service_row(),   lease_row(),
            endpoint_slice_row(), ingress_row(),   ingress_class_row()} {}

const Resource* ResourceTable::find(std::string_view group, std::string_view version,
                                    std::string_view plural) const {
  for (const Resource& row : rows_)
    if (row.plural == plural && row.group == group && !version.empty() &&
        (row.version == version || row.old_version == version))
      return &row;
  return nullptr;
}

const Resource* ResourceTable::find_kind(std::string_view api_version,
                                         std::string_view kind) const {
  for (const Resource& row : rows_)
    if (row.kind == kind && row.group_version() == api_version) return &row;
  return nullptr;
}

std::vector<std::string> ResourceTable::group_versions() const {
  std::vector<std::string> out;
  for (const Resource& row : rows_) {
    std::string name = row.group_version();
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
  }
  return out;
}

}  // namespace fairlead::controlplane
