// The iptables driver over the fake kernel and over both real variants: the same cases run on all.
#include "dataplane/iptables/driver.h"

#include "dataplane/iptables/names.h"
#include "tests/dataplane/driver_contract.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

template <KernelKind kind>
std::unique_ptr<ContractKernel> kernel_of() {
  return std::make_unique<IptablesKernel>(kind);
}

template <KernelKind kind>
ContractCase contract_case(std::string name, uint32_t seeds) {
  ContractCase out{std::move(name), kernel_of<kind>, kernel_of<KernelKind::fake>};
  if (kind != KernelKind::fake) out.missing = {&why_no_namespaces};
  // The service's chain (a masquerade rule and five endpoints) and the two rules of the new one.
  out.endpoint_writes = 8;
  out.later_writes = 23;  // six chains go, and one is written again
  out.seeds = seeds;
  out.steps = 50;
  return out;
}

// As for large clusters.
IptablesOptions large_options() {
  IptablesOptions out;
  out.brief_above = 0;
  out.tree_above = 0;
  return out;
}

template <KernelKind kind>
std::unique_ptr<ContractKernel> large_kernel_of() {
  return std::make_unique<IptablesKernel>(kind, large_options());
}

template <KernelKind kind>
ContractCase large_case(std::string name, uint32_t seeds) {
  ContractCase out = contract_case<kind>(std::move(name), seeds);
  out.make = large_kernel_of<kind>;
  out.make_fake = large_kernel_of<KernelKind::fake>;
  out.endpoint_writes = 6;  // the Service's chain alone
  return out;
}

const ContractCase on_fake = contract_case<KernelKind::fake>("Fake", 6);
const ContractCase on_nft = contract_case<KernelKind::nft>("Nft", 2);
const ContractCase on_legacy = contract_case<KernelKind::legacy>("Legacy", 2);
const auto all_kernels = testing::Values(on_fake, on_nft, on_legacy);

INSTANTIATE_TEST_SUITE_P(Kernels, DriverContract, all_kernels, contract_name);
INSTANTIATE_TEST_SUITE_P(Large, DriverContract,
                         testing::Values(large_case<KernelKind::fake>("Fake", 6),
                                         large_case<KernelKind::nft>("Nft", 1),
                                         large_case<KernelKind::legacy>("Legacy", 1)),
                         contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, DriverFaults, testing::Values(on_fake), contract_name);
INSTANTIATE_TEST_SUITE_P(Large, DriverFaults,
                         testing::Values(large_case<KernelKind::fake>("Fake", 6)), contract_name);

// What is this mode's alone.
class IptablesDriverTest : public DriverContract {
 protected:
  IptablesKernel& kernel() { return static_cast<IptablesKernel&>(*kernel_); }
  void tamper(const std::string& input) {
    const auto done = kernel().tamper(input);
    ASSERT_TRUE(done) << done.error().message << "\n" << input;
  }
  std::string saved(bool ipv6 = false) { return kernel().saved(ipv6); }
};
INSTANTIATE_TEST_SUITE_P(Kernels, IptablesDriverTest, all_kernels, contract_name);

constexpr std::string_view foreign_rules =
    "*filter\n:MINE - [0:0]\n-A INPUT -j MINE\n-A MINE -p tcp -m tcp --dport 22 -j ACCEPT\n"
    "-A FORWARD -j MINE\nCOMMIT\n";

TEST_P(IptablesDriverTest, ATableIsOneRestoreForEachFamily) {
  const auto driver = start();
  for (const bool masquerade_all : {false, true}) {
    ServiceTable table = every_kind_table();
    table.node.masquerade_all = masquerade_all;
    kernel().take_counts();
    const ApplyReport report = driver->apply(table, {}, true);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    EXPECT_EQ(report.services_changed, 2u);
    EXPECT_EQ(kernel().take_counts().restores, 2u);
    EXPECT_EQ(driver->dump(), expected(table));
    EXPECT_EQ(drifts(*driver, false), "");
  }
}

