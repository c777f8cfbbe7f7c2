// Plain (unquoted) YAML scalars to JSON. Internal to yaml.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/json.h"

namespace fairlead::api {

// YAML 1.1 as kubectl resolves it (sigs.k8s.io/yaml): null, booleans (also yes, no, on, off, y,
// n), integers (decimal, 0x, 0o, 0b, leading 0 octal, '_' ignored), floats; else a string.
// Nothing for .inf and .nan, which JSON cannot say.
std::optional<json::value> resolve_plain(std::string_view text);

}  // namespace fairlead::api
