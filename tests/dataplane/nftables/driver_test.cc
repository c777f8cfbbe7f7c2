// The nftables driver over the kernel in memory and, where this machine has one, over the real one:
// the same cases run on both.
#include "dataplane/nftables/driver.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/nftables/desired.h"
#include "dataplane/nftables/kernel_state.h"
#include "tests/dataplane/nft_table_contract.h"
#include "tests/dataplane/nftables/kernel.h"

namespace fairlead::dataplane {
namespace {

std::unique_ptr<ContractKernel> fake_kernel() { return std::make_unique<NftKernel>(false); }
std::unique_ptr<ContractKernel> real_kernel() { return std::make_unique<NftKernel>(true); }

ContractCase contract_case(std::string name, std::unique_ptr<ContractKernel> (*make)(),
                           Missing missing) {
  ContractCase out{std::move(name), make, fake_kernel, missing};
  // The new slot, the service's chain (delete, add) and the chain for five backends.
  out.endpoint_writes = 4;
  return out;
}

const ContractCase on_fake = contract_case("Fake", fake_kernel, {});
const ContractCase on_real = contract_case("Real", real_kernel, {&why_no_namespaces});

INSTANTIATE_TEST_SUITE_P(Kernels, DriverContract, testing::Values(on_fake, on_real), contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, NftTableContract, testing::Values(on_fake, on_real),
                         contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, DriverFaults, testing::Values(on_fake), contract_name);

// What is this mode's alone.
class NftDriver : public DriverContract {
 protected:
  NftKernel& kernel() { return static_cast<NftKernel&>(*kernel_); }
};
INSTANTIATE_TEST_SUITE_P(Kernels, NftDriver, testing::Values(on_fake, on_real), contract_name);

TEST_P(NftDriver, ATableIsMadeInTwoTransactionsAndChangedInOne) {
  const auto driver = start();
  ServiceTable table = big_table(3, 4);
  apply(*driver, table, {}, true);
  // Addresses come when all packets find their rows: without one, they would be refused.
  EXPECT_EQ(kernel().take_transactions(), 2u);
  table.services.at({"default", "s1"}).ports[0].backends.pop_back();
  apply(*driver, table, {{"default", "s1"}}, false);
  EXPECT_EQ(kernel().take_transactions(), 1u);
  // Nothing to send is nothing sent, also by a later run.
  apply(*driver, table, {{"default", "s1"}}, false);
  apply(*start(), table, {}, true);
  EXPECT_EQ(kernel().take_transactions(), 0u);
}

TEST_P(NftDriver, OtherSettingsMakeTheRulesAgainInOneTransaction) {
  ServiceTable table = big_table(3, 2);
  ASSERT_TRUE(start()->apply(table, {}, true).ok());
  kernel().take_transactions();
  table.node.local_pod_cidrs.clear();
  const auto second = start();
  EXPECT_TRUE(second->apply(table, {}, true).ok());
  EXPECT_EQ(kernel().take_transactions(), 1u);
  EXPECT_EQ(second->dump(), expected(table));
  // And so does the running one, with ranges that cut those of before.
  for (const std::string_view cidr : {"10.7.0.0/16", "10.6.0.0/15", "10.7.128.0/17"}) {
    table.node.local_pod_cidrs = {*Cidr::parse(cidr)};
    EXPECT_TRUE(second->apply(table, {}, false).ok());
    EXPECT_EQ(kernel().take_transactions(), 1u);
    EXPECT_EQ(second->dump(), expected(table));
    EXPECT_EQ(second->verify(false).value(), std::vector<Drift>());
  }
  // Packets under way look up what is there now: the sets must not be made anew.
  EXPECT_EQ(kernel().log().text().find("replacing the table"), std::string::npos);
}

TEST_P(NftDriver, ARefusedTransactionIsReportedAndHealedByTheNext) {
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 5, 2).snapshot, random_node());
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  // Behind its back a service loses its row: deleting it fails, and everything with it.
  ASSERT_TRUE(
      kernel().runner().run("delete element inet fairlead services4 { 10.96.0.1 . 6 . 80 }\n"));
  table.services.erase({"default", "s1"});
  table.services.erase({"default", "s2"});
  const std::set<api::ObjectKey> changed{{"default", "s1"}, {"default", "s2"}};
  const ApplyReport report = driver->apply(table, changed, false);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_NE(report.errors[0].find("refused"), std::string::npos) << report.errors[0];
  EXPECT_NE(report.errors[0].find("No such file"), std::string::npos) << report.errors[0];
  EXPECT_NE(kernel().log().text().find("transaction refused"), std::string::npos);
  const ApplyReport again = driver->retry();
  EXPECT_TRUE(again.ok()) << join(again.errors, "\n");
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(driver->retry().writes, 0u);
}

