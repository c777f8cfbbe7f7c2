#include "api/json.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(Json, FindsMembersByPathWithoutMindingWrongTypes) {
  const auto value = parse_json(R"({"metadata": {"name": "web", "n": 1}, "list": [1]})");
  ASSERT_TRUE(value);
  EXPECT_EQ(find_string(*value, "metadata", "name"), "web");
  EXPECT_EQ(find_string(*value, "metadata", "n"), "");
  EXPECT_EQ(find_string(*value, "metadata", "absent"), "");
  EXPECT_EQ(find(*value, "list", "x"), nullptr);
  EXPECT_EQ(find(*value, "metadata", "name", "deeper"), nullptr);
  EXPECT_EQ(*find(*value, "metadata", "n"), json::value(1));
}

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, AllowsSixtyFourLevelsAndNoMore) {
  EXPECT_TRUE(parse_json(nested(64)));
  EXPECT_FALSE(parse_json(nested(65)));
}

TEST(Json, ErrorsSayTheByte) {
  struct Case {
    std::string_view text;
    std::string_view where;
  };
  const Case cases[] = {
      {"", "byte 0"},
      {"{", "byte 1"},
      {R"({"a": 1,})", "byte 8"},
      {R"({"a": 1} x)", "byte 9"},
      {R"({'a': 1})", "byte 1"},
      {"nul", "byte 3"},
      {"\"\xff\"", "byte 1"},
  };
  for (const Case& c : cases) {
    const auto value = parse_json(c.text);
    ASSERT_FALSE(value) << c.text;
    EXPECT_NE(value.error().message.find(c.where), std::string::npos)
        << c.text << ": " << value.error().message;
  }
}

TEST(Json, KeepsWholeNumbersExact) {
  EXPECT_EQ(*parse_json("9223372036854775807"), json::value(INT64_MAX));
  EXPECT_EQ(*parse_json("18446744073709551615"), json::value(UINT64_MAX));
}

TEST(Json, RefusesNumbersOutOfRange) {
  EXPECT_FALSE(parse_json("1e999"));
  EXPECT_FALSE(parse_json(R"({"a": [0, {"b": -1.5e300615}]})"));
  EXPECT_FALSE(parse_json("1" + std::string(400, '0')));
  EXPECT_TRUE(parse_json("[1e308, 1e-400]"));
}

TEST(Json, UsesTheStorageThatItIsGiven) {
  json::monotonic_resource arena;
  const auto value = parse_json(R"({"a": [1, 2, 3]})", &arena);
  ASSERT_TRUE(value);
  EXPECT_EQ(value->storage().get(), &arena);
}

TEST(Json, NamesDuplicateFields) {
  struct Case {
    std::string_view text;
    std::vector<std::string> paths;
  };
  const Case cases[] = {
      {R"({})", {}},
      {R"({"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]})", {}},
      {R"({"a": 1, "a": 2})", {"a"}},
      {R"({"a": 1, "\u0061": 2})", {"a"}},
      {R"({"spec": {"ports": [{"name": "x"}, {"name": "y", "port": 1, "name": "z"}]}})",
       {"spec.ports[1].name"}},
      {R"({"m": {"x": 1, "x": 2}, "n": [[1, {"y": 1, "y": 2}]], "m": 3})",
       {"m.x", "n[0][1].y", "m"}},
      {R"({"a": 1, "a": 2, )", {"a"}},
      {"not json", {}},
  };
  for (const Case& c : cases) EXPECT_EQ(duplicate_fields(c.text), c.paths) << c.text;
}

}  // namespace
}  // namespace fairlead
