// What only a fake kernel can show: failures at every request, and connections that last.
#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

const ServiceKey key{Ip::v4(0x0a600000), Protocol::tcp, 80};
const SocketAddress first{Ip::v4(0x0a800000), 8080}, second{Ip::v4(0x0a800001), 8080};

ServiceTable table_of(uint32_t services, uint32_t endpoints) {
  api::SnapshotBuilder builder;
  return compile(*big_cluster(builder, services, endpoints).snapshot, random_node());
}

std::string expected(const ServiceTable& table) {
  FakeKernel kernel;
  Around around;
  const auto driver = around.driver(kernel.doors());
  EXPECT_TRUE(driver->apply(table, {}, true).ok());
  return driver->dump();
}

// From one table to another, with one request of one door failing; then it must end well.
template <class Break, class Broken>
void every_request_fails_once(Break break_after, Broken broken) {
  const ServiceTable before = table_of(3, 3);
  ServiceTable after = table_of(4, 2);
  after.services.erase({"default", "s1"});
  std::set<api::ObjectKey> changed;
  for (int i = 0; i < 4; ++i) changed.insert({"default", cat("s", i)});
  size_t tried = 0;
  for (const bool full : {false, true}) {
    for (size_t good = 0;; ++good, ++tried) {
      ASSERT_LT(good, 500u);
      FakeKernel kernel;
      Around around;
      const auto driver = around.driver(kernel.doors());
      ASSERT_TRUE(driver->apply(before, {}, true).ok());
      break_after(kernel, good);
      const ApplyReport report = driver->apply(after, changed, full);
      if (!broken(kernel)) {
        EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
        break;
      }
      EXPECT_FALSE(report.ok()) << "request " << good;
      const ApplyReport again = driver->retry();
      EXPECT_TRUE(again.ok()) << "request " << good << ": " << join(again.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(after)) << "request " << good;
      EXPECT_EQ(driver->retry().writes, 0u);
    }
  }
  EXPECT_GT(tried, 4u);
}

TEST(IpvsFaults, EveryMessageToIpvsMayFailOnce) {
  every_request_fails_once([](FakeKernel& kernel, size_t good) { kernel.table.fail_after(good); },
                           [](FakeKernel& kernel) { return kernel.table.failed(); });
}

TEST(IpvsFaults, EveryRequestToTheHostMayFailOnce) {
  every_request_fails_once([](FakeKernel& kernel, size_t good) { kernel.host.fail_after(good); },
                           [](FakeKernel& kernel) { return kernel.host.failed(); });
}

TEST(IpvsFaults, EveryTransactionMayFail) {
  const ServiceTable before = table_of(3, 3), after = table_of(5, 2);
  for (size_t failures = 1; failures <= 3; ++failures) {
    FakeKernel kernel;
    Around around;
    const auto driver = around.driver(kernel.doors());
    ASSERT_TRUE(driver->apply(before, {}, true).ok());
    kernel.rules.fail_next(failures);
    ApplyReport report = driver->apply(after, {}, true);
    EXPECT_FALSE(report.ok());
    for (size_t i = 0; i < failures && !report.ok(); ++i) report = driver->retry();
    EXPECT_TRUE(report.ok());
    EXPECT_EQ(driver->dump(), expected(after));
  }
}

TEST(IpvsFaults, RandomFailuresConverge) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    FakeKernel kernel;
    Around around;
    RandomCluster cluster(seed);
    const auto driver = around.driver(kernel.doors());
    ServiceTable table;
    table.node = random_node();
    for (int step = 0; step < 60; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      if (step % 3 == 0) kernel.table.fail_after(static_cast<size_t>(step) % 7);
      if (step % 4 == 0) kernel.host.fail_after(static_cast<size_t>(step) % 5);
      if (step % 5 == 0) kernel.rules.fail_next(1);
      ApplyReport report = driver->apply(table, changed, false);
      // The three doors may each fail once more.
      for (int i = 0; i < 8 && !report.ok(); ++i) report = driver->retry();
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      kernel.table.stop_failing();
      kernel.host.stop_failing();
      ASSERT_EQ(driver->dump(), expected(table)) << "seed " << seed << " step " << step;
    }
  }
}

struct Draining : testing::Test {
  void SetUp() override {
    driver = around.driver(kernel.doors(), {.drain_interval = std::chrono::milliseconds(1)});
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    kernel.table.services()[key].destinations[first].active = 2;
  }

  void leave() {
    auto& backends = table.services.begin()->second.ports[0].backends;
    std::erase_if(backends, [](const Backend& backend) { return backend.ip == first.ip; });
    ASSERT_TRUE(driver->apply(table, {{"default", "s0"}}, false).ok());
  }
  void wait() {
    for (int i = 0; i < 5; ++i) around.loop.run_once(std::chrono::milliseconds(5));
  }
  Destinations& held() { return kernel.table.services()[key].destinations; }

