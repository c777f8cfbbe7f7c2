// YAML text: every value of a document that parses has a line of the text, found by its path.
#include <algorithm>
#include <cstdint>

#include "api/yaml.h"
#include "base/check.h"
#include "base/text.h"

namespace {

using fairlead::cat;

void walk(const fairlead::api::YamlDocument& document, const fairlead::json::value& value,
          const std::string& path, int last_line) {
  const int line = document.line_of(path);
  CHECK(line >= 1 && line <= last_line);
  if (path.size() > 200) return;
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      walk(document, member, cat(path, '[', std::string_view(key.data(), key.size()), ']'),
           last_line);
    }
  }
  if (const auto* array = value.if_array()) {
    for (size_t i = 0; i < array->size(); ++i) {
      walk(document, (*array)[i], cat(path, '[', i, ']'), last_line);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const fairlead::api::YamlLimits limits{.max_bytes = 64 * 1024, .max_nodes = 2000};
  const auto documents = fairlead::api::parse_yaml(text, "f", limits);
  if (!documents) {
    CHECK(documents.error().message.starts_with("f:"));
    return 0;
  }
  // '\r' alone also ends a line in YAML.
  const auto lines =
      std::count(text.begin(), text.end(), '\n') + std::count(text.begin(), text.end(), '\r') + 2;
  for (const auto& document : *documents) {
    walk(document, document.value, "", static_cast<int>(lines));
  }
  return 0;
}
