// Ingress and IngressClass (Kubernetes pkg/apis/networking/validation).
#include <set>

#include "base/ip.h"
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kClassAnnotation = "kubernetes.io/ingress.class";

void validate_service_backend(const json::object& service, const std::string& at,
                              Problems& problems) {
  const std::string_view name = string_at(service, "name");
  if (name.empty())
    problems.required(at + ".service.name");
  else
    problems.invalid(at + ".service.name", name, dns_1035_label(name));
  static const json::object none;
  const json::object* found = object_at(service, "port");
  const json::object& port = found == nullptr ? none : *found;
  const std::string_view port_text = string_at(port, "name");
  const int64_t number = integer_at(port, "number").value_or(0);
  if (!port_text.empty() && number != 0)
    problems.invalid(at, json::value(""), "cannot set both port name & port number");
  else if (!port_text.empty())
    problems.invalid(at + ".service.port.name", port_text, port_name(port_text));
  else if (number == 0)
    problems.required(at, "port name or number is required");
  else if (!port_number(number).empty())
    problems.invalid(at + ".service.port.number", number, port_number(number)[0]);
}

void validate_backend(const json::object* backend, const std::string& at, Problems& problems) {
  const json::object* service = backend == nullptr ? nullptr : object_at(*backend, "service");
  const json::object* resource = backend == nullptr ? nullptr : object_at(*backend, "resource");
  if (service != nullptr && resource != nullptr)
    return problems.invalid(at, json::value(""), "cannot set both resource and service backends");
  if (service != nullptr) return validate_service_backend(*service, at, problems);
  if (resource == nullptr)
    return problems.invalid(at, json::value(""), "resource or service backend is required");
  for (std::string_view field : {"kind", "name"})
    if (string_at(*resource, field).empty()) problems.required(cat(at, ".resource.", field));
}

void validate_path_text(std::string_view path, const std::string& at, Problems& problems) {
  if (!path.starts_with('/'))
    problems.invalid(at + ".path", json::value(path), "must be an absolute path");
  for (std::string_view part : {"//", "/./", "/../", "%2f", "%2F"})
    if (path.find(part) != std::string_view::npos)
      problems.invalid(at + ".path", json::value(path), cat("must not contain '", part, "'"));
  for (std::string_view end : {"/..", "/."})
    if (path.ends_with(end))
      problems.invalid(at + ".path", json::value(path), cat("cannot end with '", end, "'"));
}

void validate_path(const json::object& path, const std::string& at, Problems& problems) {
  const std::string_view type = string_at(path, "pathType"), text = string_at(path, "path");
  if (type.empty())
    problems.required(at + ".pathType", "pathType must be specified");
  else if (type == "Exact" || type == "Prefix")
    validate_path_text(text, at, problems);
  else if (type == "ImplementationSpecific") {
    if (!text.empty() && !text.starts_with('/'))
      problems.invalid(at + ".path", json::value(text), "must be an absolute path");
  } else {
    problems.not_supported(at + ".pathType", type, {"Exact", "ImplementationSpecific", "Prefix"});
  }
  validate_backend(object_at(path, "backend"), at + ".backend", problems);
}

void validate_host(std::string_view host, const std::string& at, Problems& problems) {
  if (Ip::parse(host))
    problems.invalid(at, json::value(host), "must be a DNS name, not an IP address");
  else if (host.find('*') != std::string_view::npos)
    problems.invalid(at, host, wildcard_subdomain(host));
  else
    problems.invalid(at, host, dns_subdomain(host));
}

void validate_rules(const json::object& spec, Problems& problems) {
  each_object(spec, "rules", "spec.", [&](const json::object& rule, const std::string& at) {
    const std::string_view host = string_at(rule, "host");
    if (!host.empty()) validate_host(host, at + ".host", problems);
    const json::object* http = object_at(rule, "http");
    if (http == nullptr) return;
    const json::array* paths = array_at(*http, "paths");
    if (paths == nullptr || paths->empty()) problems.required(at + ".http.paths");
    each_object(*http, "paths", at + ".http.",
                [&](const json::object& path, const std::string& where) {
                  validate_path(path, where, problems);
                });
  });
}

