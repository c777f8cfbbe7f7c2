// The nftables driver over the fake kernel and, where this machine has one, over the real one:
// the same cases run on both.
#include "dataplane/nftables/driver.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/nftables/desired.h"
#include "dataplane/nftables/fake_runner.h"
#include "dataplane/nftables/kernel_state.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane {
namespace {

// Lends one runner to several drivers, one after the other, as runs of the agent share a kernel.
class Borrowed final : public NftRunner {
 public:
  explicit Borrowed(NftRunner& runner, size_t& transactions)
      : runner_(runner), transactions_(transactions) {}
  Result<void> run(const std::string& commands) override {
    ++transactions_;
    return runner_.run(commands);
  }
  Result<std::optional<std::string>> list_table(const std::string& name) override {
    return runner_.list_table(name);
  }
  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    return runner_.read_table(name);
  }
  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    return runner_.read_set(table, set);
  }
  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    return runner_.other_tables(name);
  }

 private:
  NftRunner& runner_;
  size_t& transactions_;
};

enum class KernelKind { fake, real };

class NftDriver : public testing::TestWithParam<KernelKind> {
 protected:
  void SetUp() override {
    if (GetParam() == KernelKind::fake) {
      runner_ = std::make_unique<FakeNft>();
      return;
    }
    SKIP_WITHOUT_NAMESPACES();
    netns_ = std::make_unique<FreshNetns>();
    runner_ = make_nft_runner();
  }

  std::unique_ptr<Driver> make_driver() {
    return make_nftables_driver({}, Log(sink_), registry_,
                                std::make_unique<Borrowed>(*runner_, transactions_));
  }

  // What a driver that starts from nothing makes of the table.
  static std::string expected(const ServiceTable& table) {
    MemoryLogSink sink;
    Registry registry;
    const auto driver = make_nftables_driver({}, Log(sink), registry, std::make_unique<FakeNft>());
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    return driver->dump();
  }

  MemoryLogSink sink_;
  Registry registry_;
  size_t transactions_ = 0;
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<NftRunner> runner_;
};

INSTANTIATE_TEST_SUITE_P(Kernels, NftDriver, testing::Values(KernelKind::fake, KernelKind::real),
                         [](const auto& suite) {
                           return suite.param == KernelKind::fake ? "Fake" : "Real";
                         });

ServiceTable table_of(uint32_t services, uint32_t endpoints) {
  api::SnapshotBuilder builder;
  return compile(*big_cluster(builder, services, endpoints).snapshot, random_node());
}

TEST_P(NftDriver, StartsFromNothing) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  EXPECT_EQ(driver->dump(), "");
  const ServiceTable table = table_of(3, 4);
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 3u);
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(transactions_, 1u);
}

TEST_P(NftDriver, OneEndpointCostsAFewWritesInOneTransaction) {
  const auto driver = make_driver();
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 40, 4).snapshot, random_node());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  builder.put(std::make_shared<const api::EndpointSlice>(big_slice(7, 5)));
  auto tick = builder.take();
  auto changed = update(table, *tick.snapshot, tick.changes);
  transactions_ = 0;
  const ApplyReport report = driver->apply(table, changed, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 1u);
  EXPECT_EQ(transactions_, 1u);
  // The new slot, the service's chain (delete, add) and the chain for five backends.
  EXPECT_EQ(report.writes, 4u);
  EXPECT_EQ(driver->dump(), expected(table));
  // The same table again: nothing to send.
  EXPECT_EQ(driver->apply(table, changed, false).writes, 0u);
  EXPECT_EQ(transactions_, 1u);
}

TEST_P(NftDriver, RandomStepsEndAsCompiledAnewAndAsReadBack) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    RandomCluster cluster(seed);
    const auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    ASSERT_TRUE(driver->start());
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    for (int step = 0; step < 60; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(table));
      const auto drifts = driver->verify(false);
      ASSERT_TRUE(drifts && drifts->empty());
    }
  }
}