  FakeKernel kernel;
  Around around;
  ServiceTable table = table_of(1, 2);
  std::unique_ptr<Driver> driver;
};

TEST_F(Draining, ADestinationWithConnectionsStaysUntilTheyEnd) {
  leave();
  ASSERT_TRUE(held().contains(first));
  EXPECT_EQ(held()[first].weight, 0u);
  wait();
  EXPECT_EQ(held()[first].weight, 0u);
  // Closing connections still need it.
  held()[first].active = 0;
  held()[first].inactive = 1;
  wait();
  EXPECT_TRUE(held().contains(first));
  held()[first].inactive = 0;
  wait();
  EXPECT_FALSE(held().contains(first));
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_F(Draining, OneThatComesBackIsUsedAgain) {
  const ServiceTable full = table;
  leave();
  EXPECT_EQ(held()[first].weight, 0u);
  ASSERT_TRUE(driver->apply(full, {{"default", "s0"}}, false).ok());
  EXPECT_EQ(held()[first].weight, 1u);
  held()[first].active = 0;
  wait();
  EXPECT_EQ(driver->dump(), expected(full));
}

TEST_F(Draining, AServiceThatIsGoneKeepsItsConnections) {
  table.services.clear();
  ASSERT_TRUE(driver->apply(table, {{"default", "s0"}}, false).ok());
  EXPECT_EQ(driver->dump(),
            "-A -t 10.96.0.0:80 -s rr\n"
            "-a -t 10.96.0.0:80 -r 10.128.0.0:8080 -m -w 0\n"
            "address 10.96.0.0\n"
            "filter4 10.96.0.0 . 6 . 80 : goto refuse\n"
            "vips4 10.96.0.0\n");
  EXPECT_TRUE(driver->verify(true)->empty());
  // Reading everything again, or another run, does not forget it.
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  driver = around.driver(kernel.doors(), {.drain_interval = std::chrono::milliseconds(1)});
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_TRUE(held().contains(first));
  held()[first].active = 0;
  wait();
  EXPECT_EQ(driver->dump(), "");
}

TEST_F(Draining, AFailureWhileDrainingIsRetried) {
  leave();
  held()[first].active = 0;
  kernel.table.fail_after(0);
  wait();
  wait();
  EXPECT_TRUE(kernel.table.failed());
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_F(Draining, RetiredConnectionsAreWaitedFor) {
  ASSERT_TRUE(driver->retire());
  EXPECT_EQ(held()[first].weight, 0u);
  EXPECT_EQ(held()[second].weight, 0u);
  EXPECT_FALSE(driver->drained());
  held()[first].active = 0;
  EXPECT_TRUE(driver->drained());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
  EXPECT_EQ(kernel.host.device(), "");
}

TEST(IpvsAddresses, ThoseOfOtherInterfacesAreNotAdded) {
  FakeKernel kernel;
  Around around;
  kernel.host.state().elsewhere = {key.ip};
  const auto driver = around.driver(kernel.doors());
  ASSERT_TRUE(driver->apply(table_of(2, 1), {}, true).ok());
  EXPECT_EQ(kernel.host.state().device, std::set<Ip>{Ip::v4(0x0a600001)});
  EXPECT_TRUE(driver->verify(false)->empty());
  // It moves: the other interface loses it.
  kernel.host.state().elsewhere.clear();
  const auto drifts = driver->verify(true);
  ASSERT_EQ(drifts->size(), 1u);
  EXPECT_EQ((*drifts)[0].what, "address 10.96.0.0 is not on kube-ipvs0");
  EXPECT_EQ(kernel.host.state().device.size(), 2u);
}

TEST(IpvsSysctls, AreSetAtStart) {
  FakeKernel kernel;
  Around around;
  ASSERT_TRUE(around.driver(kernel.doors())->start());
  std::map<std::string, std::string> wanted = {{"net/ipv4/ip_forward", "1"},
                                               {"net/ipv4/vs/conntrack", "1"},
                                               {"net/ipv4/vs/expire_nodest_conn", "1"},
                                               {"net/ipv4/vs/expire_quiescent_template", "1"}};
  EXPECT_EQ(kernel.host.sysctls(), wanted);
  ASSERT_TRUE(around.driver(kernel.doors(), {.strict_arp = true})->start());
  wanted["net/ipv4/conf/all/arp_ignore"] = "1";
  wanted["net/ipv4/conf/all/arp_announce"] = "2";
  EXPECT_EQ(kernel.host.sysctls(), wanted);
}

TEST(IpvsStart, SaysWhatItCouldNotDo) {
  FakeKernel kernel;
  Around around;
  kernel.host.fail_after(1);
  const auto started = around.driver(kernel.doors())->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "No buffer space available");
}

}  // namespace
}  // namespace fairlead::dataplane
