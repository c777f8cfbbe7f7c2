#include "base/ip.h"

#include <gtest/gtest.h>

#include <random>

#include "base/text.h"

namespace fairlead {
namespace {

TEST(Ip, ParsesAndPrintsBothFamilies) {
  struct Case {
    std::string_view text, printed;
    bool v4;
  };
  const Case cases[] = {
      {"10.0.0.1", "10.0.0.1", true},        {"255.255.255.255", "255.255.255.255", true},
      {"::ffff:10.0.0.1", "10.0.0.1", true}, {"::", "::", false},
      {"fd00::1", "fd00::1", false},         {"FD00:0:0:0:0:0:0:1", "fd00::1", false},
  };
  for (const Case& c : cases) {
    const auto ip = Ip::parse(c.text);
    ASSERT_TRUE(ip) << c.text;
    EXPECT_EQ(ip->to_string(), c.printed);
    EXPECT_EQ(ip->is_v4(), c.v4) << c.text;
  }
}

TEST(Ip, RejectsWhatIsNoAddress) {
  for (const std::string_view text :
       {"", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/8", "fe80::1%eth0", "::g", "1:2:3",
        "10.0.0.1 ", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd"}) {
    EXPECT_FALSE(Ip::parse(text)) << text;
  }
}

TEST(Ip, KnowsSpecialAddresses) {
  EXPECT_TRUE(Ip::parse("0.0.0.0")->is_unspecified());
  EXPECT_TRUE(Ip::parse("::")->is_unspecified());
  EXPECT_FALSE(Ip::parse("::1")->is_unspecified());
  EXPECT_TRUE(Ip::parse("127.3.2.1")->is_loopback());
  EXPECT_TRUE(Ip::parse("::1")->is_loopback());
  EXPECT_FALSE(Ip::parse("128.0.0.1")->is_loopback());
  EXPECT_EQ(Ip::parse("1.2.3.4")->to_v4(), 0x01020304u);
}

TEST(Cidr, ContainsItsOwnFamilyOnly) {
  struct Case {
    std::string_view cidr, ip;
    bool want;
  };
  const Case cases[] = {
      {"10.0.0.0/8", "10.255.0.1", true}, {"10.0.0.0/8", "11.0.0.0", false},
      {"0.0.0.0/0", "1.2.3.4", true},     {"0.0.0.0/0", "fd00::1", false},
      {"::/0", "fd00::1", true},          {"::/0", "1.2.3.4", false},
      {"10.0.0.4/31", "10.0.0.5", true},  {"10.0.0.4/31", "10.0.0.6", false},
      {"fd00::/64", "fd00::ffff", true},  {"fd00::/64", "fd00:0:0:1::", false},
      {"10.0.0.1/32", "10.0.0.1", true},  {"fd00::1/128", "fd00::1", true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Cidr::parse(c.cidr)->contains(*Ip::parse(c.ip)), c.want) << c.cidr << ' ' << c.ip;
  }
}

TEST(Cidr, ClearsHostBitsAndRejectsNonsense) {
  EXPECT_EQ(Cidr::parse("10.1.2.3/8")->to_string(), "10.0.0.0/8");
  EXPECT_EQ(Cidr::parse("fd00::ff/124")->to_string(), "fd00::f0/124");
  for (const std::string_view text :
       {"", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "x/8"}) {
    EXPECT_FALSE(Cidr::parse(text)) << text;
  }
}

TEST(Cidr, CountsAndIndexesItsAddresses) {
  const Cidr cidr = *Cidr::parse("10.96.0.0/12");
  EXPECT_EQ(cidr.size(), 1u << 20);
  EXPECT_EQ(cidr.at(0).to_string(), "10.96.0.0");
  EXPECT_EQ(cidr.at(256).to_string(), "10.96.1.0");
  EXPECT_EQ(cidr.at(cidr.size() - 1).to_string(), "10.111.255.255");
  const Cidr wide = *Cidr::parse("fd00::/8");
  EXPECT_EQ(wide.size(), uint64_t{1} << 63);
  EXPECT_EQ(wide.at(0x1'0000'0000).to_string(), "fd00::1:0:0");
  EXPECT_EQ(Cidr::parse("10.0.0.1/32")->size(), 1u);
}

TEST(SocketAddress, ParsesEveryWayOfWritingOne) {
  struct Case {
    std::string_view text, printed;
  };
  const Case cases[] = {
      {"10.0.0.1:80", "10.0.0.1:80"}, {"[fd00::1]:443", "[fd00::1]:443"}, {":80", "[::]:80"},
      {"8080", "[::]:8080"},          {"0.0.0.0:0", "0.0.0.0:0"},
  };
  for (const Case& c : cases) {
    const auto address = SocketAddress::parse(c.text);
    ASSERT_TRUE(address) << c.text;
    EXPECT_EQ(address->to_string(), c.printed);
  }
  for (const std::string_view text : {"", "fd00::1:80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536",
                                      "name:80", "[fd00::1]", "[]:1x"}) {
    EXPECT_FALSE(SocketAddress::parse(text)) << text;
  }
}

TEST(SocketAddress, ErrorsSayWhatWasExpected) {
  EXPECT_EQ(SocketAddress::parse("fd00::1:80").error().message,
            "'fd00::1:80' is not an address with a port: write IPv6 as [ADDRESS]:PORT");
  EXPECT_EQ(SocketAddress::parse("a:80").error().message, "'a:80': 'a' is not an IP address");
}

TEST(Protocol, RoundTrips) {
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    EXPECT_EQ(parse_protocol(to_string(protocol)), protocol);
  }
  EXPECT_FALSE(parse_protocol("tcp"));
}

TEST(Ip, AZeroInsideDoesNotEndTheAddress) {
  using namespace std::string_view_literals;
  for (const auto text :
       {"10.0.0.1\0"sv, "10.0.0.1\0x"sv, "fd00::1\0"sv, "\0"sv, "10.0.0.\0001"sv}) {
    EXPECT_FALSE(Ip::parse(text)) << text.size();
    EXPECT_FALSE(Cidr::parse(cat(text, "/8")));
    EXPECT_FALSE(SocketAddress::parse(cat(text, ":80")));
  }
}

TEST(Ip, LongestTextsAreRead) {
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";  // 45 characters
  EXPECT_TRUE(Ip::parse(longest));
  EXPECT_FALSE(Ip::parse(longest + "0"));
  EXPECT_FALSE(Ip::parse(std::string(10'000, '1')));
}

// Random networks: they print as they parse, hold their first and last address, and not those
// before and after.
TEST(Cidr, HoldsWhatItCounts) {
  std::minstd_rand random(7);
  for (int round = 0; round < 2000; ++round) {
    Ip ip;
    for (uint8_t& byte : ip.bytes) byte = static_cast<uint8_t>(random());
    const bool v4 = round % 2 == 0;
    if (v4) ip = Ip::v4(static_cast<uint32_t>(random() * 2654435761u));
    const auto bits = static_cast<int>(random() % (v4 ? 33 : 129));
    const auto cidr = Cidr::parse(cat(ip.to_string(), '/', bits));
    ASSERT_TRUE(cidr);
    EXPECT_EQ(Cidr::parse(cidr->to_string()), cidr);
    EXPECT_TRUE(cidr->contains(ip)) << cidr->to_string();
    EXPECT_TRUE(cidr->contains(cidr->at(0)));
    EXPECT_TRUE(cidr->contains(cidr->at(cidr->size() - 1)));
    if (bits == 0) continue;
    Ip other = ip;  // the last bit of the prefix turned over
    const int bit = (v4 ? 96 : 0) + bits - 1;
    other.bytes[static_cast<size_t>(bit / 8)] ^= static_cast<uint8_t>(0x80 >> (bit % 8));
    EXPECT_FALSE(cidr->contains(other)) << cidr->to_string() << ' ' << other.to_string();
  }
}

TEST(SocketAddress, PortsAreDigits) {
  for (const char* text : {":-0", ":+1", ":0x1", ": 1", ":1 ", ":", "::", "[::1]", "[::1]:", "]:1",
                           "[]:1", "[10.0.0.1:80", "10.0.0.1:65536", ":99999999999999999999"}) {
    EXPECT_FALSE(SocketAddress::parse(text)) << text;
  }
  EXPECT_FALSE(Cidr::parse("10.0.0.0/-0"));
}

}  // namespace
}  // namespace fairlead
