// The kinds that the feed carries, as one list. A new kind is a struct in objects.h, a codec in
// codec.h and a row here.
#pragma once

#include <span>
#include <string_view>

#include "api/objects.h"

namespace fairlead::api {

enum class Kind {
  namespace_,
  node,
  pod,
  service,
  endpoint_slice,
  ingress,
  ingress_class,
  secret,
  config_map
};
inline constexpr size_t kind_count = 9;

struct KindInfo {
  Kind kind;
  std::string_view name;         // "EndpointSlice"
  std::string_view api_version;  // "discovery.k8s.io/v1"
  std::string_view plural;       // "endpointslices"
  bool namespaced;
};

std::span<const KindInfo, kind_count> kinds();  // in the order of the enum
const KindInfo& info(Kind kind);
const KindInfo* find_kind(std::string_view api_version, std::string_view name);

// "/api/v1/pods" or "/apis/discovery.k8s.io/v1/endpointslices".
std::string collection_path(const KindInfo& kind);

template <class T>
constexpr Kind kind_of();
template <>
constexpr Kind kind_of<Namespace>() {
  return Kind::namespace_;
}
template <>
constexpr Kind kind_of<Node>() {
  return Kind::node;
}
template <>
constexpr Kind kind_of<Pod>() {
  return Kind::pod;
}
template <>
constexpr Kind kind_of<Service>() {
  return Kind::service;
}
template <>
constexpr Kind kind_of<EndpointSlice>() {
  return Kind::endpoint_slice;
}
template <>
constexpr Kind kind_of<Ingress>() {
  return Kind::ingress;
}
template <>
constexpr Kind kind_of<IngressClass>() {
  return Kind::ingress_class;
}
template <>
constexpr Kind kind_of<Secret>() {
  return Kind::secret;
}
template <>
constexpr Kind kind_of<ConfigMap>() {
  return Kind::config_map;
}

}  // namespace fairlead::api
