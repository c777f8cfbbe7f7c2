#include "ingress/route_table.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::ingress {
namespace {

std::string_view without_trailing_slashes(std::string_view path) {
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path;
}

// `/` sorts before every other byte, so that everything below a prefix follows it directly.
unsigned rank(char c) { return c == '/' ? 0 : static_cast<unsigned char>(c) + 1U; }

bool before(std::string_view a, std::string_view b) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = 0; i < common; ++i) {
    if (a[i] != b[i]) return rank(a[i]) < rank(b[i]);
  }
  return a.size() < b.size();
}

// Element-wise: "/aaa/bb" does not contain "/aaa/bbb".
bool contains(std::string_view prefix, std::string_view path) {
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

std::string describe_route(std::string_view host, const Route& route, const RouteTable& table) {
  const Backend& backend = table.backend(route);
  std::string line =
      cat(host.empty() ? "*" : host, ' ', route.type == api::PathType::exact ? "Exact" : "Prefix",
          ' ', route.path, " -> ", backend.service.to_string(), ':', backend.port, " (",
          route.owner->ingress.to_string(), ')');
  if (route.redirect_to_https) line += " https";
  for (const SocketAddress& endpoint : backend.endpoints) line += cat(' ', endpoint.to_string());
  if (!backend.problem.empty()) line += cat(" ! ", backend.problem);
  return line;
}

}  // namespace

HostRoutes::HostRoutes(std::vector<Route> routes, std::optional<Route> fallback)
    : routes_(std::move(routes)), fallback_(std::move(fallback)) {
  for (uint32_t i = 0; i < routes_.size(); ++i) {
    const Route& route = routes_[i];
    if (route.type == api::PathType::exact) {
      exact_.push_back({route.path, i});
    } else {
      prefixes_.push_back({without_trailing_slashes(route.path), i});
    }
  }
  std::sort(exact_.begin(), exact_.end(),
            [](const Exact& a, const Exact& b) { return a.path < b.path; });
  std::sort(prefixes_.begin(), prefixes_.end(), [this](const Prefix& a, const Prefix& b) {
    if (a.path != b.path) return before(a.path, b.path);
    return routes_[a.route].path.size() > routes_[b.route].path.size();
  });
  const auto same = [](const Prefix& a, const Prefix& b) { return a.path == b.path; };
  prefixes_.erase(std::unique(prefixes_.begin(), prefixes_.end(), same), prefixes_.end());
  for (uint32_t i = 1; i < prefixes_.size(); ++i) {
    uint32_t parent = i - 1;
    while (parent != none && !contains(prefixes_[parent].path, prefixes_[i].path)) {
      parent = prefixes_[parent].parent;
    }
    prefixes_[i].parent = parent;
  }
}

const Route* HostRoutes::match(std::string_view path) const {
  const auto exact =
      std::lower_bound(exact_.begin(), exact_.end(), path,
                       [](const Exact& entry, std::string_view p) { return entry.path < p; });
  if (exact != exact_.end() && exact->path == path) return &routes_[exact->route];

  const std::string_view bare = without_trailing_slashes(path);
  const auto after = std::upper_bound(
      prefixes_.begin(), prefixes_.end(), bare,
      [](std::string_view p, const Prefix& entry) { return before(p, entry.path); });
  uint32_t candidate =
      after == prefixes_.begin() ? none : static_cast<uint32_t>(after - prefixes_.begin() - 1);
  while (candidate != none && !contains(prefixes_[candidate].path, bare)) {
    candidate = prefixes_[candidate].parent;
  }
  if (candidate != none) return &routes_[prefixes_[candidate].route];
  return fallback();
}

void BackendMap::set(uint32_t id, std::shared_ptr<const Backend> backend) {
  const size_t index = id / block_size;
  if (index >= blocks_.size()) blocks_.resize(index + 1);
  auto block = blocks_[index] == nullptr ? std::make_shared<Block>()
                                         : std::make_shared<Block>(*blocks_[index]);
  (*block)[id % block_size] = std::move(backend);
  blocks_[index] = std::move(block);
}

const Route* RouteTable::match(std::string_view host, std::string_view path) const {
  const HostRoutes* routes = hosts.find(host);
  if (routes == nullptr) {
    if (const size_t dot = host.find('.'); dot != std::string_view::npos && dot > 0) {
      char wildcard[256];
      const std::string_view rest = host.substr(dot);
      if (rest.size() < sizeof wildcard) {
        wildcard[0] = '*';
        rest.copy(wildcard + 1, rest.size());
        routes = hosts.find({wildcard, rest.size() + 1});
      }
    }
  }
  if (routes == nullptr) routes = hosts.find("");
  const Route* route = routes == nullptr ? nullptr : routes->match(path);
  if (route == nullptr && default_backend) route = &*default_backend;
  return route;
}

const Certificate* RouteTable::certificate(std::string_view server_name) const {
  if (server_name.empty()) return nullptr;
  const std::string name = to_lower(server_name);
  if (const Certificate* found = certificates.find(name)) return found;
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0) return nullptr;
  return certificates.find("*" + name.substr(dot));
}

std::string RouteTable::describe() const {
  std::vector<std::string> lines;
  hosts.each([&](const std::string& host, const HostRoutes& routes) {
    for (const Route& route : routes.routes()) lines.push_back(describe_route(host, route, *this));
    if (const Route* route = routes.fallback()) {
      lines.push_back(describe_route(host, *route, *this) + " default");
    }
    if (routes.routes().empty() && routes.fallback() == nullptr) {
      lines.push_back(cat(host.empty() ? "*" : host, " nothing"));
    }
  });
  if (default_backend) lines.push_back(describe_route("default", *default_backend, *this));
  certificates.each([&](const std::string& name, const Certificate& certificate) {
    lines.push_back(cat("certificate ", name, " -> ", certificate.source()));
  });
  std::sort(lines.begin(), lines.end());
  return join(lines, "\n");
}

std::string_view route_host(std::string_view authority, std::span<char, 256> buffer) {
  if (!authority.starts_with('[')) authority = authority.substr(0, authority.find(':'));
  if (authority.ends_with('.')) authority.remove_suffix(1);
  const size_t size = std::min(authority.size(), buffer.size());
  for (size_t i = 0; i < size; ++i) {
    const char c = authority[i];
    buffer[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return {buffer.data(), size};
}

std::string_view route_path(std::string_view target) {
  return target == "*" ? "/" : target.substr(0, target.find('?'));
}

}  // namespace fairlead::ingress