TEST_P(IptablesDriverTest, AChangeIsOneRestoreOfItsChainsAndNothingIsNone) {
  ServiceTable table = big_table(40, 4);
  auto& backends = table.services.at({"default", "s7"}).ports[0].backends;
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  backends.push_back({Ip::v4(0x0a020009), 8080, false});
  kernel().take_counts();
  for (const size_t restores : {1u, 0u}) {
    ASSERT_TRUE(driver->apply(table, {{"default", "s7"}}, false).ok());
    const auto counts = kernel().take_counts();
    EXPECT_EQ(counts.restores, restores);
    EXPECT_EQ(counts.saves, 0u);
    EXPECT_LT(counts.bytes, 2500u);
  }
  // And so for a later run.
  const auto second = start();
  ASSERT_TRUE(second->apply(table, {}, true).ok());
  EXPECT_EQ(kernel().take_counts().restores, 0u);
  const auto third = start();
  backends.erase(backends.begin());
  table.services.erase({"default", "s4"});
  ASSERT_TRUE(third->apply(table, {}, true).ok());
  EXPECT_EQ(kernel().take_counts().restores, 1u);
}

TEST_P(IptablesDriverTest, OthersAreTheFirstToAskAboutADrift) {
  const auto driver = start();
  apply(*driver, big_table(3, 2), {}, true);
  for (const auto& [make, said] : kernel().damages()) {
    ASSERT_TRUE(make());
    EXPECT_EQ(driver->verify(true)->front().owner, "another program that changes iptables rules")
        << said;
  }
}

TEST_P(IptablesDriverTest, ANewServiceWritesItsOwnRulesOnly) {
  const auto driver = kernel_->make_driver();
  ServiceTable table = big_table(40, 1);
  const ServiceTable all = table;
  table.services.erase({"default", "s20"});
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const ApplyReport added = driver->apply(all, {{"default", "s20"}}, false);
  EXPECT_TRUE(added.ok()) << join(added.errors, "\n");
  // Two rules of the endpoint, two of the choice, the dispatch rule, and the reject of other ports.
  EXPECT_EQ(added.writes, 6u);
  EXPECT_EQ(driver->dump(), expected(all));
  const ApplyReport removed = driver->apply(table, {{"default", "s20"}}, false);
  EXPECT_TRUE(removed.ok()) << join(removed.errors, "\n");
  EXPECT_EQ(removed.writes, 4u);  // two chains, two rules
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(IptablesDriverTest, RulesThatOtherNodeSettingsNeedComeAndGo) {
  ServiceTable table = every_kind_table();
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.local_pod_cidrs = {*Cidr::parse("10.7.0.0/16"), *Cidr::parse("10.8.0.0/16")};
  apply(*driver, table, {}, false);
  EXPECT_NE(saved().find("KUBE-MARK-OUTSIDE"), std::string::npos);
  table.node.local_pod_cidrs.clear();
  table.node.localhost_node_ports = false;
  table.node.node_ips = {Ip::v4(0xc0a80005)};
  apply(*driver, table, {}, false);
  const std::string rules = saved();
  EXPECT_EQ(rules.find("KUBE-MARK-OUTSIDE"), std::string::npos);
  EXPECT_EQ(rules.find("KUBE-PROXY-LOCALNET"), std::string::npos);
}

TEST_P(IptablesDriverTest, ForeignRulesStay) {
  tamper(std::string(foreign_rules));
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->cleanup());
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  EXPECT_NE(saved().find("-A MINE -p tcp -m tcp --dport 22 -j ACCEPT"), std::string::npos);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
  EXPECT_EQ(saved().find("KUBE"), std::string::npos) << saved();
  EXPECT_NE(saved().find("-A INPUT -j MINE"), std::string::npos);
  EXPECT_NE(saved().find("-A FORWARD -j MINE"), std::string::npos);
  EXPECT_EQ(saved(true).find("KUBE"), std::string::npos);
  ASSERT_TRUE(driver->cleanup());
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(every_kind_table()));
}

TEST_P(IptablesDriverTest, ARetiredDriverKeepsTheTrackerAtWorkUnlessTheNextOneDoes) {
  const ServiceTable table = big_table(2, 2);
  for (const std::string_view successor : {"userspace", "ebpf", "nftables", "ipvs"}) {
    const auto driver = kernel_->make_driver();
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    ASSERT_TRUE(driver->prepare_retire(successor));
    EXPECT_NE(driver->dump(), "");
    ASSERT_TRUE(driver->retire());
    EXPECT_EQ(driver->dump(), "") << "no Service is served";
    EXPECT_TRUE(driver->drained());
    const bool keeps = successor == "userspace" || successor == "ebpf";
    EXPECT_EQ(saved().find("keeps open connections tracked") != std::string::npos, keeps)
        << successor;
    EXPECT_EQ(saved().find("-j KUBE-SERVICES"), std::string::npos);
    // A later run knows it for its own, also after a kill.
    ASSERT_TRUE(kernel_->make_driver()->cleanup());
    EXPECT_EQ(saved().find("KUBE-"), std::string::npos);
  }
}

