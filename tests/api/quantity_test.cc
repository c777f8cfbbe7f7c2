#include "api/quantity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fairlead::api {
namespace {

TEST(Quantity, IsRead) {
  const std::pair<std::string_view, double> cases[] = {
      {"0", 0},        {"4", 4},          {"+4", 4},          {"-4", -4},
      {"1.5", 1.5},    {".5", 0.5},       {"5.", 5},          {"100m", 0.1},
      {"3920m", 3.92}, {"250000u", 0.25}, {"1000000000n", 1}, {"2k", 2000},
      {"2Ki", 2048},   {"1M", 1e6},       {"1Mi", 1048576},   {"1G", 1e9},
      {"1Gi", 0x1p30}, {"1T", 1e12},      {"1Ti", 0x1p40},    {"1P", 1e15},
      {"1Pi", 0x1p50}, {"1E", 1e18},      {"1Ei", 0x1p60},    {"3e2", 300},
      {"3E2", 300},    {"3e+2", 300},     {"5e-1", 0.5},      {"0e99999999999999", 0},
      {"007", 7},
  };
  for (const auto& [text, value] : cases) {
    const auto got = parse_quantity(text);
    ASSERT_TRUE(got) << text;
    EXPECT_NEAR(*got, value, std::abs(value) * 1e-12) << text;
  }
}

TEST(Quantity, OtherTextIsNone) {
  for (const std::string_view text :
       {"",   "+",   "-",     ".",   "m",   "Ki",  "1x",   "1 ",  " 1",   "1.2.3",
        "1e", "1e+", "1e1.5", "1kk", "1ki", "--1", "0x10", "one", "1e-x", "1mm"}) {
    EXPECT_FALSE(parse_quantity(text)) << text;
  }
}

TEST(Quantity, AnyNumberOfDigitsIsANumber) {
  const auto large = parse_quantity(std::string(1000, '9') + "e99");
  ASSERT_TRUE(large);
  EXPECT_FALSE(std::isnan(*large));
  const auto small = parse_quantity("." + std::string(1000, '9'));
  ASSERT_TRUE(small);
  EXPECT_NEAR(*small, 1, 1e-12);
}

}  // namespace
}  // namespace fairlead::api
