// What both OpenAPI versions are made of. Internal to openapi*.cc.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "api/json.h"
#include "controlplane/objects/openapi.h"

namespace fairlead::controlplane {

// The definitions that the kinds need, with all that those refer to, by name: as the table has
// them (references to "#/definitions/...") plus descriptions.
std::map<std::string, json::object> openapi_definitions(const api::Schema& schema,
                                                        std::span<const OpenApiKind> kinds);

// The paths of the kinds with their operations. `v3` decides where a parameter's type stands and
// where bodies are described.
json::object openapi_paths(std::span<const OpenApiKind> kinds, bool v3);

// Our own words on a definition ("io.k8s.api.core.v1.Service") or on a field of it ("...Service",
// "spec"); "" when there are none.
std::string_view openapi_description(std::string_view definition, std::string_view field = {});

}  // namespace fairlead::controlplane
