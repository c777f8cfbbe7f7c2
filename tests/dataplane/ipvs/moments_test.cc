// What holds at every moment, between any two writes: packets come all the time, and an agent may
// be killed at any of them.
#include <gtest/gtest.h>

#include <random>

#include "dataplane/compile.h"
#include "dataplane/ipvs/rules.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

// The kernel in memory, with traffic of our making.
class Moments : public testing::Test {
 protected:
  Services& services() { return kernel_.fakes().table->services(); }
  HostAddresses& host() { return kernel_.fakes().host->state(); }
  // As the last transaction left it.
  const NftTable& rules(const std::string& write) {
    if (write.find(" inet ") == write.npos) return rules_;
    FakeNft unharmed = *kernel_.fakes().rules;  // reading it fails nobody else's request
    unharmed.stop_failing();
    const auto table = unharmed.read_table("fairlead-ipvs");
    rules_ = table && *table ? **table : NftTable();
    return rules_;
  }
  static bool has(const NftTable& table, const std::string& set, const std::string& key) {
    const auto found = table.sets.find(set);
    return found != table.sets.end() && found->second.contains(key);
  }

  std::unique_ptr<Driver> make_driver() {
    return kernel_.make_driver({.drain_interval = std::chrono::milliseconds(1)});
  }
  void let_timers_fire() {
    for (int i = 0; i < 3; ++i) kernel_.loop().run_once(std::chrono::milliseconds(2));
  }
  static std::string expected(const ServiceTable& table) {
    IpvsKernel kernel(false);
    const auto driver = kernel.make_driver();
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    return driver->dump();
  }

  // Nobody reaches a port of the node through a service address, and the next run knows again what
  // is ours.
  void check(const std::string& write) {
    const NftTable& table = rules(write);
    for (const Ip& ip : host().device) {
      EXPECT_TRUE(has(table, ip.is_v4() ? "vips4" : "vips6", ip.to_string()))
          << ip.to_string() << " is unguarded after: " << write.substr(0, 300);
    }
    for (const auto& [key, service] : services()) {
      if (host().device.contains(key.ip)) continue;
      Elements named;
      add_claim(named, key, {});
      for (const auto& [set, members] : named) {
        if (!set.starts_with("filter")) continue;
        EXPECT_TRUE(has(table, set, members.begin()->first))
            << to_text(key) << " is nobody's after: " << write.substr(0, 300);
      }
    }
  }

  // Ends no connection of TCP that is under way. Of all that there were before a write.
  void check_connections(const Services& before, const std::string& write) {
    for (const auto& [key, service] : before) {
      if (key.protocol != Protocol::tcp) continue;
      const auto now = services().find(key);
      for (const auto& [address, destination] : service.destinations) {
        if (destination.active + destination.inactive == 0) continue;
        EXPECT_TRUE(now != services().end() && now->second.destinations.contains(address))
            << to_text(key) << " -> " << address.to_string() << " is cut by: " << write;
      }
    }
  }

  void watch() {
    before_ = services();
    rules(" inet ");
    kernel_.watch([this](const std::string& write) {
      check(write);
      check_connections(before_, write);
      before_ = services();
    });
  }

  struct Killed {};

  // A run that applies this table and is killed after so many writes, if it makes so many: nothing
  // is nobody's then, and the next run ends as it should. Whether it was killed.
  bool killed_and_made_up_for(Driver& driver, const ServiceTable& table, size_t writes) {
    rules(" inet ");
    kernel_.watch([&](const std::string& write) {
      (void)rules(write);
      if (writes-- != 0) return;  // looked at when the run was killed there
      check(write);
      throw Killed();
    });
    bool killed = false;
    try {
      EXPECT_TRUE(driver.apply(table, {}, true).ok());
    } catch (const Killed&) {
      killed = true;
    }
    kernel_.watch({});
    const auto next = make_driver();
    EXPECT_TRUE(next->start());
    EXPECT_TRUE(next->apply(table, {}, true).ok());
    EXPECT_EQ(next->dump(), expected(table));
    return killed;
  }