TEST_P(IptablesDriverTest, ARetiredDriverKeepsItsGuardOfLocalhost) {
  ServiceTable table = big_table(1, 1);
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  ASSERT_TRUE(driver->retire());
  EXPECT_NE(saved().find("-A INPUT -j KUBE-PROXY-LOCALNET"), std::string::npos);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(saved().find("KUBE-"), std::string::npos);
}

TEST_P(IptablesDriverTest, ChainsOfKubeProxyStayUntilTheyAreTakenOver) {
  tamper(
      "*nat\n:KUBE-PROXY-CANARY - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-OLD - [0:0]\n"
      "-A KUBE-SERVICES -d 10.96.0.9/32 -j KUBE-SVC-OLD\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n");
  const std::string before = saved();
  // As an agent in another mode does when it starts.
  ASSERT_TRUE(kernel_->make_driver()->cleanup());
  EXPECT_EQ(saved(), before);
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(big_table(2, 2), {}, true).ok());
  EXPECT_EQ(driver->dump(), expected(big_table(2, 2)));
  EXPECT_EQ(drifts(*driver, false), "");
  ASSERT_TRUE(kernel_->make_driver()->cleanup());  // a later run knows them by their canary
  EXPECT_EQ(saved().find("KUBE"), std::string::npos) << saved();
}

// Every packet passes a table that is there, whatever it holds.
TEST_P(IptablesDriverTest, NoTableIsMadeForNoRules) {
  const ServiceTable table = big_table(2, 2);
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(saved().find("*mangle"), std::string::npos) << saved();
  // An earlier version's, and somebody else's.
  tamper(cat("*mangle\n:KUBE-PROXY-CANARY - [0:0]\n:MINE - [0:0]\n-A KUBE-PROXY-CANARY ",
             ipt::canary_rule(), "\nCOMMIT\n"));
  EXPECT_NE(drifts(*driver, true).find("mangle KUBE-PROXY-CANARY belongs to no Service"),
            std::string::npos);
  std::string left = saved();
  left.erase(0, left.find("*mangle"));
  left.erase(left.find("COMMIT"));
  EXPECT_NE(left.find(":MINE"), std::string::npos);
  EXPECT_EQ(left.find("KUBE"), std::string::npos) << left;
}

TEST_P(IptablesDriverTest, ARefusedChangeIsHealedByAFullComparison) {
  ServiceTable table = big_table(5, 2);
  kernel().allow_refusals();
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  // Behind its back a service loses its rule: deleting it fails, and everything with it.
  tamper("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n");
  table.services.erase({"default", "s1"});
  kernel().take_counts();
  const ApplyReport report = driver->apply(table, {{"default", "s1"}}, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  const auto counts = kernel().take_counts();
  EXPECT_EQ(counts.restores, 2u);
  EXPECT_EQ(counts.saves, 1u);
  EXPECT_NE(kernel().log().text().find("a change was refused"), std::string::npos);
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(kernel()
                .registry()
                .counter("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", "")
                .value(),
            1u);
}

// The kernel removes no chain that somebody's rule leads to.
TEST_P(IptablesDriverTest, AChainThatOthersLeadToIsEmptied) {
  const std::string chain =
      ipt::chain_name(ipt::ChainKind::cluster, "default/s1:http", Protocol::tcp);
  const auto driver = kernel_->make_driver();
  const ServiceTable all = big_table(3, 2);
  ServiceTable table = all;
  apply(*driver, table, {}, true);
  tamper(cat("*nat\n:MINE - [0:0]\n-A MINE -j ", chain, "\nCOMMIT\n"));
  kernel().allow_refusals();
  table.services.erase({"default", "s1"});
  apply(*driver, table, {{"default", "s1"}}, false);
  EXPECT_NE(saved().find(cat(":", chain, " ")), std::string::npos);
  EXPECT_EQ(saved().find(cat("-A ", chain, " ")), std::string::npos);
  // It stands in nobody's way.
  table.services.erase({"default", "s2"});
  kernel().take_counts();
  apply(*driver, table, {{"default", "s2"}}, false);
  EXPECT_EQ(kernel().take_counts().restores, 1u);
  apply(*driver, all, {{"default", "s1"}, {"default", "s2"}}, false);
  EXPECT_NE(saved().find(cat("-A ", chain, " ")), std::string::npos);
}

TEST_P(IptablesDriverTest, WhatIsRefusedTwiceIsReportedAndRetried) {
  const ServiceTable table = big_table(2, 2);
  const auto driver = kernel_->make_driver();
  kernel().fail_restores(2);
  const ApplyReport report = driver->apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 2u);  // each family
  EXPECT_NE(report.errors[0].find("writes refused"), std::string::npos) << report.errors[0];
  const ApplyReport again = driver->retry();
  EXPECT_TRUE(again.ok()) << join(again.errors, "\n");
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(driver->retry().writes, 0u);
}

