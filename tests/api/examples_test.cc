// The manifests that ship with fairlead have nothing wrong with them.
#include <gtest/gtest.h>

#include <filesystem>

#include "api/validate.h"

namespace fairlead::api {
namespace {

TEST(Examples, AreValidTogetherAndApart) {
  const std::string folder = std::string(FAIRLEAD_SOURCE_DIR) + "/examples";
  const Schema schema = *Schema::load();
  size_t objects = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    const Manifests manifests = validate_files({entry.path().string()}, schema);
    for (const Problem& problem : manifests.problems) {
      EXPECT_TRUE(problem.warning) << problem.to_string();
    }
    objects += manifests.objects.size() + manifests.other_kinds;
  }
  EXPECT_GT(objects, 0u);
  const Manifests all = validate_files({folder}, schema);
  for (const Problem& problem : all.problems) EXPECT_TRUE(problem.warning) << problem.to_string();
}

}  // namespace
}  // namespace fairlead::api
