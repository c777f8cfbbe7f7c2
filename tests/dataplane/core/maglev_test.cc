// What Maglev promises, and with which margins.
#include "dataplane/maglev.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/text.h"

namespace fairlead::dataplane {
namespace {

constexpr uint32_t places = 2011;

std::vector<SocketAddress> backends(size_t count, bool ipv6) {
  std::vector<SocketAddress> out;
  for (size_t i = 0; i < count; ++i) {
    const std::string ip = ipv6 ? cat("fd00:1::", i + 1) : cat("10.1.", i / 250, ".", i % 250 + 1);
    out.push_back({*Ip::parse(ip), static_cast<uint16_t>(8080 + i % 3)});
  }
  return out;
}

// Place -> backend.
std::vector<SocketAddress> owners(const std::vector<SocketAddress>& of, uint32_t size = places) {
  std::vector<SocketAddress> out;
  for (const uint16_t index : maglev_table(of, size)) out.push_back(of.at(index));
  return out;
}

class Maglev : public testing::TestWithParam<bool> {};

TEST_P(Maglev, SharesDifferByOnePlaceAtMost) {
  for (const size_t count : {1u, 2u, 3u, 7u, 20u, 100u, 1000u, 2010u, 2011u}) {
    std::map<SocketAddress, size_t> share;
    for (const SocketAddress& owner : owners(backends(count, GetParam()))) ++share[owner];
    ASSERT_EQ(share.size(), count);
    for (const auto& [backend, held] : share) {
      EXPECT_GE(held, places / count) << count;
      EXPECT_LE(held, (places + count - 1) / count) << count;
    }
  }
}

TEST_P(Maglev, OrderDoesNotMatter) {
  std::mt19937 random(7);
  std::vector<SocketAddress> set = backends(50, GetParam());
  const auto before = owners(set);
  for (int i = 0; i < 5; ++i) {
    std::shuffle(set.begin(), set.end(), random);
    EXPECT_EQ(owners(set), before);
  }
}

struct Moved {
  size_t of_the_gone = 0, others = 0;  // places
};

Moved moved(const std::vector<SocketAddress>& before, const std::vector<SocketAddress>& after,
            const SocketAddress& gone) {
  Moved out;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] == after[i]) continue;
    ++(before[i] == gone ? out.of_the_gone : out.others);
  }
  return out;
}

TEST_P(Maglev, OneOfManyGoesAndFewOthersMove) {
  for (const size_t count : {2u, 3u, 5u, 10u, 20u, 50u, 100u}) {
    const std::vector<SocketAddress> set = backends(count, GetParam());
    const auto before = owners(set);
    size_t others = 0;
    const size_t rounds = std::min<size_t>(count, 10);
    for (size_t i = 0; i < rounds; ++i) {
      std::vector<SocketAddress> rest = set;
      rest.erase(rest.begin() + static_cast<long>(i));
      const auto after = owners(rest);
      EXPECT_TRUE(std::ranges::find(after, set[i]) == after.end());
      const Moved change = moved(before, after, set[i]);
      EXPECT_NEAR(double(change.of_the_gone), double(places) / double(count), 1) << count;
      others += change.others;
      // It comes back, and all is as it was.
      rest.push_back(set[i]);
      EXPECT_EQ(owners(rest), before);
    }
    EXPECT_LE(others / rounds, places * 4 / 100) << "of " << count;
  }
}

TEST_P(Maglev, TwoNodesWithDifferentPartsOfAListAgreeOnMost) {
  const std::vector<SocketAddress> set = backends(20, GetParam());
  std::vector<SocketAddress> late(set.begin(), set.end() - 2);  // two have not been heard of yet
  const auto all = owners(set), part = owners(late);
  size_t same = 0;
  for (size_t i = 0; i < all.size(); ++i) same += all[i] == part[i];
  EXPECT_GE(same, places * 80 / 100) << "18 of 20 would be 90 %";
}

INSTANTIATE_TEST_SUITE_P(Families, Maglev, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "IPv6" : "IPv4"; });

// The nodes of a cluster may run different versions: this table never changes.
TEST(MaglevTable, IsAContract) {
  const std::vector<SocketAddress> set = {*SocketAddress::parse("10.1.0.1:80"),
                                          *SocketAddress::parse("10.1.0.2:80"),
                                          *SocketAddress::parse("[fd00::1]:80")};
  EXPECT_EQ(maglev_table(set, 13), (std::vector<uint16_t>{2, 0, 2, 1, 1, 2, 1, 0, 0, 0, 2, 1, 0}));
}

TEST(MaglevTable, SmallOnes) {
  EXPECT_TRUE(maglev_table({}, 7).empty());
  const std::vector<SocketAddress> one = backends(1, false);
  EXPECT_EQ(maglev_table(one, 7), std::vector<uint16_t>(7, 0));
  const std::vector<uint16_t> full = maglev_table(backends(7, false), 7);
  EXPECT_EQ(std::set<uint16_t>(full.begin(), full.end()).size(), 7u) << "one place each";
}

TEST(MaglevTable, PortsOfOneAddressAreDifferentBackends) {
  const Ip ip = Ip::v4(0x0a010001);
  const auto before = owners({{ip, 80}, {ip, 81}, {ip, 82}});
  const auto after = owners({{ip, 80}, {ip, 82}});
  EXPECT_GT(moved(before, after, {ip, 81}).of_the_gone, places / 4);
}

}  // namespace
}  // namespace fairlead::dataplane