// So that nobody needs the memory that one transaction of everything takes.
TEST_P(NftDriver, ABigTableThatServesNobodyYetIsMadeInStages) {
  const ServiceTable table = big_table(1500, 16);
  const auto driver = start();
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_GT(report.writes, 1500u * 17);
  const size_t transactions = kernel().take_transactions();
  EXPECT_GT(transactions, 1u);
  EXPECT_LT(transactions, 5u);
  EXPECT_EQ(drifts(*driver, false), "");
  // Replacing one that serves is still one transaction.
  ServiceTable other = table;
  other.node.local_pod_cidrs.clear();
  EXPECT_TRUE(driver->apply(other, {}, true).ok());
  EXPECT_EQ(kernel().take_transactions(), 1u);
}

TEST_P(NftDriver, ChainsThatNobodyUsesGoWithAFullApply) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(big_table(2, 3), {}, true).ok());
  ASSERT_TRUE(driver->apply(big_table(2, 5), {{"default", "s0"}, {"default", "s1"}}, false).ok());
  const auto chains = [&] { return nft::chains_in(kernel().table()); };
  EXPECT_EQ(chains().size(), 2u);
  ASSERT_TRUE(driver->apply(big_table(2, 5), {}, true).ok());
  EXPECT_EQ(chains(), (std::set<nft::ChainKey>{{nft::Action::internal, Protocol::tcp, false, 5}}));
}

TEST_P(NftDriver, OtherOwnersOfTablesAreTheFirstToAsk) {
  const auto driver = start();
  EXPECT_EQ(drifts(*driver, true), "");  // nothing was applied yet
  apply(*driver, big_table(3, 2), {}, true);
  ASSERT_TRUE(kernel().runner().run("delete table inet fairlead\n"));
  EXPECT_EQ(driver->verify(false)->front().owner, "another user of nf_tables");
  ASSERT_TRUE(kernel().runner().run("add table inet firewalld\n"));
  EXPECT_EQ(driver->verify(true)->front().owner,
            "another user of nf_tables; others have: inet firewalld");
  EXPECT_EQ(drifts(*driver, false), "");
}

TEST_P(NftDriver, KernelEntriesAreTheElementsOfAService) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  const auto lines = driver->kernel_entries({"default", "web"});
  const auto has = [&](std::string_view start) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.starts_with(start); });
  };
  EXPECT_TRUE(
      has("element inet fairlead services4 { 10.96.0.1 . 6 . 80 : goto "
          "internal-tcp4-3-sticky-60-"));
  EXPECT_TRUE(
      has("element inet fairlead outside4 { 198.51.100.1 . 6 . 80 : goto "
          "guarded-outside-tcp4-1-sticky-60-"));
  EXPECT_TRUE(
      has("element inet fairlead remember-outside4 { 192.168.0.1 . 6 . 30080 : goto "
          "remember-tcp4-60-"));
  EXPECT_TRUE(has("element inet fairlead ranges4 { 198.51.100.1 . 6 . 80 . 198.51.100.1/32 }"));
  EXPECT_FALSE(has("element inet fairlead ranges4 { 198.51.100.1 . 6 . 80 . 192.168.7.0/24 }"));
  EXPECT_TRUE(has("element inet fairlead tcp-backends4 { 198.51.100.1 . 80 . 65536 : 10.1.0.5"));
  EXPECT_TRUE(driver->kernel_entries({"default", "other"}).empty());
  // Both Services together have all that the sets hold which they name, and each other's nothing.
  std::map<std::string, std::set<std::string>> named;
  for (const char* service : {"web", "empty"}) {
    for (const std::string& line : driver->kernel_entries({"default", service})) {
      const std::string set = line.substr(22, line.find(' ', 22) - 22);  // "element inet fairlead "
      EXPECT_TRUE(named[set].insert(line).second) << line;
    }
  }
  const NftTable table = kernel().table();
  EXPECT_EQ(named.size(), 15u);  // seven of each family, and remember-outside4
  for (const auto& [set, elements] : named) {
    EXPECT_EQ(elements.size(), table.sets.at(set).size()) << set;
  }
}

