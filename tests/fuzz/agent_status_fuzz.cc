// The answer of an agent to `fairlead status`: read, shown and written again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "agent/status.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;         // NOLINT: a fuzz target is one file
  using namespace fairlead::agent;  // NOLINT
  const auto value = parse_json({reinterpret_cast<const char*>(data), size});
  if (!value) return 0;
  const auto report = from_json(*value);
  if (!report) {
    CHECK(!report.error().message.empty());
    return 0;
  }
  const std::string text = json::serialize(to_json(*report));
  const auto again = from_json(*parse_json(text));
  CHECK(again && to_table(*again) == to_table(*report));
  CHECK(json::serialize(to_json(*again)) == text);
  return 0;
}
