#include "controlplane/route.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

std::vector<std::string> segments(std::string_view path) {
  std::vector<std::string> out;
  for (std::string_view part : split(path, '/'))
    if (!part.empty()) out.push_back(net::percent_decode(part));
  return out;
}

std::string_view verb_of(std::string_view method, bool collection, bool watch) {
  if (method == "GET" || method == "HEAD") {
    if (watch) return "watch";
    return collection ? "list" : "get";
  }
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return collection ? "deletecollection" : "delete";
  return {};
}

Outcome<std::monostate> check_verb(const Route& route, std::string_view method) {
  std::string_view verb = route.verb;
  bool known = false;
  if (!route.subresource.empty()) {
    const Subresource* sub = route.resource->subresource(route.subresource);
    if (sub == nullptr) return std::unexpected(unknown_path());
    known = std::ranges::find(sub->verbs, verb) != sub->verbs.end();
  } else {
    known = route.resource->allows(verb);
    bool on_one = verb == "get" || verb == "update" || verb == "patch" || verb == "delete";
    if (route.name.empty() ? on_one : verb == "create") known = false;
  }
  if (route.old_version && verb != "get" && verb != "list" && verb != "watch") known = false;
  if (!known || verb.empty()) return std::unexpected(method_not_allowed(method));
  return {};
}

// What follows the group version: [watch/] [namespaces/NS/] RESOURCE [/NAME [/SUBRESOURCE]].
Outcome<Route> parse_rest(const ResourceTable& table, std::string_view group,
                          std::string_view version, std::span<const std::string> rest) {
  Route route;
  // namespaces/NS is the Namespace itself, also with one of its own subresources behind it.
  if (rest.size() >= 3 && rest[0] == "namespaces" &&
      table.find(group, version, rest[2]) != nullptr) {
    route.ns = rest[1];
    rest = rest.subspan(2);
  }
  route.resource = table.find(group, version, rest[0]);
  if (route.resource == nullptr || rest.size() > 3 ||
      (!route.ns.empty() && !route.resource->namespaced))
    return std::unexpected(unknown_path());
  route.old_version = route.resource->version != version;
  if (rest.size() > 1) route.name = rest[1];
  if (rest.size() > 2) route.subresource = rest[2];
  return route;
}

}  // namespace

Query::Query(std::string_view text) : pairs_(net::parse_query(text)) {}

std::string_view Query::get(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return {};
}

bool Query::has(std::string_view name) const {
  return std::ranges::any_of(pairs_, [&](const auto& pair) { return pair.first == name; });
}

bool Query::flag(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value.empty() || value == "1" || equals_ignore_case(value, "true");
  return false;
}

Outcome<std::optional<Route>> parse_route(const ResourceTable& table, std::string_view method,
                                          std::string_view path, const Query& query) {
  std::vector<std::string> parts = segments(path);
  bool core = parts.size() > 2 && parts[0] == "api";
  bool named = parts.size() > 3 && parts[0] == "apis";
  if (!core && !named) return std::nullopt;
  std::string group = named ? parts[1] : "";
  std::string version = named ? parts[2] : parts[1];
  std::span<const std::string> rest(parts);
  rest = rest.subspan(named ? 3 : 2);
  bool watch = query.flag("watch");
  if (rest[0] == "watch" && rest.size() > 1) {  // the old spelling, /api/v1/watch/pods
    watch = true;
    rest = rest.subspan(1);
  }
  Outcome<Route> route = parse_rest(table, group, version, rest);
  if (!route) return std::unexpected(route.error());
  route->verb = verb_of(method, route->name.empty(), watch);
  if (auto checked = check_verb(*route, method); !checked) return std::unexpected(checked.error());
  if (route->resource->namespaced && route->ns.empty() &&
      (!route->name.empty() || route->verb == "create" || route->verb == "deletecollection"))
    return std::unexpected(bad_request(
        cat("a namespace is needed in the path: .../namespaces/NS/", route->resource->plural)));
  return std::optional<Route>(*std::move(route));
}

}  // namespace fairlead::controlplane
