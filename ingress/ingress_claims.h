// What one Ingress asks for, checked and put into the form that a RouteTable needs. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/objects.h"

namespace fairlead::ingress {

struct BackendKey {
  api::ObjectKey service;  // an empty name: a resource backend, which is not served
  std::string port;        // name or number
  friend auto operator<=>(const BackendKey&, const BackendKey&) = default;
};

struct PathClaim {
  api::PathType type = api::PathType::prefix;  // exact or prefix
  std::string path;
  BackendKey backend;
  std::string field;  // "spec.rules[0].http.paths[1]"
  friend bool operator==(const PathClaim&, const PathClaim&) = default;
};

struct TlsRequest {
  std::vector<std::string> hosts;  // lower case; empty: the names in the certificate
  std::string secret;              // in the Ingress' namespace
  std::string field;               // "spec.tls[0]"
  friend bool operator==(const TlsRequest&, const TlsRequest&) = default;
};

struct IngressClaims {
  std::map<std::string, std::vector<PathClaim>> hosts;  // lower case; "" is every host
  std::optional<BackendKey> default_backend;
  bool catch_all = false;  // no rules: the default backend is for the whole ingress
  bool redirect_to_https = false;
  std::vector<TlsRequest> tls;
  std::vector<std::string> problems;  // "spec.rules[0].host: ...", without the object's name
};

// A wrong rule, path, host or annotation is left out and named in `problems`; the rest counts.
IngressClaims read_claims(const api::Ingress& ingress);

}  // namespace fairlead::ingress
