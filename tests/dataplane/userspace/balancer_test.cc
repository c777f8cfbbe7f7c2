#include "dataplane/userspace/balancer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

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

// Against a list that is searched.
TEST(ExpiringTable, AnyStepsEndAsInAPlainList) {
  struct Row {
    int key;
    MonoTime used;
    int value;
  };
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    std::mt19937 random(seed);
    FakeClock clock;
    const size_t capacity = 1 + random() % 12;
    ExpiringTable<int, int> table(capacity);
    std::vector<Row> rows;  // the one used longest ago first
    const auto place = [&](int key) {
      return std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.key == key; });
    };
    for (int step = 0; step < 2000; ++step) {
      clock.advance(std::chrono::milliseconds(random() % 3));
      const int key = static_cast<int>(random() % 20);
      const auto row = place(key);
      switch (random() % 6) {
        case 0:
        case 1:
          if (row != rows.end()) {
            rows.erase(row);
          } else if (rows.size() == capacity) {
            rows.erase(rows.begin());
          }
          rows.push_back({key, clock.now(), step});
          EXPECT_EQ(table.put(key, step, clock.now()).value, step);
          break;
        case 2:
          if (row != rows.end()) {
            Row used = *row;
            used.used = clock.now();
            rows.erase(row);
            rows.push_back(used);
          }
          table.use(key, clock.now());
          break;
        case 3:
          if (row != rows.end()) rows.erase(row);
          table.erase(key);
          break;
        case 4: {
          const MonoTime limit = clock.now() - std::chrono::milliseconds(random() % 30);
          EXPECT_EQ(std::erase_if(rows, [&](const Row& one) { return one.used <= limit; }),
                    table.expire(limit));
          break;
        }
        default:
          EXPECT_EQ(table.find(key) != nullptr, row != rows.end());
      }
      ASSERT_EQ(table.size(), rows.size()) << "seed " << seed << " step " << step;
      for (const Row& one : rows) {
        const auto* entry = table.find(one.key);
        ASSERT_NE(entry, nullptr);
        EXPECT_EQ(entry->value, one.value);
        EXPECT_EQ(entry->used, one.used);
      }
    }
  }
}

TEST(Balancer, NobodyGetsTwoMoreThanAnother) {
  const FakeClock clock;
  for (size_t backends = 1; backends <= 7; ++backends) {
    Balancer balancer(clock, 10);
    const NamedRule rule = rule_of(backends);
    std::vector<size_t> counts(backends);
    for (uint32_t i = 0; i < 1000; ++i) {
      ++counts[balancer.choose(rule, rule.rule.backends, Ip::v4(i))];
      const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
      ASSERT_LE(*most - *least, 1u) << backends;
    }
  }
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