TEST_P(IptablesDriverTest, AFlushIsSeenByTheCanaryAndRepaired) {
  const ServiceTable table = big_table(3, 2);
  IptablesOptions options;
  options.canary_interval = std::chrono::milliseconds(5);
  const auto driver = kernel().make_driver(options);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  Counter& flushes = kernel().registry().counter("fairlead_iptables_flushes_total", "");
  for (int i = 0; i < 12; ++i) kernel().loop().run_once(std::chrono::milliseconds(20));
  EXPECT_EQ(flushes.value(), 0u);
  const std::string good = driver->dump();
  kernel().flush();
  for (int i = 0; i < 200 && flushes.value() == 0; ++i) {
    kernel().loop().run_once(std::chrono::milliseconds(20));
  }
  EXPECT_GE(flushes.value(), 1u);
  EXPECT_EQ(driver->dump(), good);
  EXPECT_NE(kernel().log().text().find("somebody flushed a table"), std::string::npos);
}

TEST_P(IptablesDriverTest, ACanaryThatCannotBeReadIsNoFlush) {
  IptablesOptions options;
  options.canary_interval = std::chrono::milliseconds(5);
  const auto driver = kernel().make_driver(options);
  ASSERT_TRUE(driver->apply(big_table(3, 2), {}, true).ok());
  kernel().take_counts();
  kernel().fail_lists(true);
  for (int i = 0; i < 20 && kernel().log().text().find("cannot look") == std::string::npos; ++i) {
    kernel().loop().run_once(std::chrono::milliseconds(20));
  }
  EXPECT_NE(kernel().log().text().find("cannot look for a flush reason=\"list was to fail\""),
            std::string::npos)
      << kernel().log().text();
  EXPECT_EQ(kernel().take_counts().restores, 0u);
}

TEST_P(IptablesDriverTest, KernelEntriesAreTheRulesOfTheService) {
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  const auto lines = driver->kernel_entries({"default", "empty"});
  const std::string text = join(lines, "\n");
  EXPECT_NE(text.find("iptables -t filter -A KUBE-SERVICES -d 10.96.0.2/32 -p tcp"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("10.96.0.1/32"), std::string::npos) << text;
  const std::string web = join(driver->kernel_entries({"default", "web"}), "\n");
  for (const std::string_view part :
       {"iptables -t nat -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp", "ip6tables -t nat -A KUBE-EXT-",
        "-j DNAT --to-destination 10.1.0.5:8080", "-j DNAT --to-destination [fd00::b05]:8080",
        "-m tcp --dport 32100 -j ACCEPT"}) {
    EXPECT_NE(web.find(part), std::string::npos) << part << "\n" << web;
  }
}

// The kernel keeps 255 bytes of a comment (XT_MAX_COMMENT_LEN), and a label may have 191.
TEST_P(IptablesDriverTest, TheLongestNamesFit) {
  ServiceTable table = every_kind_table();
  ServiceEntry entry = table.services.at({"default", "web"});
  for (PortRule& rule : entry.ports) {
    rule.port_name = cat(std::string(63 - 3, 'p'), rule.port_name);
    rule.if_empty = NoBackend::drop;
  }
  ServiceEntry empty = entry;
  for (PortRule& rule : empty.ports) rule.backends.clear();
  for (ServiceEntry one : {entry, empty}) {
    table.services = {{{std::string(63, 'n'), std::string(63, 's')}, std::move(one)}};
    const auto driver = start();
    apply(*driver, table, {}, true);
    EXPECT_EQ(start()->apply(table, {}, true).writes, 0u);
  }
}

TEST_P(IptablesDriverTest, LargeTablesHaveNoCommentsInEndpointChains) {
  IptablesOptions options;
  options.brief_above = 10;
  const auto driver = kernel().make_driver(options);
  ASSERT_TRUE(driver->apply(big_table(5, 4), {}, true).ok());
  EXPECT_NE(saved().find("default/s0:http cluster IP"), std::string::npos);
  EXPECT_EQ(saved().find("default/s0:http ->"), std::string::npos);
  EXPECT_EQ(drifts(*driver, false), "");
}

}  // namespace
}  // namespace fairlead::dataplane