TEST_P(NftDriver, ALaterRunTakesOverWithoutTouchingWhatIsRight) {
  const ServiceTable table = table_of(5, 4);
  ASSERT_TRUE(make_driver()->apply(table, {}, true).ok());
  transactions_ = 0;
  const auto second = make_driver();
  ASSERT_TRUE(second->start());
  EXPECT_EQ(second->apply(table, {}, true).writes, 0u);
  EXPECT_EQ(transactions_, 0u);
  // What changed while nobody ran is sent as the difference.
  const auto third = make_driver();
  ASSERT_TRUE(third->start());
  ServiceTable later = table;
  auto& backends = later.services.at({"default", "s2"}).ports[0].backends;
  backends.erase(backends.begin());
  later.services.erase({"default", "s4"});
  const ApplyReport report = third->apply(later, {}, true);
  EXPECT_TRUE(report.ok());
  EXPECT_LT(report.writes, 16u);
  EXPECT_EQ(third->dump(), expected(later));
}

TEST_P(NftDriver, OtherSettingsReplaceTheTableInOneTransaction) {
  ServiceTable table = table_of(3, 2);
  ASSERT_TRUE(make_driver()->apply(table, {}, true).ok());
  transactions_ = 0;
  table.node.local_pod_cidrs.clear();
  const auto second = make_driver();
  ASSERT_TRUE(second->start());
  EXPECT_TRUE(second->apply(table, {}, true).ok());
  EXPECT_EQ(transactions_, 1u);
  EXPECT_EQ(second->dump(), expected(table));
  // And so does the running one.
  table.node.local_pod_cidrs = {*Cidr::parse("10.7.0.0/16")};
  EXPECT_TRUE(second->apply(table, {}, false).ok());
  EXPECT_EQ(transactions_, 2u);
  EXPECT_EQ(second->dump(), expected(table));
}

TEST_P(NftDriver, ANewNodeAddressIsServedByTheNextApply) {
  api::SnapshotBuilder builder;
  ASSERT_TRUE(put_yaml(builder, R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}]}
)"));
  const auto tick = builder.take();
  NodeConfig node{"n", {Ip::v4(0xc0a80001)}, {}};
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(compile(*tick.snapshot, node), {}, true).ok());
  node.node_ips = {Ip::v4(0xc0a80005)};
  ASSERT_TRUE(driver->apply(compile(*tick.snapshot, node), {}, false).ok());
  EXPECT_EQ(
      driver->dump(),
      "10.96.0.1:80 TCP no-endpoint\n192.168.0.5:30080 TCP no-endpoint\ncluster-ip 10.96.0.1\n");
}

// `nft flush ruleset` by a firewall's restart, a rule too many, an element gone.
TEST_P(NftDriver, WhatOthersBreakIsRepaired) {
  const ServiceTable table = table_of(3, 2);
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const char* damages[] = {
      "delete table inet fairlead\n",
      "add rule inet fairlead prerouting drop\n",
      "delete element inet fairlead services4 { 10.96.0.1 . 6 . 80 }\n",
      "delete element inet fairlead tcp-backends4 { 10.96.0.1 . 80 . 0 }\n",
      ("delete element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 }\n"
       "add element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 : 1.2.3.4 . 5 }\n"),
      "add element inet fairlead hairpin4 { 9.9.9.9 . 9.9.9.9 }\n",
      "delete chain inet fairlead layout-x\n",
  };
  for (const char* damage : damages) {
    if (!runner_->run(damage)) continue;  // the last one: nothing happened
    EXPECT_TRUE(driver->apply(table, {}, true).ok()) << damage;
    EXPECT_EQ(driver->dump(), expected(table)) << damage;
  }
}