  // Some connections begin and some end.
  void traffic(std::mt19937& random, bool may_begin) {
    for (auto& [key, service] : services()) {
      for (auto& [address, destination] : service.destinations) {
        const uint32_t dice = random() % 8;
        if (dice == 0 && destination.weight != 0 && may_begin) destination.active = 1;
        if (dice == 1) destination.inactive = std::exchange(destination.active, 0);
        if (dice == 2) destination.active = destination.inactive = 0;
      }
    }
    before_ = services();
  }
  void end_all_connections() {
    for (auto& [key, service] : services()) {
      for (auto& [address, one] : service.destinations) one.active = one.inactive = 0;
    }
    before_ = services();
  }

  IpvsKernel kernel_{false};
  Services before_;
  NftTable rules_;
};

TEST_F(Moments, RandomStepsUnderTraffic) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    kernel_.watch({});
    kernel_.fakes().table->services().clear();
    ASSERT_TRUE(make_driver()->cleanup());
    RandomCluster cluster(seed);
    std::mt19937 random(seed);
    auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    watch();
    for (int step = 0; step < 40; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      if (step % 15 == 7) table.node.masquerade_all = !table.node.masquerade_all;
      if (step % 15 == 12) driver = make_driver();
      ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      traffic(random, true);
      if (step % 4 == 0) let_timers_fire();
      const auto drifts = driver->verify(false);
      ASSERT_TRUE(drifts->empty()) << drifts->front().what;
      if (HasFailure()) return;
    }
    end_all_connections();
    for (int i = 0; i < 20 && driver->dump() != expected(table); ++i) let_timers_fire();
    EXPECT_EQ(driver->dump(), expected(table));
  }
}

TEST_F(Moments, RandomFailuresUnderTraffic) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    kernel_.watch({});
    kernel_.fakes().table->services().clear();
    ASSERT_TRUE(make_driver()->cleanup());
    RandomCluster cluster(seed);
    std::mt19937 random(seed);
    const auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    watch();
    for (int step = 0; step < 40; ++step) {
      SCOPED_TRACE(cat("step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const auto doors = kernel_.doors();
      doors[random() % doors.size()]->fail_after(random() % 12);
      ApplyReport report = driver->apply(table, changed, false);
      traffic(random, true);
      // The timer may come before the next try.
      if (random() % 2 == 0) let_timers_fire();
      for (int i = 0; i < 3 && !report.ok(); ++i) report = driver->retry();
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      for (FailsOnce* door : doors) door->stop_failing();
      if (HasFailure()) return;
    }
    end_all_connections();
    for (int i = 0; i < 20 && driver->dump() != expected(table); ++i) let_timers_fire();
    EXPECT_EQ(driver->dump(), expected(table));
  }
}

// From one table to another, and killed after each of the writes on the way: what the next run
// makes of it is what it should be, with nothing left over.
TEST_F(Moments, ARunThatIsKilledAtAnyWriteIsMadeUpForByTheNext) {
  ServiceTable some = every_kind_table(), others = big_table(3, 2), masqueraded = some;
  masqueraded.node.masquerade_all = true;
  ServiceTable node_ports = some;
  node_ports.node.node_port_ips.emplace();
  const std::pair<ServiceTable, ServiceTable> ways[] = {
      {{.node = some.node}, some}, {some, {.node = some.node}}, {some, others}, {others, some},
      {some, masqueraded},         {some, node_ports}};
  for (size_t way = 0; way < std::size(ways); ++way) {
    const auto& [from, to] = ways[way];
    for (size_t writes = 0;; ++writes) {
      SCOPED_TRACE(cat("way ", way, " after ", writes, " writes"));
      ASSERT_LT(writes, 400u);
      kernel_.watch({});
      ASSERT_TRUE(make_driver()->cleanup());
      auto driver = make_driver();
      ASSERT_TRUE(driver->apply(from, {}, true).ok());
      const bool killed = killed_and_made_up_for(*driver, to, writes);
      if (HasFailure()) return;
      if (!killed) break;
    }
  }
}

