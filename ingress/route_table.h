// Which backend answers a request: an immutable value, made by RouteBuilder, read by every worker.
//
// Matching is that of networking.k8s.io/v1 Ingress (types.go, KEP-1453). Where the sources
// disagree: Exact wins over Prefix for the same path, and of the Prefix paths `/foo` and `/foo/`
// the longer one wins. There is no fall-through from a host that has rules to a wildcard.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/objects.h"
#include "base/ip.h"
#include "ingress/certificate.h"
#include "ingress/host_map.h"

namespace fairlead::ingress {

// One port of one Service, resolved.
struct Backend {
  api::ObjectKey service;
  std::string port;                      // as the Ingress says it: a name or a number
  std::vector<SocketAddress> endpoints;  // usable ones, ordered
  std::string problem;                   // why there are none: "Service 'shop' not found"

  friend bool operator==(const Backend&, const Backend&) = default;
};

// Who is served: the labels of metrics and log lines.
struct RouteOwner {
  api::ObjectKey ingress;
  std::string service;
  uint32_t id = 0;  // dense, never reused: an index for per-worker tables

  friend bool operator==(const RouteOwner&, const RouteOwner&) = default;
};

struct Route {
  api::PathType type = api::PathType::prefix;  // ImplementationSpecific is Prefix here
  std::string path;                            // as written; "" for a default backend
  uint32_t backend = 0;                        // see RouteTable::backend()
  std::shared_ptr<const RouteOwner> owner;
  bool redirect_to_https = false;

  friend bool operator==(const Route& a, const Route& b) {
    return a.type == b.type && a.path == b.path && a.backend == b.backend &&
           a.redirect_to_https == b.redirect_to_https && *a.owner == *b.owner;
  }
};

// The paths of one host.
class HostRoutes {
 public:
  // `routes`: no two of the same type and path. `fallback` answers when none matches.
  HostRoutes(std::vector<Route> routes, std::optional<Route> fallback);
  HostRoutes(const HostRoutes&) = delete;
  HostRoutes& operator=(const HostRoutes&) = delete;

  // `path` is what the client sent, without the query. nullptr: neither a path nor a fallback.
  const Route* match(std::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }
  const Route* fallback() const { return fallback_ ? &*fallback_ : nullptr; }

 private:
  static constexpr uint32_t none = UINT32_MAX;
  struct Prefix {
    std::string_view path;  // without trailing slashes; "" is the root
    uint32_t route;
    uint32_t parent = none;  // the longest other prefix that contains this one
  };
  struct Exact {
    std::string_view path;
    uint32_t route;
  };

  std::vector<Route> routes_;
  std::optional<Route> fallback_;
  std::vector<Exact> exact_;      // sorted bytewise
  std::vector<Prefix> prefixes_;  // sorted element by element
};

// Dense ids to backends, with structure sharing: a change of one copies one block.
class BackendMap {
 public:
  const Backend& at(uint32_t id) const { return *(*blocks_[id / block_size])[id % block_size]; }
  void set(uint32_t id, std::shared_ptr<const Backend> backend);

 private:
  static constexpr size_t block_size = 128;
  using Block = std::array<std::shared_ptr<const Backend>, block_size>;
  std::vector<std::shared_ptr<const Block>> blocks_;
};

struct RouteTable {
  HostMap<HostRoutes> hosts;             // "shop.example.com", "*.example.com", "" = every host
  std::optional<Route> default_backend;  // of an Ingress without rules
  HostMap<Certificate> certificates;     // by SNI name, "*.example.com" included
  BackendMap backends;
  size_t route_count = 0;

  // `host`: lower case, no port, no trailing dot. nullptr: 404.
  const Route* match(std::string_view host, std::string_view path) const;
  // nullptr: the default certificate.
  const Certificate* certificate(std::string_view server_name) const;
  const Backend& backend(const Route& route) const { return backends.at(route.backend); }

  // Sorted text, one line per route, default and certificate; equal tables give equal text.
  std::string describe() const;
};

// What a request says, as match() takes it: "Shop.Example.com.:8080" -> "shop.example.com", into
// `buffer`; "/a?b" -> "/a".
std::string_view route_host(std::string_view authority, std::span<char, 256> buffer);
std::string_view route_path(std::string_view target);

}  // namespace fairlead::ingress
