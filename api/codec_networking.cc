#include "api/codec_parts.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

// networking/v1 IngressBackend: service and resource exclude each other, so do a port's name and
// number. A resource backend decodes to one without a Service; the ingress answers it with an
// error.
IngressBackend read_backend(const Reader& backend) {
  IngressBackend out;
  const bool has_service = backend.has("service");
  if (has_service == backend.has("resource")) {
    backend.fail("", "expected exactly one of service and resource");
  }
  if (!has_service) return out;
  const Reader service = backend.object("service");
  out.service = service.string("name");
  if (out.service.empty()) service.fail("name", "missing");
  const Reader port = service.object("port");
  out.port_name = port.string("name");
  out.port_number = static_cast<uint16_t>(port.integer("number", 0, 65535));
  if (out.port_name.empty() == (out.port_number == 0)) {
    service.fail("port", "expected either a name or a number from 1 to 65535");
  }
  return out;
}

// pathType has no default in networking/v1: the API server refuses an Ingress without it.
IngressPath read_path(const Reader& reader) {
  IngressPath path;
  path.path = reader.string("path");
  if (!path.path.empty() && path.path.front() != '/') {
    reader.fail("path", "expected an absolute path, beginning with '/'");
  }
  if (!reader.has("pathType")) reader.fail("pathType", "missing");
  path.type = read_word<PathType>(reader, "pathType",
                                  {{"Exact", PathType::exact},
                                   {"Prefix", PathType::prefix},
                                   {"ImplementationSpecific", PathType::implementation_specific}},
                                  PathType::implementation_specific);
  if (!reader.has("backend")) reader.fail("backend", "missing");
  path.backend = read_backend(reader.object("backend"));
  return path;
}

}  // namespace

Ingress read_ingress(const Reader& document, Meta meta) {
  Ingress ingress{.meta = std::move(meta)};
  const Reader spec = document.object("spec");
  ingress.class_name = spec.string("ingressClassName");
  if (spec.has("defaultBackend")) {
    ingress.default_backend = read_backend(spec.object("defaultBackend"));
  }
  spec.each("rules", [&](const Reader& reader) {
    IngressRule rule{.host = reader.string("host"), .has_http = reader.has("http")};
    const Reader http = reader.object("http");
    http.each("paths", [&](const Reader& path) { rule.paths.push_back(read_path(path)); });
    ingress.rules.push_back(std::move(rule));
  });
  spec.each("tls", [&](const Reader& tls) {
    ingress.tls.push_back({tls.strings("hosts"), tls.string("secretName")});
  });
  return ingress;
}

IngressClass read_ingress_class(const Reader& document, Meta meta) {
  const Reader spec = document.object("spec");
  return {.meta = std::move(meta), .controller = spec.string("controller")};
}

}  // namespace fairlead::api