// A run that takes over a table of another layout may be killed on its way, too.
TEST_F(Moments, ARunThatIsKilledWhileItReplacesTheTableLeavesNothingOfNobody) {
  const ServiceTable from = every_kind_table(), to = big_table(2, 2);
  for (size_t writes = 0;; ++writes) {
    SCOPED_TRACE(cat("after ", writes, " writes"));
    ASSERT_LT(writes, 400u);
    kernel_.watch({});
    ASSERT_TRUE(make_driver()->cleanup());
    auto driver = make_driver();
    ASSERT_TRUE(driver->apply(from, {}, true).ok());
    ASSERT_TRUE(kernel_.rules().run("add set inet fairlead-ipvs intruder { type ipv4_addr; }\n"));
    driver = make_driver();
    ASSERT_TRUE(driver->start());
    const bool killed = killed_and_made_up_for(*driver, to, writes);
    if (HasFailure() || !killed) return;
  }
}

// What a change is, in the order in which it is sent.
TEST_F(Moments, WhatLetsLessThroughComesFirstAndAddressesComeLast) {
  std::string said;
  kernel_.watch([&](const std::string& write) {
    for (const std::string_view line : split(write, '\n')) {
      if (!line.empty()) append(said, cat(line, "\n"));
    }
  });
  const auto take = [&] { return std::exchange(said, {}); };
  const auto driver = make_driver();
  ServiceTable table = big_table(1, 2);
  const std::set<api::ObjectKey> changed{{"default", "s0"}};
  ASSERT_TRUE(driver->apply({.node = table.node}, {}, true).ok());
  EXPECT_TRUE(take().starts_with("make the device\nadd table inet fairlead-ipvs\n"));

  ASSERT_TRUE(driver->apply(table, changed, false).ok());
  EXPECT_EQ(take(), R"(add element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 : goto open }
add element inet fairlead-ipvs hairpin4 { 10.128.0.0 . 10.128.0.0 }
add element inet fairlead-ipvs masquerade4 { 10.96.0.0 . 6 . 80 : goto masquerade-by-source }
add element inet fairlead-ipvs vips4 { 10.96.0.0 }
add IPVS service 10.96.0.0:80/TCP
add destination 10.128.0.0:8080 of IPVS service 10.96.0.0:80/TCP
add destination 10.128.0.1:8080 of IPVS service 10.96.0.0:80/TCP
add address 10.96.0.0
)");

  auto& rule = table.services.begin()->second.ports[0];
  auto backends = std::exchange(rule.backends, {});
  rule.if_empty = NoBackend::reject;
  ASSERT_TRUE(driver->apply(table, changed, false).ok());
  EXPECT_EQ(take(), R"(delete element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 }
add element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 : goto refuse }
edit destination 10.128.0.0:8080 of IPVS service 10.96.0.0:80/TCP
edit destination 10.128.0.1:8080 of IPVS service 10.96.0.0:80/TCP
delete destination 10.128.0.0:8080 of IPVS service 10.96.0.0:80/TCP
delete destination 10.128.0.1:8080 of IPVS service 10.96.0.0:80/TCP
delete element inet fairlead-ipvs hairpin4 { 10.128.0.0 . 10.128.0.0 }
delete element inet fairlead-ipvs masquerade4 { 10.96.0.0 . 6 . 80 }
)");

  backends.resize(1);
  rule.backends = std::move(backends);
  ASSERT_TRUE(driver->apply(table, changed, false).ok());
  EXPECT_EQ(take(), R"(add element inet fairlead-ipvs hairpin4 { 10.128.0.0 . 10.128.0.0 }
add element inet fairlead-ipvs masquerade4 { 10.96.0.0 . 6 . 80 : goto masquerade-by-source }
add destination 10.128.0.0:8080 of IPVS service 10.96.0.0:80/TCP
delete element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 }
add element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 : goto open }
)");

  table.services.clear();
  ASSERT_TRUE(driver->apply(table, changed, false).ok());
  EXPECT_EQ(take(), R"(delete IPVS service 10.96.0.0:80/TCP
remove address 10.96.0.0
delete element inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 }
delete element inet fairlead-ipvs hairpin4 { 10.128.0.0 . 10.128.0.0 }
delete element inet fairlead-ipvs masquerade4 { 10.96.0.0 . 6 . 80 }
delete element inet fairlead-ipvs vips4 { 10.96.0.0 }
)");
}

}  // namespace
}  // namespace fairlead::dataplane
