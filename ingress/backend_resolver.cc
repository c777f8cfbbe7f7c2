#include "ingress/backend_resolver.h"

#include "api/endpoints.h"
#include "base/text.h"

namespace fairlead::ingress {
namespace {

const api::ServicePort* find_port(const api::Service& service, const std::string& port) {
  const auto number = parse_int(port, 0, 65535);
  for (const api::ServicePort& candidate : service.ports) {
    if (candidate.protocol != Protocol::tcp) continue;
    if (number ? candidate.port == *number : candidate.name == port) return &candidate;
  }
  return nullptr;
}

}  // namespace

Backend resolve_backend(const api::Snapshot& snapshot, const BackendKey& key) {
  Backend backend{.service = key.service, .port = key.port};
  if (key.service.name.empty()) {
    backend.problem = "a resource backend is not supported";
    return backend;
  }
  const std::string name = cat("Service '", key.service.name, '\'');
  const auto service = snapshot.find<api::Service>(key.service);
  if (service == nullptr) {
    backend.problem = name + " not found";
    return backend;
  }
  if (service->type == api::ServiceType::external_name) {
    backend.problem = name + " is of type ExternalName, which is not served";
    return backend;
  }
  const api::ServicePort* port = find_port(*service, key.port);
  if (port == nullptr) {
    backend.problem = cat(name, " has no TCP port ", key.port);
    return backend;
  }
  const api::SliceList slices = snapshot.slices_of(key.service);
  for (const bool ipv6 : {false, true}) {
    const auto usable = api::usable_endpoints(slices, port->name, Protocol::tcp, ipv6, {});
    for (const auto& endpoint : usable.cluster) {
      backend.endpoints.push_back({endpoint.ip, endpoint.port});
    }
  }
  if (backend.endpoints.empty()) {
    backend.problem = name + " has no usable endpoints";
  } else if (port->app_protocol == "kubernetes.io/h2c" || port->app_protocol == "https") {
    backend.problem = cat(name, " port ", key.port, " has appProtocol ", port->app_protocol,
                          ", which is not supported: speaking plain HTTP/1.1");
  }
  return backend;
}

}  // namespace fairlead::ingress