TEST_P(NftDriver, ChainsOfARuleGoWithTheNextChange) {
  ServiceTable table = every_kind_table();
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const auto sticky = [&] {
    size_t count = 0;
    for (const auto& key : nft::chains_in(kernel().table())) {
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
  EXPECT_EQ(drifts(*driver, false), "");
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
  const auto driver = start();
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
  EXPECT_FALSE(driver->apply(big_table(2, 2), {}, true).ok());
  EXPECT_FALSE(driver->retry().ok());
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(registry.counter("fairlead_nftables_transaction_failures_total", "").value(), 2u);
  EXPECT_EQ(registry.counter("fairlead_nftables_transactions_total", "").value(), 2u);
  EXPECT_EQ(driver->mode(), "nftables");
}

// Each request of what is asked for fails once; asked for again, it is done.
TEST(NftDriverOnFake, WhatFailsIsSaidAndDoneWhenAskedAgain) {
  const struct {
    const char* name;
    std::function<Result<void>(Driver&)> ask;
    std::optional<bool> serves;  // then; nothing: as before
  } cases[] = {
      {"start", [](Driver& driver) { return driver.start(); }, {}},
      {"verify",
       [](Driver& driver) -> Result<void> {
         FL_TRY(const auto drifts, driver.verify(true));
         for (const Drift& drift : drifts) {
           if (!drift.repaired) return fail(drift.what);
         }
         return {};
       },
       true},
      {"retire", [](Driver& driver) { return driver.retire(); }, false},
      {"cleanup", [](Driver& driver) { return driver.cleanup(); }, false},
  };
  for (const auto& one : cases) {
    size_t failures = 0;
    for (size_t good = 0;; ++good) {
      SCOPED_TRACE(cat(one.name, " ", good));
      ASSERT_LT(good, 20u);
      MemoryLogSink sink;
      Registry registry;
      auto owned = std::make_unique<FakeNft>();
      FakeNft& kernel = *owned;
      const auto driver = make_nftables_driver({}, Log(sink), registry, std::move(owned));
      ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
      const std::string before = driver->dump();
      ASSERT_TRUE(
          kernel.tamper("delete element inet fairlead cluster-ips4 { 10.96.0.2 }\n"
                        "add chain inet fairlead stranger\n"));
      kernel.fail_after(good);
      const auto done = one.ask(*driver);
      if (!kernel.failed()) {
        EXPECT_TRUE(done);
        break;
      }
      ++failures;
      EXPECT_TRUE(!done || sink.text().find("reason=") != std::string::npos) << "in silence";
      ASSERT_TRUE(one.ask(*driver));
      if (one.serves) {
        EXPECT_EQ(driver->dump(), *one.serves ? before : "");
      }
      // And a later run makes everything of it again.
      ASSERT_TRUE(driver->start());
      ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
      EXPECT_EQ(driver->dump(), before);
      EXPECT_EQ(driver->verify(false).value(), std::vector<Drift>());
    }
    EXPECT_GT(failures, 0u);
  }
}

TEST(NftDriverOnFake, StaleDatagramFlowsGoAfterTheChange) {
  MemoryLogSink sink;
  Registry registry;
  auto owned = std::make_unique<net::FakeConntrack>();
  net::FakeConntrack& conntrack = *owned;
  const auto driver =
      make_nftables_driver({}, Log(sink), registry, std::make_unique<FakeNft>(), std::move(owned));
  ServiceTable table = big_table(2, 2);
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
  ServiceTable table = big_table(1, 1);
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
  EXPECT_TRUE(driver->apply(big_table(1, 1), {}, true).ok());
  EXPECT_NE(sink.text().find("replacing the table"), std::string::npos);
  EXPECT_EQ(driver->dump().substr(0, 12), "10.96.0.0:80");
}

}  // namespace
}  // namespace fairlead::dataplane
