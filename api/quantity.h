// Amounts of a resource as Kubernetes writes them: "100m", "1.5", "2Ki", "3e2".
#pragma once

#include <optional>
#include <string_view>

namespace fairlead::api {

// [+-]digits[.digits][suffix] (apimachinery pkg/api/resource/quantity.go); nothing for other text.
// Near enough for proportions: a double holds 15 digits.
std::optional<double> parse_quantity(std::string_view text);

}  // namespace fairlead::api
