// What only a kernel in memory can show: failures in a row, and connections that last.
#include <gtest/gtest.h>

#include "net/netlink.h"
#include "net/netns.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

const ServiceKey key{Ip::v4(0x0a600000), Protocol::tcp, 80};
const SocketAddress first{Ip::v4(0x0a800000), 8080}, second{Ip::v4(0x0a800001), 8080};

std::string expected(const ServiceTable& table) {
  IpvsKernel kernel(false);
  const auto driver = kernel.make_driver();
  EXPECT_TRUE(driver->apply(table, {}, true).ok());
  return driver->dump();
}

TEST(IpvsFaults, EveryTransactionMayFail) {
  const ServiceTable before = big_table(3, 3), after = big_table(5, 2);
  for (size_t failures = 1; failures <= 3; ++failures) {
    IpvsKernel kernel(false);
    const auto driver = kernel.make_driver();
    ASSERT_TRUE(driver->apply(before, {}, true).ok());
    kernel.fakes().rules->fail_next(failures);
    ApplyReport report = driver->apply(after, {}, true);
    EXPECT_FALSE(report.ok());
    for (size_t i = 0; i < failures && !report.ok(); ++i) report = driver->retry();
    EXPECT_TRUE(report.ok());
    EXPECT_EQ(driver->dump(), expected(after));
  }
}

TEST(IpvsFaults, RulesThatAreNotTakenAgainAreReplacedWithTheirTable) {
  IpvsKernel kernel(false);
  const auto driver = kernel.make_driver();
  ServiceTable table = big_table(3, 3);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.masquerade_all = true;
  kernel.fakes().rules->fail_next(1);
  EXPECT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_NE(kernel.log().text().find("replacing the table"), std::string::npos);
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_TRUE(driver->verify(false)->empty());
  // Both ways are tried by the next one, too.
  table.node.masquerade_all = false;
  kernel.fakes().rules->fail_next(2);
  EXPECT_FALSE(driver->apply(table, {}, false).ok());
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_TRUE(driver->verify(false)->empty());
}

// `explain` is about the kernel, not about wishes.
TEST(IpvsFaults, EntriesOfAServiceAreThoseThatTheKernelStillHas) {
  IpvsKernel kernel(false);
  const auto driver = kernel.make_driver();
  ServiceTable table = big_table(1, 1);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const api::ObjectKey service{"default", "s0"};
  const auto before = driver->kernel_entries(service);
  table.services.at(service).ports[0].backends.clear();
  table.services.at(service).ports[0].if_empty = NoBackend::reject;
  kernel.fakes().rules->fail_next(1);
  ASSERT_FALSE(driver->apply(table, {service}, false).ok());
  EXPECT_EQ(driver->kernel_entries(service), before);
  ASSERT_TRUE(driver->retry().ok());
  EXPECT_EQ(join(driver->kernel_entries(service), "\n"),
            "ipvsadm -A -t 10.96.0.0:80 -s rr\n"
            "nft inet fairlead-ipvs filter4 { 10.96.0.0 . 6 . 80 : goto refuse }");
}

struct Draining : testing::Test {
  void SetUp() override {
    driver = kernel.make_driver({.drain_interval = std::chrono::milliseconds(1)});
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    kernel.fakes().table->services()[key].destinations[first].active = 2;
  }

  void leave() {
    auto& backends = table.services.begin()->second.ports[0].backends;
    std::erase_if(backends, [](const Backend& backend) { return backend.ip == first.ip; });
    ASSERT_TRUE(driver->apply(table, {{"default", "s0"}}, false).ok());
  }
  void wait() {
    for (int i = 0; i < 5; ++i) kernel.loop().run_once(std::chrono::milliseconds(5));
  }
  Destinations& held() { return kernel.fakes().table->services()[key].destinations; }

  IpvsKernel kernel{false};
  ServiceTable table = big_table(1, 2);
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
  driver = kernel.make_driver({.drain_interval = std::chrono::milliseconds(1)});
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
  kernel.fakes().table->fail_after(0);
  wait();
  wait();
  EXPECT_TRUE(kernel.fakes().table->failed());
  EXPECT_EQ(driver->dump(), expected(table));
}

// The service is claimed again, but the kernel cannot be told so before the timer looks after it.
TEST_F(Draining, ATimerBetweenAFailureAndTheNextTryTakesNothingFromANewClaim) {
  const ServiceTable full = table;
  table.services.clear();
  ASSERT_TRUE(driver->apply(table, {{"default", "s0"}}, false).ok());
  held()[first].active = 0;
  kernel.fakes().rules->fail_next(1);
  ASSERT_FALSE(driver->apply(full, {{"default", "s0"}}, false).ok());
  wait();
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(driver->dump(), expected(full));
  EXPECT_EQ(driver->verify(false).value(), std::vector<Drift>());
}