TEST_P(NftDriver, ARefusedTransactionIsReportedAndHealedByTheNext) {
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 5, 2).snapshot, random_node());
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  // Behind its back a service loses its row: deleting it fails, and everything with it.
  ASSERT_TRUE(runner_->run("delete element inet fairlead services4 { 10.96.0.1 . 6 . 80 }\n"));
  table.services.erase({"default", "s1"});
  table.services.erase({"default", "s2"});
  const std::set<api::ObjectKey> changed{{"default", "s1"}, {"default", "s2"}};
  const ApplyReport report = driver->apply(table, changed, false);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_NE(report.errors[0].find("refused"), std::string::npos) << report.errors[0];
  EXPECT_NE(report.errors[0].find("No such file"), std::string::npos) << report.errors[0];
  EXPECT_NE(sink_.text().find("transaction refused"), std::string::npos);
  const ApplyReport again = driver->retry();
  EXPECT_TRUE(again.ok()) << join(again.errors, "\n");
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(driver->retry().writes, 0u);
}

// So that nobody needs the memory that one transaction of everything takes.
TEST_P(NftDriver, ABigTableThatServesNobodyYetIsMadeInStages) {
  const ServiceTable table = table_of(1500, 16);
  const auto driver = make_driver();
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_GT(report.writes, 1500u * 17);
  EXPECT_GT(transactions_, 1u);
  EXPECT_LT(transactions_, 5u);
  const auto drifts = driver->verify(false);
  ASSERT_TRUE(drifts);
  EXPECT_TRUE(drifts->empty()) << drifts->front().what;
  // Replacing one that serves is still one transaction.
  transactions_ = 0;
  ServiceTable other = table;
  other.node.local_pod_cidrs.clear();
  EXPECT_TRUE(driver->apply(other, {}, true).ok());
  EXPECT_EQ(transactions_, 1u);
}

TEST_P(NftDriver, CleanupLeavesNothingAndMayBeRepeated) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->cleanup());
  const ServiceTable table = table_of(2, 2);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
  ASSERT_TRUE(driver->cleanup());
  ASSERT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(NftDriver, ChainsThatNobodyUsesGoWithAFullApply) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table_of(2, 3), {}, true).ok());
  ASSERT_TRUE(driver->apply(table_of(2, 5), {{"default", "s0"}, {"default", "s1"}}, false).ok());
  const auto chains = [&] { return nft::chains_in(**runner_->read_table("fairlead")); };
  EXPECT_EQ(chains().size(), 2u);
  ASSERT_TRUE(driver->apply(table_of(2, 5), {}, true).ok());
  EXPECT_EQ(chains(), (std::set<nft::ChainKey>{{nft::Action::internal, Protocol::tcp, false, 5}}));
}

std::string drift_text(const Result<std::vector<Drift>>& drifts) {
  if (!drifts) return drifts.error().message;
  std::string out;
  for (const Drift& drift : *drifts) append(out, cat(drift.what, drift.repaired ? "!\n" : "\n"));
  return out;
}

