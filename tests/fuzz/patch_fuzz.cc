// First line: "json", "merge" or "strategic"; second: the live object; the rest: the patch.
#include <cstdlib>

#include "base/text.h"
#include "controlplane/objects/patch.h"

using namespace fairlead;
using namespace fairlead::controlplane;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const api::Schema schema = *api::Schema::load();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t first = text.find('\n');
  if (first == std::string_view::npos) return 0;
  const size_t second = text.find('\n', first + 1);
  if (second == std::string_view::npos) return 0;
  const std::string_view name = text.substr(0, first);
  const PatchType type = name == "json"    ? PatchType::json
                         : name == "merge" ? PatchType::merge
                                           : PatchType::strategic;
  const auto live = parse_json(text.substr(first + 1, second - first - 1));
  const auto patch = parse_json(text.substr(second + 1));
  if (!live || !patch) return 0;
  const auto result = apply_patch(schema, type, *live, *patch, "v1", "Pod");
  // What was applied is a document that can be sent and read again.
  if (result && !parse_json(json::serialize(*result))) std::abort();
  return 0;
}
