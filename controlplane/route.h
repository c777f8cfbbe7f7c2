// A request line as what it asks of the API: which resource, which verb, which options.
// Source: apiserver pkg/endpoints/request/requestinfo.go.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/api_error.h"
#include "controlplane/resource.h"

namespace fairlead::controlplane {

// Query parameters; the first of a name counts.
class Query {
 public:
  explicit Query(std::string_view text);
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  bool flag(std::string_view name) const;  // "true", "1" or a bare name

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

struct Route {
  const Resource* resource = nullptr;
  std::string ns;            // "" = every namespace, or a cluster-scoped resource
  std::string name;          // "" = the collection
  std::string subresource;   // "status"
  bool old_version = false;  // asked for by Resource::old_version: to be read only
  std::string_view verb;     // get, list, watch, create, update, patch, delete, deletecollection
};

// nullopt: the path is not below a served group version (discovery, health, ... or unknown).
// Errors: 404 for a resource that is not served, 405 for a method that it does not have.
Outcome<std::optional<Route>> parse_route(const ResourceTable& table, std::string_view method,
                                          std::string_view path, const Query& query);

}  // namespace fairlead::controlplane
