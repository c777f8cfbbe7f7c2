// Each child process fails once, in every way: the rules converge, and somebody is told.
#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

// Of a kind, in a style.
class Faults : public testing::TestWithParam<std::tuple<IptablesFault, bool>> {
 protected:
  static IptablesFault fault() { return std::get<0>(GetParam()); }
  static IptablesOptions options() {
    IptablesOptions out;
    if (std::get<1>(GetParam())) out.brief_above = out.tree_above = 0;
    return out;
  }
  std::unique_ptr<Driver> make_driver() {
    return make_iptables_driver(options(), loop_, Log(sink_), registry_,
                                std::make_unique<BorrowedIptables>(kernel_, counts_));
  }
  static std::string expected(const ServiceTable& table) {
    MemoryLogSink sink;
    Registry registry;
    net::EventLoop loop;
    const auto driver = make_iptables_driver(options(), loop, Log(sink), registry,
                                             std::make_unique<FakeIptables>());
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    return driver->dump();
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  FakeIptables kernel_;
  BorrowedIptables::Counts counts_;
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, Faults,
    testing::Combine(testing::Values(IptablesFault::refused, IptablesFault::half,
                                     IptablesFault::killed, IptablesFault::killed_after,
                                     IptablesFault::timeout),
                     testing::Bool()));

// The steps of one life; call number `call` of all of them fails.
TEST_P(Faults, EveryChildMayFailOnce) {
  for (size_t call = 0; call < 40; ++call) {
    kernel_ = FakeIptables();
    const size_t said_before = sink_.text().size();
    kernel_.fail_call(call, fault());
    RandomCluster cluster(11);
    ServiceTable table;
    table.node = random_node();
    const auto driver = make_driver();
    bool told = !driver->start();  // the agent would start again
    for (int step = 0; step < 12; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      ApplyReport report = driver->apply(table, changed, step == 0);
      for (int i = 0; !report.ok() && i < 3; ++i) {
        told = true;
        EXPECT_NE(report.errors.front().find("iptables: IPv"), std::string::npos);
        report = driver->retry();
      }
      ASSERT_TRUE(report.ok()) << "call " << call << ": " << join(report.errors, "\n");
      std::string dump = driver->dump();
      if (dump.find("error: ") != dump.npos) {
        told = true;
        dump = driver->dump();
      }
      ASSERT_EQ(dump, expected(table)) << "call " << call << " step " << step;
    }
    const bool happened = kernel_.calls() > call;
    told |= sink_.text().find("reason=", said_before) != std::string::npos;
    // The second table may not be there to fail; half a save is a failed save.
    if (happened && fault() != IptablesFault::half) {
      EXPECT_TRUE(told) << "call " << call << " failed in silence\n" << sink_.text();
    }
  }
}

TEST_P(Faults, WhatFailsWhileVerifyingIsAnError) {
  const auto driver = make_driver();
  api::SnapshotBuilder builder;
  const ServiceTable table = compile(*big_cluster(builder, 3, 2).snapshot, random_node());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  kernel_.flush();
  kernel_.fail_call(1, fault());  // the first repair
  const auto drifts = driver->verify(true);
  if (!drifts) {
    EXPECT_NE(drifts.error().message.find("iptables: IPv4: "), std::string::npos);
  }
  ASSERT_TRUE(driver->verify(true));
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST(FaultsOnce, AHostWithoutIp6tablesServesIpv4) {
  MemoryLogSink sink;
  Registry registry;
  net::EventLoop loop;
  auto owned = std::make_unique<FakeIptables>();
  FakeIptables& kernel = *owned;
  const auto driver = make_iptables_driver({}, loop, Log(sink), registry, std::move(owned));
  api::SnapshotBuilder builder;
  const ServiceTable table = compile(*big_cluster(builder, 3, 2).snapshot, random_node());
  kernel.fail_call(2, IptablesFault::refused);  // IPv4 read and written; IPv6 cannot be read
  EXPECT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_NE(sink.text().find("no IPv6 rules on this host"), std::string::npos);
}

// One kernel in memory with one driver, whose canary is looked at often.
class OneDriver : public testing::Test {
 protected:
  OneDriver() {
    IptablesOptions options;
    options.canary_interval = std::chrono::milliseconds(2);
    auto runner = std::make_unique<FakeIptables>();
    auto tracker = std::make_unique<net::FakeConntrack>();
    kernel_ = runner.get();
    conntrack_ = tracker.get();
    driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_, std::move(runner),
                                   std::move(tracker));
  }
  template <class Done>
  bool wait(Done done) {
    for (int i = 0; i < 500 && !done(); ++i) loop_.run_once(std::chrono::milliseconds(5));
    return done();
  }
  std::string saved(bool ipv6) {
    std::string out;
    EXPECT_TRUE(kernel_->save(ipv6, [&](std::string_view line) { append(out, cat(line, "\n")); }));
    return out;
  }

  MemoryLogSink sink_;
  Registry registry_;
  net::EventLoop loop_;
  FakeIptables* kernel_ = nullptr;
  net::FakeConntrack* conntrack_ = nullptr;
  std::unique_ptr<Driver> driver_;
  const api::ObjectKey web_{"default", "web"};
};

constexpr std::string_view other_mark = "*nat\n-A KUBE-MARK-MASQ -j RETURN\nCOMMIT\n";

TEST_F(OneDriver, IPv6ThatCouldNotBeReadOnceIsLookedAfterOnceItCan) {
  kernel_->fail_call(2, IptablesFault::refused);
  ASSERT_TRUE(driver_->apply(big_table(3, 2), {}, true).ok());
  EXPECT_EQ(saved(true).find("KUBE-"), std::string::npos);
  // A pass of verification finds it there.
  const auto drifts = driver_->verify(true);
  ASSERT_TRUE(drifts);
  ASSERT_FALSE(drifts->empty());
  EXPECT_NE(drifts->front().what.find("IPv6"), std::string::npos);
  EXPECT_NE(saved(true).find("-A PREROUTING"), std::string::npos);
  ASSERT_TRUE(kernel_->tamper(true, std::string(other_mark)));
  EXPECT_EQ(driver_->verify(false)->size(), 1u);
}

TEST_F(OneDriver, IPv6ThatIsNeededAfterAllIsLookedAfter) {
  kernel_->fail_call(2, IptablesFault::refused);
  ASSERT_TRUE(driver_->apply(big_table(3, 2), {}, true).ok());
  const ServiceTable table = every_kind_table();
  ASSERT_TRUE(driver_->apply(table, {}, true).ok());
  EXPECT_NE(saved(true).find("fd96::1/128"), std::string::npos);
  ASSERT_TRUE(kernel_->tamper(true, std::string(other_mark)));
  EXPECT_EQ(driver_->verify(false)->size(), 1u);
  // A flush of IPv6 alone is seen, too.
  ASSERT_TRUE(kernel_->tamper(true, "*nat\n-F KUBE-PROXY-CANARY\nCOMMIT\n"));
  EXPECT_TRUE(wait([&] { return driver_->verify(false)->empty(); }));
}

TEST_F(OneDriver, IPv6ThatWorkedIsNotGivenUpWithItsLastService) {
  ServiceTable table = every_kind_table();
  ASSERT_TRUE(driver_->apply(table, {}, true).ok());
  std::erase_if(table.services.at(web_).ports, [](const PortRule& rule) { return rule.ipv6; });
  kernel_->fail_call(0, IptablesFault::refused);  // the change of IPv6
  kernel_->fail_call(1, IptablesFault::killed);   // and reading it
  const ApplyReport report = driver_->apply(table, {web_}, false);
  EXPECT_FALSE(report.ok());
  EXPECT_NE(saved(true).find("KUBE-SVC-"), std::string::npos);
  EXPECT_TRUE(driver_->retry().ok());
  EXPECT_EQ(saved(true).find("KUBE-SVC-"), std::string::npos);
}

// While the rules were away datagrams went untranslated, and would for as long as they come.
TEST_F(OneDriver, DatagramFlowsOfTheTimeOfAFlushAreForgotten) {
  const ServiceTable table = every_kind_table();
  ASSERT_TRUE(driver_->apply(table, {}, true).ok());
  const SocketAddress client{Ip::v4(0x0a010009), 4000}, dns{Ip::v4(0x0a600001), 53};
  const TrackedFlow astray{Protocol::udp, client, dns, dns, client, 0};
  for (const bool verified : {false, true}) {
    conntrack_->add(astray);
    kernel_->flush();
    if (verified) {
      EXPECT_FALSE(driver_->verify(true)->empty());
    } else {
      EXPECT_TRUE(wait([&] { return conntrack_->all().empty(); }));
      EXPECT_TRUE(driver_->verify(false)->empty());
    }
    EXPECT_TRUE(conntrack_->all().empty());
  }
}

TEST_F(OneDriver, FlowsThatCannotBeForgottenAreReportedAndTriedAgain) {
  const ServiceTable table = every_kind_table();
  const SocketAddress client{Ip::v4(0x0a010009), 4000}, dns{Ip::v4(0x0a600001), 53};
  conntrack_->add({Protocol::udp, client, dns, dns, client, 0});
  conntrack_->fail_with("no buffer space");
  const std::vector<std::string> errors{"iptables: stale UDP flows stay: no buffer space"};
  EXPECT_EQ(driver_->apply(table, {}, true).errors, errors);
  EXPECT_EQ(driver_->retry().errors, errors);
  conntrack_->fail_with("");
  EXPECT_TRUE(driver_->retry().ok());
  EXPECT_TRUE(conntrack_->all().empty());
}

TEST_F(OneDriver, WhatTheCanaryCannotRepairIsSaidAndTriedAgain) {
  ASSERT_TRUE(driver_->apply(big_table(2, 2), {}, true).ok());
  kernel_->flush();
  kernel_->fail_call(0, IptablesFault::timeout);  // reads
  kernel_->fail_call(2, IptablesFault::refused);
  EXPECT_TRUE(wait([&] { return sink_.text().find("not repaired") != std::string::npos; }));
  EXPECT_TRUE(wait([&] { return driver_->verify(false)->empty(); }));
}

TEST(FaultsOnce, AFullTableIsSentInPiecesWhereTheProgramNeedsThem) {
  MemoryLogSink sink;
  Registry registry;
  net::EventLoop loop;
  auto owned = std::make_unique<FakeIptables>();
  FakeIptables& kernel = *owned;
  kernel.set_writes_at_once(60);
  const auto driver = make_iptables_driver({}, loop, Log(sink), registry, std::move(owned));
  api::SnapshotBuilder builder;
  const ServiceTable table = compile(*big_cluster(builder, 30, 3).snapshot, random_node());
  const ApplyReport report = driver->apply(table, {}, true);
  ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(kernel.restores(), 7u);  // 300 rules and what leads to them; one for IPv6
  EXPECT_EQ(driver->verify(false)->size(), 0u);
}

TEST(FakeIptables, RefusesWhatTheKernelRefuses) {
  FakeIptables kernel;
  const std::pair<const char*, const char*> cases[] = {
      {"-A X -j ACCEPT\n", "line 1: no table before: -A X -j ACCEPT"},
      {"*nat\n-A KUBE-X -j ACCEPT\nCOMMIT\n",
       "line 2: No chain/target/match by that name: -A KUBE-X -j ACCEPT"},
      {"*nat\n-A OUTPUT -j KUBE-X\nCOMMIT\n", "OUTPUT leads to KUBE-X, which is not there"},
      {"*nat\n-D OUTPUT -j ACCEPT\nCOMMIT\n",
       "line 2: Bad rule (does a matching rule exist?): -D OUTPUT -j ACCEPT"},
      {"*nat\n:KUBE-X - [0:0]\n-A KUBE-X -j ACCEPT\n-X KUBE-X\nCOMMIT\n",
       "line 4: Directory not empty: -X KUBE-X"},
      {"*nat\n", "line 2: COMMIT expected"},
      {"*other\nCOMMIT\n", "line 1: no table other"},
  };
  for (const auto& [input, said] : cases) {
    const auto done = kernel.restore(false, input);
    ASSERT_FALSE(done) << input;
    EXPECT_EQ(done.error().message, said);
  }
}

}  // namespace
}  // namespace fairlead::dataplane
