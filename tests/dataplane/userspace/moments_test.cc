// What holds at every moment, between any two writes to the kernel: an address that is local has
// its ports guarded, whatever fails, and a run that is killed leaves nothing that the next one does
// not put right.
#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/userspace/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace userspace;

class UserspaceMoments : public testing::Test {
 protected:
  FakeKernel& fake() { return kernel_.fake(); }

  std::unique_ptr<Driver> start() {
    auto driver = kernel_.make_driver();
    const auto started = driver->start();
    EXPECT_TRUE(started) << started.error().message;
    return driver;
  }
  static std::string expected(const ServiceTable& table) {
    UserspaceKernel kernel(false);
    const auto driver = kernel.make_driver();
    EXPECT_TRUE(driver->start());
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    return driver->dump();
  }
  void check() {
    if (!fake().capture.attached) return;
    for (const auto& [ip, source] : fake().routes) {
      EXPECT_TRUE(fake().capture.entries.contains(Vip{ip})) << ip.to_string() << " is unguarded";
    }
  }

  UserspaceKernel kernel_{false};
};

TEST_F(UserspaceMoments, RandomFailuresAtAnyWrite) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    RandomCluster cluster(seed);
    std::mt19937 random(seed);
    const auto driver = start();
    ServiceTable table;
    table.node = random_node();
    fake().changed = [&](const std::string&) { check(); };
    for (int step = 0; step < 60; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      if (step % 10 == 9) {
        // Another address of the node is the source of its connections: every route is made anew.
        std::swap(table.node.node_ips.front(), table.node.node_ips.back());
      }
      FakeKernel::Door& door = random() % 2 == 0 ? fake().capture_door : fake().routes_door;
      door.fail_after(random() % 10);
      ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      EXPECT_TRUE(report.ok() || door.failed());
      door.stop_failing();
      if (!report.ok()) report = driver->retry();
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(table));
      if (HasFailure()) return;
    }
    fake().changed = {};
  }
}

struct Killed {};

TEST_F(UserspaceMoments, ARunThatIsKilledAtAnyWriteIsMadeUpForByTheNext) {
  ServiceTable some = every_kind_table();
  for (auto& [key, entry] : some.services) {
    for (PortRule& rule : entry.ports) std::erase(rule.source_ranges, Cidr{});
  }
  const ServiceTable none{.node = some.node, .services = {}}, others = big_table(3, 2);
  const std::pair<ServiceTable, ServiceTable> ways[] = {{none, some}, {some, none}, {some, others}};
  for (size_t way = 0; way < std::size(ways); ++way) {
    const auto& [from, to] = ways[way];
    bool killed = true;
    for (size_t writes = 0; killed; ++writes) {
      SCOPED_TRACE(cat("way ", way, " after ", writes, " writes"));
      ASSERT_LT(writes, 500u);
      auto driver = start();
      ASSERT_TRUE(driver->apply(from, {}, true).ok());
      size_t left = writes;
      killed = false;
      fake().changed = [&](const std::string&) {
        check();
        if (left-- == 0) throw Killed();
      };
      try {
        EXPECT_TRUE(driver->apply(to, {}, true).ok());
      } catch (const Killed&) {
        killed = true;
      }
      fake().changed = {};
      // What ends with a process that has no time to clean up: all but its routes.
      const RouteSources left_behind = fake().routes;
      driver.reset();
      fake().routes = left_behind;
      driver = start();
      EXPECT_EQ(fake().routes.size(), 0u);
      ASSERT_TRUE(driver->apply(to, {}, true).ok());
      ASSERT_EQ(driver->dump(), expected(to));
      if (HasFailure()) return;
    }
  }
}

// What a change is, in the order in which it is sent.
TEST_F(UserspaceMoments, AnAddressIsLocalLastAndFirstIsNot) {
  const auto driver = start();
  std::string said;
  fake().changed = [&](const std::string& write) { append(said, cat(write, "\n")); };
  ServiceTable table = big_table(1, 2);
  const std::set<api::ObjectKey> changed{{"default", "s0"}};
  const auto sent = [&] {
    const ApplyReport report = driver->apply(table, changed, false);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    return std::exchange(said, {});
  };
  ASSERT_TRUE(driver->apply({.node = table.node, .services = {}}, {}, true).ok());
  said.clear();

  PortRule& rule = table.services.begin()->second.ports[0];
  rule.frontends[0].kind = FrontendKind::load_balancer;
  EXPECT_EQ(sent(),
            "vip 10.96.0.0\n"
            "captured 10.96.0.0:80/TCP -> carry\n"
            "route to 10.96.0.0\n");
  // Who is admitted is known before the guard stands, and until it has gone.
  rule.source_ranges = {*Cidr::parse("198.51.100.0/24")};
  EXPECT_EQ(sent(),
            "admitted 198.51.100.0/24 to 10.96.0.0:80/TCP\n"
            "captured 10.96.0.0:80/TCP -> carry, guarded\n");
  rule.source_ranges = {*Cidr::parse("203.0.113.0/24")};
  EXPECT_EQ(sent(),
            "admitted 203.0.113.0/24 to 10.96.0.0:80/TCP\n"
            "no admitted 198.51.100.0/24 to 10.96.0.0:80/TCP\n");
  rule.source_ranges.clear();
  EXPECT_EQ(sent(),
            "captured 10.96.0.0:80/TCP -> carry\n"
            "no admitted 203.0.113.0/24 to 10.96.0.0:80/TCP\n");
  // Another endpoint costs the kernel nothing, the last one that leaves does.
  rule.backends.pop_back();
  EXPECT_EQ(sent(), "");
  rule.backends.clear();
  rule.if_empty = NoBackend::reject;
  EXPECT_EQ(sent(), "captured 10.96.0.0:80/TCP -> refuse\n");
  rule.if_empty = NoBackend::drop;
  EXPECT_EQ(sent(), "captured 10.96.0.0:80/TCP -> drop\n");
  // The source of the node's own connections.
  std::swap(table.node.node_ips.front(), table.node.node_ips.back());
  EXPECT_EQ(sent(),
            "no route to 10.96.0.0\n"
            "route to 10.96.0.0\n");
  table.services.clear();
  EXPECT_EQ(sent(),
            "no route to 10.96.0.0\n"
            "no captured 10.96.0.0:80/TCP\n"
            "no vip 10.96.0.0\n");
  fake().changed = {};
}

TEST_F(UserspaceMoments, ACleanupThatFailsIsMadeUpForByTheNextTable) {
  const ServiceTable table = every_kind_table();
  for (FailsOnce* door : kernel_.doors()) {
    size_t failures = 0;
    for (size_t good = 0; good < 500; ++good) {
      auto driver = start();
      ASSERT_TRUE(driver->apply(table, {}, true).ok());
      door->fail_after(good);
      const auto cleaned = driver->cleanup();
      const bool failed = door->failed();
      door->stop_failing();
      EXPECT_EQ(cleaned.has_value(), !failed);
      if (!failed) break;
      ++failures;
      const ApplyReport report = driver->apply(table, {}, false);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(table)) << "after " << good;
    }
    EXPECT_GT(failures, 2u);
  }
}

}  // namespace
}  // namespace fairlead::dataplane
