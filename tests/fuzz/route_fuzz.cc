// Paths and hosts of any bytes: HostRoutes finds what a plain search over all routes finds.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/text.h"
#include "ingress/route_table.h"

namespace {

using namespace fairlead;           // NOLINT: a fuzz target is one file
using namespace fairlead::ingress;  // NOLINT

std::string_view bare(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

// Exact first; then the Prefix with most bytes that contains the path element by element.
const Route* plain_search(const HostRoutes& routes, std::string_view path) {
  const Route* best = nullptr;
  for (const Route& route : routes.routes()) {
    if (route.type == api::PathType::exact) {
      if (route.path == path) return &route;
      continue;
    }
    const std::string_view prefix = bare(route.path), asked = bare(path);
    const bool contains =
        asked.starts_with(prefix) && (asked.size() == prefix.size() || asked[prefix.size()] == '/');
    if (!contains) continue;
    const auto rank = [](const Route& each) {
      return std::pair(bare(each.path).size(), each.path.size());
    };
    if (best == nullptr || rank(route) > rank(*best)) best = &route;
  }
  return best != nullptr ? best : routes.fallback();
}

}  // namespace

// Lines: "=/path" an Exact route, "/path" a Prefix route, anything else a path to ask for.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto owner = std::make_shared<const RouteOwner>();
  std::vector<Route> list;
  std::vector<std::string_view> asked;
  for (const std::string_view line : split(text, '\n')) {
    const bool exact = line.starts_with("=/");
    const std::string path(exact ? line.substr(1) : line);
    const auto type = exact ? api::PathType::exact : api::PathType::prefix;
    const auto same = [&](const Route& r) { return r.type == type && r.path == path; };
    if (path.starts_with('/') && list.size() < 64 &&
        std::find_if(list.begin(), list.end(), same) == list.end()) {
      list.push_back({.type = type, .path = path, .owner = owner});
    }
    if (asked.size() < 64) asked.push_back(line.substr(line.starts_with('?') ? 1 : 0));
    if (asked.size() < 64) asked.push_back(line.substr(exact ? 1 : 0));
  }
  RouteTable table;
  const auto routes =
      std::make_shared<HostRoutes>(std::move(list), Route{.path = "fallback", .owner = owner});
  table.hosts.set("a.test", routes);
  for (const std::string_view path : asked) {
    CHECK(table.match("a.test", path) == plain_search(*routes, path));
    CHECK(table.match(path, "/") == nullptr || path == "a.test");
  }
  return 0;
}
