// The three patch formats, case by case: tests/controlplane/patches/*.txt.
#include <gtest/gtest.h>

#include "controlplane/objects/json_values.h"
#include "controlplane/objects/patch.h"
#include "tests/text_cases.h"

namespace fairlead::controlplane {
namespace {

const api::Schema& schema() {
  static const api::Schema loaded = *api::Schema::load();
  return loaded;
}

void run(PatchType type, const TextCase& test) {
  const std::string wanted_kind = test.has("kind") ? test.text("kind") : "v1 Pod";
  const auto kind = split(wanted_kind, ' ');
  const json::value live = test.json("live"), patch = test.json("patch");
  ASSERT_FALSE(live.is_string() && patch.is_string()) << live << patch;
  const auto sane = check_patch(type, patch);
  if (test.has("malformed")) {
    ASSERT_FALSE(sane.has_value());
    EXPECT_THAT(sane.error().message, testing::HasSubstr(test.text("malformed")));
    EXPECT_FALSE(apply_patch(schema(), type, live, patch, kind[0], kind[1]).has_value());
    return;
  }
  ASSERT_TRUE(sane.has_value()) << sane.error().message;
  const auto got = apply_patch(schema(), type, live, patch, kind[0], kind[1]);
  EXPECT_EQ(live, test.json("live")) << "the live object was changed";
  if (test.has("error")) {
    ASSERT_FALSE(got.has_value()) << json::serialize(*got);
    EXPECT_THAT(got.error().message, testing::HasSubstr(test.text("error")));
    return;
  }
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_TRUE(same_value(*got, test.json("want")))
      << "got  " << json::serialize(*got) << "\nwant " << json::serialize(test.json("want"));
}

class JsonPatch : public testing::TestWithParam<TextCase> {};
TEST_P(JsonPatch, Case) { run(PatchType::json, GetParam()); }
INSTANTIATE_TEST_SUITE_P(Table, JsonPatch,
                         testing::ValuesIn(read_cases("controlplane/patches/json_patch.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class MergePatch : public testing::TestWithParam<TextCase> {};
TEST_P(MergePatch, Case) { run(PatchType::merge, GetParam()); }
INSTANTIATE_TEST_SUITE_P(Table, MergePatch,
                         testing::ValuesIn(read_cases("controlplane/patches/merge_patch.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class StrategicPatch : public testing::TestWithParam<TextCase> {};
TEST_P(StrategicPatch, Case) { run(PatchType::strategic, GetParam()); }
INSTANTIATE_TEST_SUITE_P(Table, StrategicPatch,
                         testing::ValuesIn(read_cases("controlplane/patches/strategic_patch.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

TEST(PatchLimits, TooManyOperationsAreRefused) {
  json::array operations(max_patch_operations,
                         json::object{{"op", "add"}, {"path", "/a"}, {"value", 1}});
  EXPECT_TRUE(apply_json_patch(json::object(), operations).has_value());
  operations.push_back(operations[0]);
  const auto refused = check_patch(PatchType::json, operations);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("this one has 10001"));
}

TEST(PatchLimits, DoublingCopiesAreRefused) {
  json::array operations;
  for (int i = 0; i < 40; ++i)
    operations.push_back(json::object{{"op", "copy"}, {"from", "/a"}, {"path", "/a/-"}});
  const auto refused = apply_json_patch(json::object{{"a", {1, 2, 3}}}, operations);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("copy operations add more than"));
}

TEST(PatchLimits, NestingEndsAtTheLimitOfJsonText) {
  json::array operations;
  std::string path;
  for (size_t i = 0; i < max_json_depth + 1; ++i) {
    path += "/a";
    operations.push_back(json::object{{"op", "add"}, {"path", path}, {"value", json::object()}});
  }
  const auto refused = apply_json_patch(json::object(), operations);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("nested deeper than 64"));
}

TEST(PatchLimits, LongListsMergeInLinearTime) {
  json::array live, change;
  for (int i = 0; i < 20'000; ++i) {
    live.push_back(json::object{{"name", cat("c", i)}});
    change.push_back(json::object{{"name", cat("c", 19'999 - i)}, {"tty", true}});
  }
  const auto merged =
      apply_patch(schema(), PatchType::strategic, json::object{{"spec", {{"containers", live}}}},
                  json::object{{"spec", {{"containers", change}}}}, "v1", "Pod");
  ASSERT_TRUE(merged.has_value());
  EXPECT_EQ(find(*merged, "spec", "containers")->get_array().size(), 20'000u);
}

TEST(PatchContentType, KnownMediaTypes) {
  EXPECT_EQ(parse_patch_type("application/json-patch+json"), PatchType::json);
  EXPECT_EQ(parse_patch_type("Application/Merge-Patch+JSON; charset=utf-8"), PatchType::merge);
  EXPECT_EQ(parse_patch_type("application/strategic-merge-patch+json"), PatchType::strategic);
  EXPECT_EQ(parse_patch_type("application/apply-patch+yaml"), std::nullopt);
  EXPECT_EQ(parse_patch_type(""), std::nullopt);
}

}  // namespace
}  // namespace fairlead::controlplane
