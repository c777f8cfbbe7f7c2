// A document against a type. Internal to Schema.
#pragma once

#include <vector>

#include "api/schema.h"

namespace fairlead::api {

inline constexpr size_t max_field_problems = 100;

std::vector<FieldProblem> check_value(const Schema& schema, const TypeSchema& type,
                                      const json::value& document, bool strict);

}  // namespace fairlead::api
