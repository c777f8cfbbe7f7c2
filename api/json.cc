#include "api/json.h"

#include <cmath>

#include "base/text.h"

namespace fairlead {
namespace {

// Boost.JSON reads 1e999 as infinity, which has no JSON form.
bool is_finite(const json::value& value) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* array = value.if_array()) return std::ranges::all_of(*array, is_finite);
  const json::object* object = value.if_object();
  return object == nullptr ||
         std::ranges::all_of(*object, [](const auto& member) { return is_finite(member.value()); });
}

}  // namespace

// The scratch buffer holds the parser's own stack for all but deep documents.
Result<json::value> parse_json(std::string_view text, json::storage_ptr storage,
                               size_t* error_offset) {
  json::parse_options options;
  options.max_depth = max_json_depth;
  unsigned char scratch[2048];
  json::parser parser({}, options, scratch, sizeof scratch);
  parser.reset(std::move(storage));
  json::error_code error;
  const size_t consumed = parser.write(text.data(), text.size(), error);
  if (error && error_offset != nullptr) *error_offset = consumed;
  if (error) return fail(cat("invalid JSON at byte ", consumed, ": ", error.message()));
  json::value value = parser.release();
  if (!is_finite(value)) return fail("invalid JSON: a number is out of range");
  return value;
}

const json::value* find(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains({key.data(), key.size()});
}

}  // namespace fairlead