TEST_F(Draining, AVerificationThatFailsForgetsNothing) {
  leave();
  const std::string before = driver->dump();
  for (const auto door : kernel.doors()) {
    for (size_t good = 0;; ++good) {
      door->fail_after(good);
      const auto verified = driver->verify(true);
      const bool failed = door->failed();
      door->stop_failing();
      if (!failed) break;
      EXPECT_TRUE(!verified || verified->empty());
      EXPECT_EQ(driver->dump(), before);
    }
  }
  held()[first].active = 0;
  wait();
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_F(Draining, AnAddressThatCannotBeRemovedStaysGuarded) {
  held()[first].active = 0;
  table.services.clear();
  kernel.fakes().host->fail_after(0);  // nothing else is asked of it
  const ApplyReport report = driver->apply(table, {{"default", "s0"}}, false);
  EXPECT_EQ(join(report.errors, "; "), "ipvs: No buffer space available");
  EXPECT_EQ(driver->dump(), "address 10.96.0.0\nvips4 10.96.0.0\n");
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(driver->dump(), "");
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
  EXPECT_EQ(kernel.fakes().host->device(), "");
}

TEST(IpvsAddresses, ThoseOfOtherInterfacesAreNotAdded) {
  IpvsKernel kernel{false};
  kernel.fakes().host->state().elsewhere = {key.ip};
  const auto driver = kernel.make_driver();
  ASSERT_TRUE(driver->apply(big_table(2, 1), {}, true).ok());
  EXPECT_EQ(kernel.fakes().host->state().device, std::set<Ip>{Ip::v4(0x0a600001)});
  EXPECT_TRUE(driver->verify(false)->empty());
  // It moves: the other interface loses it.
  kernel.fakes().host->state().elsewhere.clear();
  const auto drifts = driver->verify(true);
  ASSERT_EQ(drifts->size(), 1u);
  EXPECT_EQ((*drifts)[0].what, "address 10.96.0.0 is not on kube-ipvs0");
  EXPECT_EQ(kernel.fakes().host->state().device.size(), 2u);
}

TEST(IpvsSysctls, AreSetAtStart) {
  IpvsKernel kernel{false};
  ASSERT_TRUE(kernel.make_driver()->start());
  std::map<std::string, std::string> wanted = {{"net/ipv4/ip_forward", "1"},
                                               {"net/ipv4/vs/conntrack", "1"},
                                               {"net/ipv4/vs/expire_nodest_conn", "1"},
                                               {"net/ipv4/vs/expire_quiescent_template", "1"}};
  EXPECT_EQ(kernel.fakes().host->sysctls(), wanted);
  ASSERT_TRUE(kernel.make_driver({.strict_arp = true})->start());
  wanted["net/ipv4/conf/all/arp_ignore"] = "1";
  wanted["net/ipv4/conf/all/arp_announce"] = "2";
  EXPECT_EQ(kernel.fakes().host->sysctls(), wanted);
}

// Every agent cleans up after the modes that it does not run.
TEST(IpvsCleanup, TouchesNothingWhereIpvsWasNeverUsed) {
  IpvsKernel kernel{false};
  std::string said;
  kernel.watch([&](const std::string& write) { append(said, write); });
  IpvsOptions options{.strict_arp = true, .timeouts = {.tcp = 60}};
  ASSERT_TRUE(kernel.make_driver(options)->cleanup());
  EXPECT_EQ(said, "");
  EXPECT_EQ(kernel.fakes().host->sysctls().size(), 0u);
  EXPECT_EQ(kernel.fakes().table->timeouts(), (Timeouts{900, 120, 300}));
  EXPECT_FALSE(kernel.fakes().table->opened()) << "the kernel would load its module";
}

// On whatever kernel this is, also one without IPVS.
TEST(IpvsCleanup, ChangesNothingOfARealNodeWhereIpvsWasNeverUsed) {
  SKIP_WITHOUT_NAMESPACES();
  const FreshNetns fresh;
  ASSERT_TRUE(net::write_sysctl("net/ipv4/ip_forward", "0"));
  net::EventLoop loop;
  MemoryLogSink sink;
  Registry registry;
  auto netlink = *net::Netlink::open();
  const auto links = *netlink.links();
  const auto driver = make_ipvs_driver({.strict_arp = true}, loop, Log(sink), registry);
  for (int i = 0; i < 2; ++i) {
    const auto cleaned = driver->cleanup();
    EXPECT_TRUE(cleaned) << cleaned.error().message;
  }
  EXPECT_EQ(*net::read_sysctl("net/ipv4/ip_forward"), "0");
  EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_ignore"), "0");
  EXPECT_EQ(*netlink.links(), links);
}

TEST(IpvsCleanup, RemovesAnInterfaceThatAKilledRunHadJustMade) {
  IpvsKernel kernel{false};
  ASSERT_TRUE(kernel.make_driver()->start());
  ASSERT_EQ(kernel.fakes().host->device(), "kube-ipvs0");
  const auto sysctls = kernel.fakes().host->sysctls();
  ASSERT_TRUE(kernel.make_driver({.strict_arp = true})->cleanup());
  EXPECT_EQ(kernel.fakes().host->device(), "");
  EXPECT_EQ(kernel.fakes().host->sysctls(), sysctls);
}

TEST(IpvsTimeouts, AreSetWhereTheyAreGiven) {
  IpvsKernel kernel(false);
  ASSERT_TRUE(kernel.make_driver()->start());
  EXPECT_EQ(kernel.fakes().table->timeouts(), (Timeouts{900, 120, 300}));
  ASSERT_TRUE(kernel.make_driver({.timeouts = {.tcp = 60, .udp = 30}})->start());
  EXPECT_EQ(kernel.fakes().table->timeouts(), (Timeouts{60, 120, 30}));
}

TEST(IpvsMark, IsTheOneOfTheOptions) {
  IpvsKernel kernel(false);
  const auto driver = kernel.make_driver({.masquerade_mark = 0x80000});
  ASSERT_TRUE(driver->apply(big_table(1, 1), {}, true).ok());
  EXPECT_NE(kernel.fakes().rules->last_commands().find("meta mark set meta mark or 0x80000\n"),
            std::string::npos);
  EXPECT_EQ(kernel.fakes().rules->last_commands().find("0x4000"), std::string::npos);
}

TEST(IpvsStart, SaysWhatItCouldNotDo) {
  IpvsKernel kernel{false};
  kernel.fakes().host->fail_after(1);
  const auto started = kernel.make_driver()->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "No buffer space available");
}

}  // namespace
}  // namespace fairlead::dataplane
