#include "cli/flags.h"

#include <algorithm>

namespace fairlead::cli {

CheckFlag one_of(std::vector<std::string> values) {
  return [values = std::move(values)](const std::string& text) -> std::string {
    if (std::find(values.begin(), values.end(), text) != values.end()) return {};
    const std::string meant = agent::nearest_name(text, {values.begin(), values.end()});
    return cat("'", text, "' is not one of ", join(values, ", "), meant);
  };
}

CheckFlag not_empty(std::string expected) {
  return [expected = std::move(expected)](const std::string& text) -> std::string {
    return text.empty() ? cat("expected ", expected) : "";
  };
}

}  // namespace fairlead::cli
