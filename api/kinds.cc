#include "api/kinds.h"

#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr KindInfo table[kind_count] = {
    {Kind::namespace_, "Namespace", "v1", "namespaces", false},
    {Kind::node, "Node", "v1", "nodes", false},
    {Kind::pod, "Pod", "v1", "pods", true},
    {Kind::service, "Service", "v1", "services", true},
    {Kind::endpoint_slice, "EndpointSlice", "discovery.k8s.io/v1", "endpointslices", true},
    {Kind::ingress, "Ingress", "networking.k8s.io/v1", "ingresses", true},
    {Kind::ingress_class, "IngressClass", "networking.k8s.io/v1", "ingressclasses", false},
    {Kind::secret, "Secret", "v1", "secrets", true},
    {Kind::config_map, "ConfigMap", "v1", "configmaps", true},
};

constexpr bool in_enum_order() {
  for (size_t i = 0; i < kind_count; ++i) {
    if (table[i].kind != static_cast<Kind>(i)) return false;
  }
  return true;
}
static_assert(in_enum_order());

}  // namespace

std::span<const KindInfo, kind_count> kinds() { return table; }

const KindInfo& info(Kind kind) { return table[static_cast<size_t>(kind)]; }

const KindInfo* find_kind(std::string_view api_version, std::string_view name) {
  for (const KindInfo& kind : table) {
    if (kind.name == name && kind.api_version == api_version) return &kind;
  }
  return nullptr;
}

// The core group is the one without a name, and lives under /api instead of /apis.
std::string collection_path(const KindInfo& kind) {
  const bool core = kind.api_version.find('/') == std::string_view::npos;
  return cat(core ? "/api/" : "/apis/", kind.api_version, '/', kind.plural);
}

}  // namespace fairlead::api
