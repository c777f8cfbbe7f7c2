#include <set>

#include "api/names.h"
#include "api/validate.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr size_t max_endpoints = 1000;  // discovery/v1 EndpointSlice
constexpr size_t max_ports = 100;

// What the checks of one object write to, and the other objects that they may look at.
class Checks {
 public:
  // Two passes: the first knows all objects, so that the second may look others up whatever their
  // order.
  explicit Checks(const Manifests& manifests) {
    for (const LocatedObject& located : manifests.objects) {
      const Kind kind = kind_of(located.object);
      const auto [first, fresh] =
          objects_.try_emplace({kind, meta_of(located.object).key}, &located);
      if (fresh) continue;
      current_ = &located;
      warn(cat("is also in ", first->second->file, ':', first->second->line,
               "; the last one counts"));
      first->second = &located;
    }
    for (const LocatedObject& located : manifests.objects) {
      current_ = &located;
      check_meta(info(kind_of(located.object)), meta_of(located.object));
      std::visit([&](const auto& pointer) { check(*pointer); }, located.object);
    }
  }

  std::vector<Problem> problems;

 private:
  void add(std::string message, bool warning) {
    problems.push_back({.file = current_->file,
                        .line = current_->line,
                        .object = cat(info(kind_of(current_->object)).name, ' ',
                                      meta_of(current_->object).key.to_string()),
                        .message = std::move(message),
                        .warning = warning});
  }
  void error(std::string message) { add(std::move(message), false); }
  void warn(std::string message) { add(std::move(message), true); }
  // For the functions of names.h, which give "" when all is well.
  void error_unless_empty(std::string_view field, const std::string& problem) {
    if (!problem.empty()) error(cat(field, ": ", problem));
  }

  template <class T>
  const T* lookup(const ObjectKey& key) const {
    const auto found = objects_.find({kind_of<T>(), key});
    return found == objects_.end()
               ? nullptr
               : std::get<std::shared_ptr<const T>>(found->second->object).get();
  }

  // IANA_SVC_NAME, RFC 6335 section 5.1, in lower case.
  static std::string port_name_problem(std::string_view name) {
    const bool label = dns_label_problem(name).empty();
    const bool letter = name.find_first_of("abcdefghijklmnopqrstuvwxyz") != std::string_view::npos;
    if (label && letter && name.size() <= 15 && name.find("--") == name.npos) return "";
    return cat("'", name,
               "' is not a name of a port: at most 15 of a-z, 0-9 and single '-', with a letter");
  }

  // Services are names of DNS labels (RFC 1035), namespaces RFC 1123 labels, the rest DNS
  // subdomains.
  void check_meta(const KindInfo& kind, const Meta& meta) {
    const bool label = kind.kind == Kind::namespace_;
    error_unless_empty("metadata.name", kind.kind == Kind::service
                                            ? dns_1035_label_problem(meta.key.name)
                                        : label ? dns_label_problem(meta.key.name)
                                                : dns_subdomain_problem(meta.key.name));
    if (kind.namespaced) error_unless_empty("metadata.namespace", dns_label_problem(meta.key.ns));
    for (const auto& [key, value] : meta.labels) {
      error_unless_empty("metadata.labels", label_key_problem(key));
      error_unless_empty(cat("metadata.labels[", key, ']'), label_value_problem(value));
    }
  }

  void check(const Namespace&) {}
  void check(const Node&) {}
  void check(const Pod&) {}
  void check(const ConfigMap&) {}
  void check(const IngressClass&) {}

  void check(const Service& service) {
    const bool external = service.type == ServiceType::external_name;
    if (external) {
      if (Ip::parse(service.external_name)) {
        warn("spec.externalName: an IP address is taken as a name, which no DNS server knows");
      } else {
        error_unless_empty("spec.externalName",
                           dns_subdomain_problem(trim_dot(service.external_name)));
      }
    } else if (service.ports.empty() && !service.headless) {
      error("spec.ports: expected at least one port");
    }
    check_ports(service);
    const auto& ips = service.cluster_ips;
    if (ips.size() > 2 || (ips.size() == 2 && ips[0].is_v4() == ips[1].is_v4())) {
      error("spec.clusterIPs: expected one address, or one of each family");
    }
  }

