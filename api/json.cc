#include "api/json.h"

#include "base/text.h"

namespace fairlead {

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
  return parser.release();
}

const json::value* find(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains({key.data(), key.size()});
}

}  // namespace fairlead
