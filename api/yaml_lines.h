// The lines of JSON text, and paths looked up in a LineTree. Internal to yaml.cc.
#pragma once

#include <string_view>

#include "api/yaml.h"

namespace fairlead::api {

LineTree json_lines(std::string_view valid_json);

// The line of the first object of the tree that has more members written than the value holds
// (a duplicate key), or 0.
int duplicate_line(const json::value& value, const LineTree& lines);

int line_at(std::string_view text, size_t offset);  // 1-based

}  // namespace fairlead::api
