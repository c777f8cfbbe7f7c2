#include "base/text.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(Text, CatJoinsStringsCharactersAndIntegers) {
  EXPECT_EQ(cat("port ", 70000, ':', std::string("x"), -1), "port 70000:x-1");
  EXPECT_EQ(cat(uint64_t{18446744073709551615ULL}), "18446744073709551615");
  EXPECT_EQ(cat(), "");
}

TEST(Text, SplitKeepsEmptyParts) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split("a,b,,c", ','), (Parts{"a", "b", "", "c"}));
  EXPECT_EQ(split("", ','), (Parts{""}));
  EXPECT_EQ(split(",", ','), (Parts{"", ""}));
}

TEST(Text, JoinIsTheInverseOfSplit) {
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
  EXPECT_EQ(join({"a"}, ", "), "a");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"", ""}, "-"), "-");
}

TEST(Text, TrimTakesBlanksFromBothEnds) {
  EXPECT_EQ(trim("  a b\t\r\n"), "a b");
  EXPECT_EQ(trim(" \t"), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Text, CaseIsFoldedInAsciiOnly) {
  EXPECT_EQ(to_lower("Content-TYPE\xC3\x84"), "content-type\xC3\x84");
  EXPECT_TRUE(equals_ignore_case("Host", "hOST"));
  EXPECT_FALSE(equals_ignore_case("Host", "Hosts"));
  EXPECT_FALSE(equals_ignore_case("@", "`"));
}

TEST(Text, ParseIntTakesTheWholeTextWithinBounds) {
  struct Case {
    std::string_view text;
    int64_t low, high;
    std::optional<int64_t> want;
  };
  const Case cases[] = {
      {"0", 0, 10, 0},
      {"10", 0, 10, 10},
      {"11", 0, 10, std::nullopt},
      {"-1", 0, 10, std::nullopt},
      {"-1", -5, 10, -1},
      {"", 0, 10, std::nullopt},
      {"1x", 0, 10, std::nullopt},
      {" 1", 0, 10, std::nullopt},
      {"+1", 0, 10, std::nullopt},
      {"99999999999999999999", INT64_MIN, INT64_MAX, std::nullopt},
      {"0x10", 0, 100, std::nullopt},
      {"-0", 0, 100, std::nullopt},
      {"-0", -1, 100, 0},
      {"-", -5, 10, std::nullopt},
      {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX},
      {"9223372036854775808", INT64_MIN, INT64_MAX, std::nullopt},
      {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN},
  };
  for (const Case& c : cases) EXPECT_EQ(parse_int(c.text, c.low, c.high), c.want) << c.text;
}

TEST(Text, DurationsNeedUnits) {
  struct Case {
    std::string_view text;
    std::optional<int64_t> want_ms;
  };
  const Case cases[] = {
      {"0", 0},
      {"250ms", 250},
      {"30s", 30'000},
      {"1m30s", 90'000},
      {"2h", 7'200'000},
      {"1h1ms", 3'600'001},
      {"5", std::nullopt},
      {"", std::nullopt},
      {"s", std::nullopt},
      {"-1s", std::nullopt},
      {"1d", std::nullopt},
      {"1.5s", std::nullopt},
      {"2562047h", 9'223'369'200'000},
      {"2562048h", std::nullopt},  // more nanoseconds than an int64 has
      {"1000000000h1000000000h", std::nullopt},
  };
  for (const Case& c : cases) EXPECT_EQ(parse_duration_ms(c.text), c.want_ms) << c.text;
}

TEST(Text, Base64RoundTripsEveryLength) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes) << i;
    bytes += static_cast<char>(i * 7);
  }
}

TEST(Text, Base64KnownVectors) {  // RFC 4648 section 10
  const std::pair<std::string_view, std::string_view> cases[] = {{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : cases) {
    EXPECT_EQ(base64_encode(plain), encoded);
    EXPECT_EQ(base64_decode(encoded), plain);
  }
  for (const std::string_view bad : {"Zg", "Zg=", "Z===", "Zm9v!", "Zm 9v", "=Zg=", "Zm9vYg=x"}) {
    EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
  }
}

TEST(Text, Base64MayComeInLines) {
  for (const std::string_view text :
       {"Zm9vYg==\n", "Zm9v\nYg==", "Zm9v\r\nYg==\r\n", "\nZ\nm9vY\n\ng=\n="}) {
    EXPECT_EQ(base64_decode(text), "foob") << text;
  }
  EXPECT_EQ(base64_decode("\r\n"), "");
  for (const std::string_view bad : {"Zm9v\nYg=", "Zm9v\tYg==", "Zm9v\vYg==", "Zm9v Yg==\n"}) {
    EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
  }
}

TEST(Text, HexIsLowerCase) { EXPECT_EQ(hex_encode(std::string_view("\x00\xff\x1a", 3)), "00ff1a"); }

}  // namespace
}  // namespace fairlead