TEST_P(NftDriver, VerifyNamesWhatOthersDidAndPutsItRight) {
  const ServiceTable table = table_of(3, 2);
  const auto driver = make_driver();
  EXPECT_EQ(drift_text(driver->verify(true)), "");  // nothing was applied yet
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(drift_text(driver->verify(false)), "");
  struct Case {
    const char *damage, *drift;
  };
  const Case cases[] = {
      {"delete table inet fairlead\n", "table inet fairlead is missing"},
      {"add rule inet fairlead prerouting drop\n", "chain prerouting has 7 rules instead of 6"},
      {"add chain inet fairlead stranger\n", "chain stranger is foreign"},
      {"add set inet fairlead strangers { type ipv4_addr; }\n", "set strangers is foreign"},
      {"delete element inet fairlead services4 { 10.96.0.1 . 6 . 80 }\n",
       "set services4: 10.96.0.1 . 6 . 80 : goto internal-tcp4-2 is missing"},
      {"delete element inet fairlead tcp-backends4 { 10.96.0.1 . 80 . 0 }\n",
       "set tcp-backends4: 10.96.0.1 . 80 . 0 : 10.128.0.64 . 8080 is missing"},
      {"delete element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 }\n"
       "add element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 : 1.2.3.4 . 5 }\n",
       "set tcp-backends4: 10.96.0.2 . 80 . 1 is 1.2.3.4 . 5 instead of 10.128.0.129 . 8080"},
      {"add element inet fairlead hairpin4 { 9.9.9.9 . 9.9.9.9 }\n",
       "set hairpin4: 9.9.9.9 . 9.9.9.9 is foreign"},
      {"add element inet fairlead local_pods4 { 10.77.0.0-10.77.0.255 }\n",
       "set local_pods4: 10.77.0.0-10.77.0.255 is foreign"},
      {"delete element inet fairlead cluster-ips4 { 10.96.0.2 }\n",
       "set cluster-ips4: 10.96.0.2 is missing"},
      {"add element inet fairlead ranges4 { 10.96.0.2 . 6 . 80 . 10.0.0.0/8 }\n",
       "set ranges4: 10.96.0.2 . 6 . 80 . 10.0.0.0/8 is foreign"},
  };
  for (const Case& c : cases) {
    ASSERT_TRUE(runner_->run(c.damage)) << c.damage;
    EXPECT_EQ(drift_text(driver->verify(false)), cat(c.drift, "\n"));
    const auto repaired = driver->verify(true);
    EXPECT_EQ(drift_text(repaired), cat(c.drift, "!\n"));
    EXPECT_EQ(repaired->front().owner, "another user of nf_tables");
    EXPECT_EQ(drift_text(driver->verify(false)), "") << c.damage;
    EXPECT_EQ(driver->dump(), expected(table)) << c.damage;
  }
  ASSERT_TRUE(runner_->run("add table inet firewalld\ndelete table inet fairlead\n"));
  EXPECT_EQ(driver->verify(true)->front().owner,
            "another user of nf_tables; others have: inet firewalld");
  EXPECT_EQ(driver->dump(), expected(table));
}

constexpr std::string_view full_service = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  sessionAffinity: ClientIP
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [10.0.0.0/8, 10.1.0.0/16, 192.168.0.0/24]
  clusterIP: 10.96.0.1
  ports: [{port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: ["10.1.0.5"], nodeName: node-a}, {addresses: ["10.2.0.5"], nodeName: node-b}]
)";

ServiceTable full_table() {
  api::SnapshotBuilder builder;
  EXPECT_TRUE(put_yaml(builder, full_service));
  return compile(*builder.take().snapshot,
                 {"node-a", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.1.0.0/16")}});
}

TEST_P(NftDriver, KernelEntriesAreTheElementsOfAService) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(full_table(), {}, true).ok());
  const auto lines = driver->kernel_entries({"default", "web"});
  const auto has = [&](std::string_view start) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.starts_with(start); });
  };
  EXPECT_TRUE(
      has("element inet fairlead services4 { 10.96.0.1 . 6 . 80 : goto "
          "internal-tcp4-2-sticky-10800-"));
  EXPECT_TRUE(
      has("element inet fairlead outside4 { 203.0.113.1 . 6 . 80 : goto "
          "guarded-outside-tcp4-1-sticky-10800-"));
  EXPECT_TRUE(
      has("element inet fairlead remember-outside4 { 192.168.0.1 . 6 . 30080 : goto "
          "remember-tcp4-10800-"));
  EXPECT_TRUE(has("element inet fairlead ranges4 { 203.0.113.1 . 6 . 80 . 203.0.113.1/32 }"));
  EXPECT_FALSE(has("element inet fairlead ranges4 { 203.0.113.1 . 6 . 80 . 10.1.0.0/16 }"));
  EXPECT_TRUE(has("element inet fairlead tcp-backends4 { 203.0.113.1 . 80 . 65536 : 10.1.0.5"));
  EXPECT_TRUE(driver->kernel_entries({"default", "other"}).empty());
  // Each of them is there.
  const auto table = **runner_->read_table("fairlead");
  size_t elements = 0;
  for (const std::string_view set :
       {"services4", "outside4", "remember4", "remember-outside4", "ranges4", "tcp-backends4"}) {
    elements += table.sets.at(std::string(set)).size();
  }
  EXPECT_EQ(lines.size(), elements);
}

