#include "ingress/ingress_claims.h"

#include "base/text.h"

namespace fairlead::ingress {
namespace {

constexpr std::string_view nginx_prefix = "nginx.ingress.kubernetes.io/";

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
    return false;
  }
  return label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == label.npos;
}

// A DNS name, or "*." and one. Nothing: it is neither.
std::optional<std::string> read_host(std::string_view text) {
  std::string host = to_lower(text);
  if (host.empty()) return host;
  std::string_view rest = host;
  if (rest.starts_with("*.")) rest.remove_prefix(2);
  if (host.size() > 253 || Ip::parse(host)) return std::nullopt;
  for (const std::string_view label : split(rest, '.')) {
    if (!is_label(label)) return std::nullopt;
  }
  return host;
}

BackendKey key_of(const api::Ingress& ingress, const api::IngressBackend& backend) {
  std::string port = backend.port_name;
  if (port.empty()) port = cat(backend.port_number);
  return {{ingress.meta.key.ns, backend.service}, std::move(port)};
}

void read_paths(const api::Ingress& ingress, const api::IngressRule& rule, const std::string& field,
                std::vector<PathClaim>& into, std::vector<std::string>& problems) {
  for (size_t i = 0; i < rule.paths.size(); ++i) {
    const api::IngressPath& path = rule.paths[i];
    PathClaim claim{
        .type = path.type == api::PathType::exact ? api::PathType::exact : api::PathType::prefix,
        .path = path.path.empty() ? "/" : path.path,
        .backend = key_of(ingress, path.backend),
        .field = cat(field, ".http.paths[", i, ']')};
    if (claim.path.front() != '/') {
      problems.push_back(
          cat(claim.field, ".path: '", claim.path, "' does not begin with '/': ignored"));
      continue;
    }
    into.push_back(std::move(claim));
  }
}

void read_rules(const api::Ingress& ingress, IngressClaims& claims) {
  for (size_t i = 0; i < ingress.rules.size(); ++i) {
    const api::IngressRule& rule = ingress.rules[i];
    const std::string field = cat("spec.rules[", i, ']');
    const auto host = read_host(rule.host);
    if (!host) {
      claims.problems.push_back(cat(field, ".host: '", rule.host,
                                    "' is neither a DNS name nor '*.' and a DNS name: ignored"));
      continue;
    }
    read_paths(ingress, rule, field, claims.hosts[*host], claims.problems);
    if (!rule.has_http && !claims.default_backend) {
      claims.problems.push_back(
          cat(field, ": it has no paths and the Ingress no defaultBackend: answering 404"));
    }
  }
}

void read_tls(const api::Ingress& ingress, IngressClaims& claims) {
  for (size_t i = 0; i < ingress.tls.size(); ++i) {
    TlsRequest request{.secret = ingress.tls[i].secret_name, .field = cat("spec.tls[", i, ']')};
    for (size_t k = 0; k < ingress.tls[i].hosts.size(); ++k) {
      auto host = read_host(ingress.tls[i].hosts[k]);
      if (host && !host->empty()) {
        request.hosts.push_back(*std::move(host));
      } else {
        claims.problems.push_back(cat(request.field, ".hosts[", k, "]: '", ingress.tls[i].hosts[k],
                                      "' is not a DNS name: ignored"));
      }
    }
    // Only broken hosts: the certificate's own names were not what was asked for.
    if (request.hosts.empty() && !ingress.tls[i].hosts.empty()) continue;
    if (!request.secret.empty()) claims.tls.push_back(std::move(request));
  }
}

void read_annotations(const api::Ingress& ingress, IngressClaims& claims) {
  for (const auto& [name, value] : ingress.meta.annotations) {
    const bool yes = value == "true";
    if (name == "fairlead.io/ssl-redirect" ||
        name == "nginx.ingress.kubernetes.io/force-ssl-redirect") {
      claims.redirect_to_https |= yes;
    } else if (name == "nginx.ingress.kubernetes.io/ssl-redirect") {
      claims.redirect_to_https |= yes && !ingress.tls.empty();
    } else if (name.starts_with(nginx_prefix) || name.starts_with("fairlead.io/")) {
      claims.problems.push_back(cat("metadata.annotations[", name, "]: not supported: ignored"));
    }
  }
}

}  // namespace

IngressClaims read_claims(const api::Ingress& ingress) {
  IngressClaims claims;
  if (ingress.default_backend) claims.default_backend = key_of(ingress, *ingress.default_backend);
  claims.catch_all = ingress.rules.empty() && claims.default_backend;
  if (ingress.rules.empty() && !claims.default_backend) {
    claims.problems.emplace_back("spec: it has neither rules nor a defaultBackend: ignored");
  }
  read_annotations(ingress, claims);
  read_rules(ingress, claims);
  read_tls(ingress, claims);
  return claims;
}

}  // namespace fairlead::ingress
