#include "dataplane/userspace/balancer.h"

#include <gtest/gtest.h>

namespace fairlead::dataplane::userspace {
namespace {

NamedRule rule_of(size_t backends, uint32_t affinity_s = 0, const std::string& name = "r") {
  NamedRule out{name, {}};
  out.rule.affinity_timeout_s = affinity_s;
  for (size_t i = 0; i < backends; ++i) {
    out.rule.backends.push_back({Ip::v4(0x0a000000 + static_cast<uint32_t>(i)), 80, i < 2});
  }
  return out;
}

const Ip alice = Ip::v4(1), bob = Ip::v4(2), carol = Ip::v4(3);

std::vector<size_t> choices(Balancer& balancer, const NamedRule& rule, std::span<const Backend> set,
                            size_t count) {
  std::vector<size_t> out;
  for (size_t i = 0; i < count; ++i) out.push_back(balancer.choose(rule, set, alice));
  return out;
}

TEST(ExpiringTable, TheOneUsedLongestAgoMakesRoom) {
  FakeClock clock;
  ExpiringTable<std::string, int> table(2);
  const auto put = [&](const std::string& key, int value) {
    clock.advance(std::chrono::seconds(1));
    table.put(key, value, clock.now());
  };
  put("a", 1);
  put("b", 2);
  clock.advance(std::chrono::seconds(1));
  table.use("a", clock.now());
  put("c", 3);
  EXPECT_EQ(table.find("b"), nullptr);
  ASSERT_NE(table.find("a"), nullptr);
  put("a", 4);
  EXPECT_EQ(table.find("a")->value, 4);
  EXPECT_EQ(table.size(), 2u);
  // Used at 4 s ("c") and 5 s ("a").
  EXPECT_EQ(table.expire(clock.now() - std::chrono::seconds(1)), 1u);
  EXPECT_EQ(table.find("c"), nullptr);
  table.erase("a");
  table.erase("a");
  EXPECT_EQ(table.size(), 0u);
  table.put("z", 1, clock.now());
  table.clear();
  EXPECT_EQ(table.find("z"), nullptr);
}

TEST(Balancer, TakesBackendsStrictlyInTurn) {
  const FakeClock clock;
  Balancer balancer(clock, 10);
  const NamedRule rule = rule_of(3), other = rule_of(3, 0, "other");
  EXPECT_EQ(choices(balancer, rule, rule.rule.backends, 5), (std::vector<size_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(choices(balancer, other, other.rule.backends, 1), (std::vector<size_t>{0}));
  // The smaller sets take turns of their own.
  EXPECT_EQ(choices(balancer, rule, local_backends(rule.rule), 3), (std::vector<size_t>{0, 1, 0}));
  EXPECT_EQ(choices(balancer, rule, std::span(rule.rule.backends).subspan(1), 3),
            (std::vector<size_t>{0, 1, 0}));
  EXPECT_EQ(choices(balancer, rule, rule.rule.backends, 1), (std::vector<size_t>{2}));
  // A rule that is compiled anew goes on, also with fewer.
  const NamedRule fewer = rule_of(2);
  EXPECT_EQ(choices(balancer, fewer, fewer.rule.backends, 2), (std::vector<size_t>{1, 0}));
}

TEST(Balancer, AffinityHoldsUntilTheClientWasAwayForTheTimeout) {
  FakeClock clock;
  Balancer balancer(clock, 10);
  const NamedRule rule = rule_of(3, 10);
  const auto& all = rule.rule.backends;
  EXPECT_EQ(balancer.choose(rule, all, alice), 0u);
  EXPECT_EQ(balancer.choose(rule, all, bob), 1u);
  for (int i = 0; i < 5; ++i) {
    clock.advance(std::chrono::seconds(9));  // each connection begins the time anew
    EXPECT_EQ(balancer.choose(rule, all, alice), 0u);
  }
  EXPECT_EQ(balancer.choose(rule, all, bob), 2u);
  clock.advance(std::chrono::seconds(6));
  balancer.seen(rule, bob);  // by a datagram of an old flow
  clock.advance(std::chrono::seconds(6));
  EXPECT_EQ(balancer.choose(rule, all, bob), 2u);
}

TEST(Balancer, AffinityLeavesABackendThatIsGoneOrCouldNotBeReached) {
  FakeClock clock;
  Balancer balancer(clock, 10);
  const NamedRule rule = rule_of(3, 10);
  const auto& all = rule.rule.backends;
  EXPECT_EQ(balancer.choose(rule, all, alice), 0u);
  balancer.remember(rule, alice, all[2]);
  EXPECT_EQ(balancer.choose(rule, all, alice), 2u);
  EXPECT_EQ(balancer.choose(rule, std::span(all).first(2), alice), 0u);
  EXPECT_EQ(balancer.choose(rule, all, alice), 0u);
}

TEST(Balancer, RemembersSoManyClientsAndNoMore) {
  FakeClock clock;
  Balancer balancer(clock, 2);
  const NamedRule rule = rule_of(3, 10);
  const auto& all = rule.rule.backends;
  for (const Ip& client : {alice, bob, carol}) balancer.choose(rule, all, client);
  EXPECT_EQ(balancer.clients(), 2u);
  EXPECT_EQ(balancer.choose(rule, all, bob), 1u);
  EXPECT_EQ(balancer.choose(rule, all, alice), 0u) << "forgotten: the next in turn, which is 0";
  const NamedRule without = rule_of(3);
  balancer.choose(without, without.rule.backends, carol);
  balancer.remember(without, carol, all[1]);
  balancer.seen(without, carol);
  EXPECT_EQ(balancer.clients(), 2u);
  clock.advance(std::chrono::hours(1));
  balancer.expire(std::chrono::minutes(10));
  EXPECT_EQ(balancer.choose(without, without.rule.backends, carol), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