void validate_ingress(const json::object& ingress, Problems& problems) {
  static const json::object none;
  const json::object* found = object_at(ingress, "spec");
  const json::object& spec = found == nullptr ? none : *found;
  const json::array* rules = array_at(spec, "rules");
  const json::object* backend = object_at(spec, "defaultBackend");
  if ((rules == nullptr || rules->empty()) && backend == nullptr)
    problems.invalid("spec", rules == nullptr ? json::value(json::array()) : json::value(*rules),
                     "either `defaultBackend` or `rules` must be specified");
  if (backend != nullptr) validate_backend(backend, "spec.defaultBackend", problems);
  validate_rules(spec, problems);
  each_object(spec, "tls", "spec.", [&](const json::object& tls, const std::string& at) {
    each_string(tls, "hosts", at + ".", [&](std::string_view host, const std::string& where) {
      const bool wildcard = host.find('*') != std::string_view::npos;
      problems.invalid(where, host, wildcard ? wildcard_subdomain(host) : dns_subdomain(host));
    });
    const std::string_view secret = string_at(tls, "secretName");
    if (!secret.empty()) problems.invalid(at + ".secretName", secret, dns_subdomain(secret));
  });
  if (has(spec, "ingressClassName")) {
    const std::string_view name = string_at(spec, "ingressClassName");
    problems.invalid("spec.ingressClassName", name, dns_subdomain(name));
  }
}

void validate_new_ingress(const json::object& ingress, Problems& problems) {
  const json::value* metadata = ingress.if_contains("metadata");
  const json::value* annotation =
      metadata == nullptr ? nullptr : find(*metadata, "annotations", kClassAnnotation);
  if (annotation == nullptr) return;
  problems.warn(
      "annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
      "'spec.ingressClassName' instead");
  const json::object* spec = object_at(ingress, "spec");
  if (spec != nullptr && has(*spec, "ingressClassName"))
    problems.invalid(cat("metadata.annotations.", kClassAnnotation), *annotation,
                     "can not be set when the class field is also set");
}

void default_ingress_class(json::object& object) {
  json::value* spec = object.if_contains("spec");
  if (spec == nullptr || !spec->is_object()) return;
  json::value* parameters = spec->get_object().if_contains("parameters");
  if (parameters != nullptr && parameters->is_object())
    default_to(parameters->get_object(), "scope", "Cluster");
}

void validate_parameters(const json::object& parameters, Problems& problems) {
  const std::string at = "spec.parameters";
  for (std::string_view field : {"kind", "name"})
    if (string_at(parameters, field).empty()) problems.required(cat(at, ".", field));
  const std::string_view scope = string_at(parameters, "scope");
  const std::string_view space = string_at(parameters, "namespace");
  problems.one_of(at + ".scope", scope, {"Cluster", "Namespace"});
  if (scope == "Namespace" && space.empty())
    problems.required(at + ".namespace", "`parameters.scope` is set to 'Namespace'");
  if (scope == "Cluster" && has(parameters, "namespace"))
    problems.forbidden(at + ".namespace", "`parameters.scope` is set to 'Cluster'");
}

void validate_ingress_class(const json::object& object, Problems& problems) {
  const json::object* spec = object_at(object, "spec");
  const std::string_view controller =
      spec == nullptr ? std::string_view() : string_at(*spec, "controller");
  if (controller.size() > 250) problems.too_long("spec.controller", 250);
  if (controller.empty())
    problems.required("spec.controller");
  else
    problems.invalid("spec.controller", controller, domain_prefixed_path(controller));
  if (spec == nullptr) return;
  if (const json::object* parameters = object_at(*spec, "parameters"))
    validate_parameters(*parameters, problems);
}

void validate_ingress_class_update(const json::object& old, const json::object& object,
                                   Problems& problems) {
  const auto controller = [](const json::object& document) {
    const json::object* spec = object_at(document, "spec");
    return spec == nullptr ? std::string_view() : string_at(*spec, "controller");
  };
  if (controller(old) != controller(object))
    problems.invalid("spec.controller", json::value(controller(object)), "field is immutable");
}

}  // namespace

const KindRules ingress_rules = {.api_version = "networking.k8s.io/v1",
                                 .kind = "Ingress",
                                 .server_status = true,
                                 .validate = validate_ingress,
                                 .validate_create = validate_new_ingress};

const KindRules ingress_class_rules = {.api_version = "networking.k8s.io/v1",
                                       .kind = "IngressClass",
                                       .namespaced = false,
                                       .defaults = default_ingress_class,
                                       .validate = validate_ingress_class,
                                       .validate_update = validate_ingress_class_update};

}  // namespace fairlead::controlplane