  // core/v1 ValidateService: names and (protocol, port) are unique, and needed when there are
  // several.
  void check_ports(const Service& service) {
    std::set<std::string> names;
    std::set<std::pair<Protocol, uint16_t>> ports, node_ports;
    const bool has_node_ports =
        service.type == ServiceType::node_port || service.type == ServiceType::load_balancer;
    for (size_t i = 0; i < service.ports.size(); ++i) {
      const ServicePort& port = service.ports[i];
      const std::string where = cat("spec.ports[", i, ']');
      const std::string number = cat(to_string(port.protocol), ' ', port.port);
      if (service.ports.size() > 1 && port.name.empty()) {
        error(cat(where, ".name: missing; with several ports each needs one"));
      } else if (!port.name.empty()) {
        error_unless_empty(where + ".name", dns_label_problem(port.name));
        if (!names.insert(port.name).second) {
          error(cat(where, ".name: '", port.name, "' is used twice"));
        }
      }
      if (const auto* target = std::get_if<std::string>(&port.target_port)) {
        error_unless_empty(where + ".targetPort", port_name_problem(*target));
      }
      if (!ports.emplace(port.protocol, port.port).second) {
        error(cat(where, ".port: ", number, " is used twice"));
      }
      if (port.node_port == 0) continue;
      if (!has_node_ports) error(cat(where, ".nodePort: not with this type of Service"));
      if (!node_ports.emplace(port.protocol, port.node_port).second) {
        error(cat(where, ".nodePort: ", port.node_port, " is used twice"));
      }
      if (port.node_port < 30000 || port.node_port > 32767) {
        warn(cat(where, ".nodePort: ", port.node_port, " is outside the usual 30000-32767"));
      }
    }
  }

  void check(const EndpointSlice& slice) {
    if (slice.service.empty()) {
      warn("metadata.labels: no kubernetes.io/service-name, so it belongs to no Service");
    }
    if (slice.endpoints.size() > max_endpoints) {
      error(cat("endpoints: ", slice.endpoints.size(), " are more than ", max_endpoints));
    }
    if (slice.ports.size() > max_ports) {
      error(cat("ports: ", slice.ports.size(), " are more than ", max_ports));
    }
  }

  void check(const Ingress& ingress) {
    if (!ingress.default_backend && ingress.rules.empty()) {
      error("spec: expected rules or a defaultBackend");
    }
    if (ingress.default_backend)
      check_backend(ingress, "spec.defaultBackend", *ingress.default_backend);
    std::set<std::tuple<std::string, std::string, PathType>> seen;
    for (size_t i = 0; i < ingress.rules.size(); ++i) {
      const IngressRule& rule = ingress.rules[i];
      const std::string where = cat("spec.rules[", i, ']');
      check_host(where + ".host", rule.host);
      for (size_t k = 0; k < rule.paths.size(); ++k) {
        const IngressPath& path = rule.paths[k];
        const std::string at = cat(where, ".http.paths[", k, ']');
        if (path.path.empty() && path.type != PathType::implementation_specific) {
          error(cat(at, ".path: missing; expected one that begins with '/'"));
        }
        if (!seen.emplace(rule.host, path.path, path.type).second) {
          warn(cat(at, ".path: the same host and path again; the first one is used"));
        }
        check_backend(ingress, at + ".backend", path.backend);
      }
    }
    for (size_t i = 0; i < ingress.tls.size(); ++i) check_tls(ingress, i);
  }

  void check_host(const std::string& where, const std::string& host) {
    if (host.empty()) return;
    if (Ip::parse(host)) return error(cat(where, ": expected a DNS name, not an IP address"));
    error_unless_empty(where, host.find('*') == std::string::npos
                                  ? dns_subdomain_problem(host)
                                  : wildcard_subdomain_problem(host));
  }

  // Warnings only: the Service may exist in the cluster, or come from another set of files.
  void check_backend(const Ingress& ingress, const std::string& where,
                     const IngressBackend& backend) {
    if (backend.service.empty()) return warn(cat(where, ": resource backends are not served"));
    const ObjectKey key{ingress.meta.key.ns, backend.service};
    const Service* service = lookup<Service>(key);
    if (service == nullptr) {
      return warn(cat(where, ".service: no Service ", key.to_string(), " is in these files"));
    }
    for (const ServicePort& port : service->ports) {
      if (backend.port_name.empty() ? port.port == backend.port_number
                                    : port.name == backend.port_name) {
        return;
      }
    }
    const std::string wanted =
        backend.port_name.empty() ? cat(backend.port_number) : backend.port_name;
    warn(cat(where, ".service.port: Service ", key.to_string(), " has no port ", wanted));
  }

  void check_tls(const Ingress& ingress, size_t i) {
    const IngressTls& tls = ingress.tls[i];
    for (const std::string& host : tls.hosts) check_host(cat("spec.tls[", i, "].hosts"), host);
    const ObjectKey key{ingress.meta.key.ns, tls.secret_name};
    if (!tls.secret_name.empty() && lookup<Secret>(key) == nullptr) {
      warn(cat("spec.tls[", i, "].secretName: no Secret ", key.to_string(), " is in these files"));
    }
  }

  void check(const Secret& secret) {
    if (secret.type != "kubernetes.io/tls") return;
    for (const char* name : {"tls.crt", "tls.key"}) {
      const auto found = secret.data.find(name);
      if (found == secret.data.end() || found->second.empty()) {
        error(cat("data[", name, "]: missing, as type kubernetes.io/tls needs it"));
      }
    }
  }

  static std::string_view trim_dot(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return name;
  }

  std::map<std::pair<Kind, ObjectKey>, const LocatedObject*> objects_;
  const LocatedObject* current_ = nullptr;
};

}  // namespace

std::vector<Problem> semantic_problems(const Manifests& manifests) {
  return std::move(Checks(manifests).problems);
}

}  // namespace fairlead::api
