#include "api/utf8.h"

#include <gtest/gtest.h>

namespace fairlead::api {
namespace {

struct Case {
  std::string_view text;
  size_t bad;             // of the first bad byte; npos: none
  std::string_view want;  // of to_utf8
};

constexpr size_t none = std::string_view::npos;
#define BAD "\xef\xbf\xbd"

TEST(Utf8, BytesThatAreNoTextAreFoundAndReplaced) {
  const Case cases[] = {
      {"", none, ""},
      {"a\tb", none, "a\tb"},
      {std::string_view("a\0b", 3), none, std::string_view("a\0b", 3)},
      {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x9a\xa2", none, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x9a\xa2"},
      {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", none,
       "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
      {"a\x80z", 1, "a" BAD "z"},
      {"a\xff\xfez", 1, "a" BAD BAD "z"},
      {"ab\xc3", 2, "ab" BAD},
      {"\xc3(", 0, BAD "("},
      {"\xe2\x82", 0, BAD BAD},
      {"\xc0\xaf", 0, BAD BAD},                  // overlong
      {"\xe0\x80\x80", 0, BAD BAD BAD},          // overlong
      {"\xf0\x80\x80\x80", 0, BAD BAD BAD BAD},  // overlong
      {"\xed\xa0\x80", 0, BAD BAD BAD},          // a surrogate
      {"\xf4\x90\x80\x80", 0, BAD BAD BAD BAD},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80z", 0, BAD BAD BAD BAD "z"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(invalid_utf8(c.text), c.bad) << c.text;
    EXPECT_EQ(is_utf8(c.text), c.bad == none) << c.text;
    EXPECT_EQ(to_utf8(c.text), c.want) << c.text;
    EXPECT_TRUE(is_utf8(to_utf8(c.text))) << c.text;
  }
}

}  // namespace
}  // namespace fairlead::api
