#include "dns/name.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dns {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

TEST(Name, TextToWireAndBack) {
  struct Case {
    std::string_view text;
    std::string wire;
    std::string_view back;  // "" = as `text`
  };
  const std::vector<Case> cases = {
      {".", "\0"s, ""},
      {"a.", "\1a\0"s, ""},
      {"a", "\1a\0"s, "a."},
      {"web.default.svc.cluster.local.", "\3web\7default\3svc\7cluster\5local\0"s, ""},
      {"WeB.x.", "\3WeB\1x\0"s, ""},
      {"_http._tcp.x.", "\5_http\4_tcp\1x\0"s, ""},
      {"*.x.", "\1*\1x\0"s, ""},
      {"a\\.b.x.", "\3a.b\1x\0"s, ""},
      {"a\\046b.x.", "\3a.b\1x\0"s, "a\\.b.x."},
      {"a\\000b.", "\3a\0b\0"s, ""},
      {"a\\255.", "\2a\xff\0"s, ""},
      {"\\\\.", "\1\\\0"s, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto wire = name_to_wire(c.text);
    ASSERT_TRUE(wire);
    EXPECT_EQ(*wire, c.wire);
    EXPECT_EQ(name_to_text(*wire), c.back.empty() ? c.text : c.back);
  }
}

TEST(Name, BadTextIsRefused) {
  const std::string long_label(64, 'a');
  std::string long_name;
  for (int i = 0; i < 128; ++i) long_name += "a.";
  for (const std::string& text : {""s, ".."s, "a..b"s, ".a"s, long_label, "a\\"s, "a\\25"s,
                                  "a\\256"s, "a\\2x6"s, long_name}) {
    EXPECT_FALSE(name_to_wire(text)) << text;
  }
}

TEST(Name, LongestNamesFit) {
  std::string text;
  for (int i = 0; i < 127; ++i) text += "a.";
  const auto wire = name_to_wire(text);
  ASSERT_TRUE(wire);
  EXPECT_EQ(wire->size(), max_name_bytes);
  FoldedName folded;
  ASSERT_TRUE(folded.assign(*wire));
  EXPECT_EQ(folded.labels, 127);
  EXPECT_EQ(folded.size, 255);
  EXPECT_TRUE(name_to_wire(std::string(63, 'x')));
}

TEST(Name, FoldingTouchesOnlyAsciiLetters) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  // At every alignment and length, against the obvious way.
  for (size_t start = 0; start < 9; ++start) {
    for (size_t size = 0; start + size <= all.size(); size += 13) {
      std::string expected = all;
      for (size_t i = start; i < start + size; ++i) {
        if (expected[i] >= 'A' && expected[i] <= 'Z') expected[i] += 32;
      }
      std::string folded = all;
      fold_case(reinterpret_cast<uint8_t*>(folded.data()) + start, size);
      ASSERT_EQ(folded, expected) << start << ' ' << size;
    }
  }
}

TEST(FoldedName, KnowsItsLabels) {
  FoldedName name;
  ASSERT_TRUE(name.assign("\3WEB\7Default\3svc\0"sv));
  EXPECT_EQ(name.labels, 3);
  EXPECT_EQ(name.from(0), "\3web\7default\3svc\0"sv);
  EXPECT_EQ(name.from(2), "\3svc\0"sv);
  EXPECT_EQ(name.from(3), "\0"sv);
  EXPECT_EQ(name.label(1), "default");
  EXPECT_EQ(name.between(0, 2), "\3web\7default"sv);
  EXPECT_TRUE(name.is_within("\3svc\0"sv, 1));
  EXPECT_TRUE(name.is_within("\0"sv, 0));
  EXPECT_FALSE(name.is_within("\2vc\0"sv, 1));
  EXPECT_FALSE(name.is_within("\1a\3web\7default\3svc\0"sv, 4));
}

TEST(FoldedName, MalformedNamesAreRefused) {
  FoldedName name;
  for (const std::string& wire :
       {""s, "\3we"s, "\3web"s, "\xc0\x0c"s, "\x40web\0"s, std::string(300, '\1')}) {
    EXPECT_FALSE(name.assign(wire)) << hex_encode(wire);
  }
}

TEST(ReverseName, ToAddressAndBack) {
  for (const std::string_view text : {"10.0.0.1", "0.0.0.0", "255.255.255.255", "fd00::1",
                                      "::", "2001:db8:1234:5678:9abc:def0:1234:5678"}) {
    const Ip ip = *Ip::parse(text);
    FoldedName name;
    ASSERT_TRUE(name.assign(*name_to_wire(address_to_reverse(ip))));
    EXPECT_EQ(reverse_to_address(name), ip) << text;
  }
  EXPECT_EQ(address_to_reverse(*Ip::parse("10.1.2.3")), "3.2.1.10.in-addr.arpa.");
}

TEST(ReverseName, OthersAreNone) {
  for (const std::string_view text :
       {"1.0.0.10.in-addr.arpa.x.", "0.0.10.in-addr.arpa.", "1.1.0.0.10.in-addr.arpa.",
        "256.0.0.10.in-addr.arpa.", "01.0.0.10.in-addr.arpa.", "x.0.0.10.in-addr.arpa.",
        "1.0.0.10.ip6.arpa.", "-1.0.0.10.in-addr.arpa."}) {
    FoldedName name;
    ASSERT_TRUE(name.assign(*name_to_wire(text)));
    EXPECT_FALSE(reverse_to_address(name)) << text;
  }
}

}  // namespace
}  // namespace fairlead::dns