TEST_P(NftDriver, ChainsOfARuleGoWithTheNextChange) {
  ServiceTable table = full_table();
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const auto sticky = [&] {
    size_t count = 0;
    for (const auto& key : nft::chains_in(**runner_->read_table("fairlead"))) {
      count += key.affinity.timeout_s != 0;
    }
    return count;
  };
  const size_t before = sticky();
  const std::set<api::ObjectKey> web{{"default", "web"}};
  for (int i = 0; i < 6; ++i) {
    auto& backends = table.services.at({"default", "web"}).ports[0].backends;
    if (i % 2 == 0) {
      backends.push_back({Ip::v4(0x0a020009), 8080, false});
    } else {
      backends.pop_back();
    }
    ASSERT_TRUE(driver->apply(table, web, false).ok());
    EXPECT_LE(sticky(), 2 * before);
    EXPECT_EQ(driver->dump(), expected(table));
  }
  table.services.clear();
  ASSERT_TRUE(driver->apply(table, web, false).ok());
  ASSERT_TRUE(driver->apply(table, {{"default", "x"}}, false).ok());
  EXPECT_EQ(sticky(), 0u);
  EXPECT_EQ(drift_text(driver->verify(false)), "");
}

TEST_P(NftDriver, ARunAfterAnotherLeavesFullServicesAlone) {
  const ServiceTable table = full_table();
  ASSERT_TRUE(make_driver()->apply(table, {}, true).ok());
  transactions_ = 0;
  const auto second = make_driver();
  ASSERT_TRUE(second->start());
  EXPECT_EQ(second->apply(table, {}, true).writes, 0u);
  EXPECT_EQ(transactions_, 0u);
}

