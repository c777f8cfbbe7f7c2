#include "controlplane/auth.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kMasters = "system:masters";
constexpr std::string_view kAuthenticated = "system:authenticated";
constexpr std::string_view kOpenPaths[] = {"/version", "/healthz", "/livez", "/readyz"};

bool is_open(std::string_view path) {
  return std::ranges::any_of(kOpenPaths, [&](std::string_view open) {
    return path == open || (open != "/version" && path.starts_with(cat(open, "/")));
  });
}

// 'User "bob" cannot list resource "pods/status" in API group "" in the namespace "default"'
std::string complaint(const User& user, const Route& route) {
  std::string resource(route.resource->plural);
  if (!route.subresource.empty()) resource += cat("/", route.subresource);
  std::string where =
      route.ns.empty() ? "at the cluster scope" : cat("in the namespace \"", route.ns, "\"");
  return cat("User \"", user.name, "\" cannot ", route.verb, " resource \"", resource,
             "\" in API group \"", route.resource->group, "\" ", where);
}

}  // namespace

bool User::is_master() const { return std::ranges::find(groups, kMasters) != groups.end(); }

Outcome<User> authenticate(const net::HttpRequest& request, uid_t own_uid) {
  const net::Peer& peer = request.peer;
  if (peer.uid) {
    if (*peer.uid == 0 || *peer.uid == own_uid)
      return User{"system:admin", {std::string(kMasters), std::string(kAuthenticated)}};
    return User{cat("unix:", *peer.uid), {std::string(kAuthenticated)}};
  }
  if (!peer.certificate_user.empty()) {
    User user{peer.certificate_user, peer.certificate_groups};
    user.groups.emplace_back(kAuthenticated);
    return user;
  }
  if (request.headers.has("Authorization")) return std::unexpected(unauthorized());
  return User{"system:anonymous", {"system:unauthenticated"}};
}

Outcome<std::monostate> authorize(const User& user, const Route* route, std::string_view method,
                                  std::string_view path) {
  if (user.is_master()) return {};
  if (route != nullptr)
    return std::unexpected(forbidden(*route->resource, route->name, complaint(user, *route)));
  if ((method == "GET" || method == "HEAD") && is_open(path)) return {};
  return std::unexpected(ApiError{.code = 403,
                                  .reason = "Forbidden",
                                  .message = cat("forbidden: User \"", user.name, "\" cannot ",
                                                 to_lower(method), " path \"", path, "\"")});
}

}  // namespace fairlead::controlplane
