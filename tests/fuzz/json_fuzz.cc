// JSON text: what parses must come back equal after being written.
#include <cstdint>

#include "api/json.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto duplicates = fairlead::duplicate_fields(text);
  size_t offset = 0;
  const auto value = fairlead::parse_json(text, {}, &offset);
  if (!value) {
    CHECK(offset <= size);
    return 0;
  }
  const auto again = fairlead::parse_json(boost::json::serialize(*value));
  CHECK(again);
  CHECK(again->kind() == value->kind());
  return 0;
}