// Policy Local makes two rows of one address; both must belong to the Service that has it.
TEST_P(NftDriver, OneServiceHasBothRowsOfAnAddress) {
  api::SnapshotBuilder builder;
  const auto service = [](std::string_view name, std::string_view policy) {
    return cat(R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: )",
               name, "}\nspec: {clusterIP: 10.96.0.", name == "a" ? 1 : 2,
               ", externalIPs: [203.0.113.9], externalTrafficPolicy: ", policy,
               ", ports: [{port: 80}]}\n");
  };
  ASSERT_TRUE(put_yaml(builder, cat(service("a", "Cluster"), service("b", "Local"))));
  const auto tick = builder.take();
  const auto driver = make_driver();
  ServiceTable table = compile(*tick.snapshot, {"n", {}, {}});
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(driver->dump().find("203.0.113.9:80 TCP no-endpoint\n203.0.113.9:80"),
            std::string::npos);
  builder.erase(api::Kind::service, {"default", "a"});
  const auto next = builder.take();
  ASSERT_TRUE(driver->apply(table, update(table, *next.snapshot, next.changes), false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_NE(driver->dump().find("203.0.113.9:80 TCP no-endpoint\n203.0.113.9:80"),
            std::string::npos);
}

TEST(NftDriverOnFake, FailedTransactionsAreCountedAndRetried) {
  MemoryLogSink sink;
  Registry registry;
  auto owned = std::make_unique<FakeNft>();
  FakeNft& kernel = *owned;
  const auto driver = make_nftables_driver({}, Log(sink), registry, std::move(owned));
  kernel.fail_next(2);
  EXPECT_FALSE(driver->apply(table_of(2, 2), {}, true).ok());
  EXPECT_FALSE(driver->retry().ok());
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(registry.counter("fairlead_nftables_transaction_failures_total", "").value(), 2u);
  EXPECT_EQ(registry.counter("fairlead_nftables_transactions_total", "").value(), 1u);
  EXPECT_EQ(driver->mode(), "nftables");
}

TEST(NftDriverOnFake, StaleDatagramFlowsGoAfterTheChange) {
  MemoryLogSink sink;
  Registry registry;
  auto owned = std::make_unique<net::FakeConntrack>();
  net::FakeConntrack& conntrack = *owned;
  const auto driver =
      make_nftables_driver({}, Log(sink), registry, std::make_unique<FakeNft>(), std::move(owned));
  ServiceTable table = table_of(2, 2);
  PortRule& rule = table.services.at({"default", "s1"}).ports[0];
  rule.protocol = Protocol::udp;
  const auto flow = [&](size_t backend) {
    const Backend& to = rule.backends[backend];
    const SocketAddress client{Ip::v4(0x0a000001), static_cast<uint16_t>(1000 + backend)};
    return TrackedFlow{Protocol::udp,    client, {rule.frontends[0].ip, 80},
                       {to.ip, to.port}, client, 0};
  };
  const TrackedFlow stays = flow(0), goes = flow(1);
  conntrack.add(stays);
  conntrack.add(goes);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(conntrack.all().size(), 2u);
  const size_t reads = conntrack.reads();
  // A change of no datagram service lists no flows.
  table.services.at({"default", "s0"}).ports[0].backends.pop_back();
  ASSERT_TRUE(driver->apply(table, {{"default", "s0"}}, false).ok());
  EXPECT_EQ(conntrack.reads(), reads);
  rule.backends.pop_back();
  conntrack.fail_with("conntrack: no");
  EXPECT_EQ(driver->apply(table, {{"default", "s1"}}, false).errors,
            std::vector<std::string>{"conntrack: no"});
  conntrack.fail_with("");
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(conntrack.all(), std::set{stays});
  EXPECT_EQ(registry.counter("fairlead_nftables_stale_flows_removed_total", "").value(), 1u);
}

TEST(NftDriverOnFake, AServiceWithTooManyBackendsIsServedByTheFirstOnes) {
  MemoryLogSink sink;
  Registry registry;
  auto owned = std::make_unique<FakeNft>();
  FakeNft& kernel = *owned;
  const auto driver = make_nftables_driver({}, Log(sink), registry, std::move(owned));
  ServiceTable table = table_of(1, 1);
  auto& backends = table.services.begin()->second.ports[0].backends;
  for (uint32_t i = 0; i < 70'000; ++i) backends.push_back({Ip::v4(0x0b000000 + i), 80, false});
  const ApplyReport report = driver->apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0],
            "service default/s0: more than 65535 backends; the others get no connections");
  EXPECT_EQ(nft::rows_in(**kernel.read_table("fairlead")).begin()->second.slots.size(), 65535u);
}

TEST(NftDriverOnFake, ATableThatIsNotOursIsReplaced) {
  MemoryLogSink sink;
  Registry registry;
  auto owned = std::make_unique<FakeNft>();
  ASSERT_TRUE(
      owned->tamper("add table inet fairlead\nadd map inet fairlead services4 { }\n"
                    "add element inet fairlead services4 { 1.2.3.4 . 6 . 80 : 7 }\n"));
  const auto driver = make_nftables_driver({}, Log(sink), registry, std::move(owned));
  ASSERT_TRUE(driver->start());
  EXPECT_TRUE(driver->apply(table_of(1, 1), {}, true).ok());
  EXPECT_NE(sink.text().find("replacing the table"), std::string::npos);
  EXPECT_EQ(driver->dump().substr(0, 12), "10.96.0.0:80");
}

}  // namespace
}  // namespace fairlead::dataplane
