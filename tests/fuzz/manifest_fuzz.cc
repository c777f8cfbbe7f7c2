// A file of manifests, as `fairlead validate` and the folder feed read it: every problem has the
// file, and lines are of the text.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "api/validate.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  static const api::Schema schema = *api::Schema::load();
  const std::string_view text(reinterpret_cast<const char*>(data), std::min<size_t>(size, 16384));
  const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
  api::Manifests manifests;
  api::read_manifests(text, "f", schema, manifests);
  for (const auto& object : manifests.objects) CHECK(object.line >= 1 && object.line <= lines);
  auto problems = manifests.problems;
  for (auto& more : api::semantic_problems(manifests)) problems.push_back(std::move(more));
  for (const auto& problem : problems) {
    CHECK(problem.file == "f");
    CHECK(problem.line >= 0 && problem.line <= lines);
    CHECK(!problem.message.empty());
    CHECK(problem.to_string().starts_with("f:"));
  }
  return 0;
}
