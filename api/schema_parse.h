// JSON schema text to TypeSchema. Internal to Schema.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/schema.h"

namespace fairlead::api {

// One definition of the table, by its name (some names have a meaning of their own: Quantity).
TypeSchema parse_definition(std::string_view name, const json::value& schema);

// The members of the table's top-level object as (name, text of the value), without parsing the
// values. Empty when the text is not such an object.
std::vector<std::pair<std::string_view, std::string_view>> top_level_members(std::string_view text);

}  // namespace fairlead::api
