// The iptables driver over the fake kernel and over both real variants: the same cases run on all.
#include "dataplane/iptables/driver.h"

#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

class IptablesDriverTest : public OnKernel {};
INSTANTIATE_TEST_SUITE_P(Kernels, IptablesDriverTest, all_kernels(), kernel_name);

constexpr std::string_view foreign_rules =
    "*filter\n:MINE - [0:0]\n-A INPUT -j MINE\n-A MINE -p tcp -m tcp --dport 22 -j ACCEPT\n"
    "-A FORWARD -j MINE\nCOMMIT\n";

constexpr std::string_view every_kind = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  externalTrafficPolicy: Local
  healthCheckNodePort: 32100
  loadBalancerSourceRanges: [203.0.113.0/24, 192.168.0.0/16]
  clusterIPs: [10.96.0.1, "fd96::1"]
  clusterIP: 10.96.0.1
  externalIPs: [203.0.113.80, "2001:db8::80"]
  ports:
  - {name: http, port: 80, nodePort: 30080}
  - {name: dns, port: 53, nodePort: 30053, protocol: UDP}
  - {name: sig, port: 99, nodePort: 30099, protocol: SCTP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: empty}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [192.168.0.0/16]
  clusterIP: 10.96.0.2
  ports: [{port: 80, nodePort: 30081}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.2}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 53, protocol: UDP}, {name: sig, port: 99, protocol: SCTP}]
endpoints:
- {addresses: ["10.1.0.5"], nodeName: node-0}
- {addresses: ["10.2.0.5"], nodeName: node-b}
- {addresses: ["10.2.0.6"], nodeName: node-b}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-2, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 8080}, {name: dns, port: 53, protocol: UDP}, {name: sig, port: 99, protocol: SCTP}]
endpoints:
- {addresses: ["fd00::b05"], nodeName: node-b}
)";

ServiceTable every_kind_table() {
  api::SnapshotBuilder builder;
  const auto put = put_yaml(builder, every_kind);
  EXPECT_TRUE(put) << put.error().message;
  NodeConfig node = random_node();
  node.service_cidrs = {*Cidr::parse("10.96.0.0/16")};
  return compile(*builder.take().snapshot, node);
}

TEST_P(IptablesDriverTest, EveryKindOfRuleIsTakenAndReadBackAsWritten) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  EXPECT_EQ(driver->dump(), "");
  for (const bool masquerade_all : {false, true}) {
    ServiceTable table = every_kind_table();
    table.node.masquerade_all = masquerade_all;
    counts_ = {};
    const ApplyReport report = driver->apply(table, {}, true);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    EXPECT_EQ(report.services_changed, 2u);
    EXPECT_EQ(counts_.restores, 2u);  // one for each family
    EXPECT_EQ(driver->dump(), expected(table));
    const auto drifts = driver->verify(false);
    ASSERT_TRUE(drifts);
    for (const Drift& drift : *drifts) ADD_FAILURE() << drift.what;
  }
}

TEST_P(IptablesDriverTest, OneEndpointIsOneRestoreOfItsChains) {
  const auto driver = make_driver();
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 40, 4).snapshot, random_node());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  builder.put(std::make_shared<const api::EndpointSlice>(big_slice(7, 5)));
  auto tick = builder.take();
  auto changed = update(table, *tick.snapshot, tick.changes);
  counts_ = {};
  const ApplyReport report = driver->apply(table, changed, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 1u);
  EXPECT_EQ(counts_.restores, 1u);
  EXPECT_EQ(counts_.saves, 0u);
  // The service's chain (a masquerade rule and five endpoints) and the two rules of the new one.
  EXPECT_EQ(report.writes, 8u);
  EXPECT_LT(counts_.bytes, 2500u);
  EXPECT_EQ(driver->dump(), expected(table));
  // The same table again: nothing to send.
  EXPECT_EQ(driver->apply(table, changed, false).writes, 0u);
  EXPECT_EQ(counts_.restores, 1u);
}

TEST_P(IptablesDriverTest, ANewServiceWritesItsOwnRulesOnly) {
  const auto driver = make_driver();
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 40, 1).snapshot, random_node());
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

TEST_P(IptablesDriverTest, RandomStepsEndAsCompiledAnewAndAsReadBack) {
  const uint32_t seeds = GetParam() == KernelKind::fake ? 6 : 2;
  for (uint32_t seed = 1; seed <= seeds; ++seed) {
    RandomCluster cluster(seed);
    const auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    ASSERT_TRUE(driver->start());
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    for (int step = 0; step < 50; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(sink_.text().find("refused"), std::string::npos) << sink_.text();
      ASSERT_EQ(driver->dump(), expected(table)) << "seed " << seed << " step " << step;
    }
    ASSERT_EQ(driver->verify(false)->size(), 0u);
  }
}

TEST_P(IptablesDriverTest, ALaterRunTakesOverWithoutTouchingWhatIsRight) {
  const ServiceTable table = table_of(5, 4);
  ASSERT_TRUE(make_driver()->apply(table, {}, true).ok());
  counts_ = {};
  const auto second = make_driver();
  ASSERT_TRUE(second->start());
  EXPECT_EQ(second->apply(table, {}, true).writes, 0u);
  EXPECT_EQ(counts_.restores, 0u);
  // What changed while nobody ran is sent as the difference.
  const auto third = make_driver();
  ASSERT_TRUE(third->start());
  ServiceTable later = table;
  auto& backends = later.services.at({"default", "s2"}).ports[0].backends;
  backends.erase(backends.begin());
  later.services.erase({"default", "s4"});
  counts_ = {};
  EXPECT_TRUE(third->apply(later, {}, true).ok());
  EXPECT_EQ(counts_.restores, 1u);
  EXPECT_EQ(third->dump(), expected(later));
}

TEST_P(IptablesDriverTest, OtherNodeSettingsAreWrittenAtOnce) {
  ServiceTable table = every_kind_table();
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.local_pod_cidrs = {*Cidr::parse("10.7.0.0/16"), *Cidr::parse("10.8.0.0/16")};
  EXPECT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_NE(saved().find("KUBE-MARK-OUTSIDE"), std::string::npos);
  table.node.local_pod_cidrs.clear();
  table.node.localhost_node_ports = false;
  table.node.node_ips = {Ip::v4(0xc0a80005)};
  EXPECT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
  const std::string rules = saved();
  EXPECT_EQ(rules.find("KUBE-MARK-OUTSIDE"), std::string::npos);
  EXPECT_EQ(rules.find("KUBE-PROXY-LOCALNET"), std::string::npos);
  EXPECT_EQ(driver->verify(false)->size(), 0u);
}

TEST_P(IptablesDriverTest, ForeignRulesStayAndCleanupMayBeRepeated) {
  tamper(std::string(foreign_rules));
  const std::string before = saved();
  const auto driver = make_driver();
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
  const ServiceTable table = table_of(2, 2);
  for (const std::string_view successor : {"userspace", "ebpf", "nftables", "ipvs"}) {
    const auto driver = make_driver();
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
    ASSERT_TRUE(make_driver()->cleanup());
    EXPECT_EQ(saved().find("KUBE-"), std::string::npos);
  }
}

TEST_P(IptablesDriverTest, ARetiredDriverKeepsItsGuardOfLocalhost) {
  ServiceTable table = table_of(1, 1);
  const auto driver = make_driver();
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
  ASSERT_TRUE(make_driver()->cleanup());  // as an agent in another mode does when it starts
  EXPECT_EQ(saved(), before);
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(table_of(2, 2), {}, true).ok());
  EXPECT_EQ(driver->dump(), expected(table_of(2, 2)));
  EXPECT_EQ(driver->verify(false)->size(), 0u);
  ASSERT_TRUE(make_driver()->cleanup());  // a later run knows them by their canary
  EXPECT_EQ(saved().find("KUBE"), std::string::npos) << saved();
}

TEST_P(IptablesDriverTest, WhatOthersBreakIsNamedAndRepaired) {
  const ServiceTable table = every_kind_table();
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const std::string good = driver->dump();
  const struct {
    std::string damage, said;
  } cases[] = {
      {"*nat\n-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
       "COMMIT\n",
       "IPv4 nat PREROUTING does not lead to our chains as it should"},
      {"*nat\n-I KUBE-SERVICES -d 10.96.0.9/32 -j ACCEPT\nCOMMIT\n",
       "IPv4 nat KUBE-SERVICES has a rule too many: -d 10.96.0.9/32 -j ACCEPT"},
      {"*nat\n-A KUBE-SERVICES -j ACCEPT\nCOMMIT\n", "IPv4 nat KUBE-SERVICES"},
      {"*filter\n:KUBE-FORWARD - [0:0]\nCOMMIT\n", "IPv4 filter KUBE-FORWARD holds other rules"},
      {"*filter\n:KUBE-CLUSTER-IPS - [0:0]\nCOMMIT\n", "IPv4 filter KUBE-CLUSTER-IPS lacks: "},
      {"*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\nCOMMIT\n",
       "IPv4 nat KUBE-SVC-AAAAAAAAAAAAAAAA belongs to no Service"},
      {"*nat\n-A KUBE-MARK-MASQ -j RETURN\nCOMMIT\n", "IPv4 nat KUBE-MARK-MASQ holds other rules"},
  };
  for (const auto& one : cases) {
    tamper(one.damage);
    const auto seen = driver->verify(false);
    ASSERT_TRUE(seen) << seen.error().message;
    ASSERT_GE(seen->size(), 1u) << one.damage;
    EXPECT_EQ(seen->front().what.substr(0, one.said.size()), one.said);
    EXPECT_EQ(seen->front().owner, "another program that changes iptables rules");
    EXPECT_FALSE(seen->front().repaired);
    const auto repaired = driver->verify(true);
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_TRUE(repaired->front().repaired);
    EXPECT_EQ(driver->verify(false)->size(), 0u) << one.damage;
    EXPECT_EQ(driver->dump(), good) << one.damage;
  }
}

TEST_P(IptablesDriverTest, ARefusedChangeIsHealedByAFullComparison) {
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 5, 2).snapshot, random_node());
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  // Behind its back a service loses its rule: deleting it fails, and everything with it.
  tamper("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n");
  table.services.erase({"default", "s1"});
  counts_ = {};
  const ApplyReport report = driver->apply(table, {{"default", "s1"}}, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(counts_.restores, 2u);
  EXPECT_EQ(counts_.saves, 1u);
  EXPECT_NE(sink_.text().find("a change was refused"), std::string::npos);
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(
      registry_.counter("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", "")
          .value(),
      1u);
}

TEST_P(IptablesDriverTest, WhatIsRefusedTwiceIsReportedAndRetried) {
  const ServiceTable table = table_of(2, 2);
  const auto driver = make_driver();
  counts_.fail_restores = 2;
  const ApplyReport report = driver->apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 2u);  // each family
  EXPECT_NE(report.errors[0].find("writes refused"), std::string::npos) << report.errors[0];
  const ApplyReport again = driver->retry();
  EXPECT_TRUE(again.ok()) << join(again.errors, "\n");
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(driver->retry().writes, 0u);
}

TEST_P(IptablesDriverTest, AFlushIsSeenByTheCanaryAndRepaired) {
  const ServiceTable table = table_of(3, 2);
  IptablesOptions options;
  options.canary_interval = std::chrono::milliseconds(5);
  const auto driver = make_driver(options);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  Counter& flushes = registry_.counter("fairlead_iptables_flushes_total", "");
  for (int i = 0; i < 12; ++i) loop_.run_once(std::chrono::milliseconds(20));
  EXPECT_EQ(flushes.value(), 0u);
  const std::string good = driver->dump();
  if (GetParam() == KernelKind::fake) {
    static_cast<FakeIptables&>(*runner_).flush();
  } else {
    const std::string program = GetParam() == KernelKind::nft ? "iptables-nft" : "iptables-legacy";
    shell(cat(program, " -w 5 -t nat -F"));  // the chains stay: rules are gone
  }
  for (int i = 0; i < 200 && flushes.value() == 0; ++i) {
    loop_.run_once(std::chrono::milliseconds(20));
  }
  EXPECT_GE(flushes.value(), 1u);
  EXPECT_EQ(driver->dump(), good);
  EXPECT_NE(sink_.text().find("somebody flushed a table"), std::string::npos);
}

TEST_P(IptablesDriverTest, KernelEntriesAreTheRulesOfTheService) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  EXPECT_TRUE(driver->kernel_entries({"default", "none"}).empty());
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

TEST_P(IptablesDriverTest, LargeTablesHaveNoCommentsInEndpointChains) {
  IptablesOptions options;
  options.comments_up_to = 10;
  const auto driver = make_driver(options);
  ASSERT_TRUE(driver->apply(table_of(5, 4), {}, true).ok());
  EXPECT_NE(saved().find("default/s0:http cluster IP"), std::string::npos);
  EXPECT_EQ(saved().find("default/s0:http ->"), std::string::npos);
  EXPECT_EQ(driver->verify(false)->size(), 0u);
}

TEST_P(IptablesDriverTest, LocalhostIsRoutedOnceItsGuardStands) {
  const auto driver = make_driver();
  const auto value = [&] { return *runner_->set_sysctl("net/ipv4/conf/all/route_localnet", "1"); };
  ASSERT_TRUE(driver->apply(table_of(1, 1), {}, true).ok());
  EXPECT_EQ(value(), "1");
  EXPECT_NE(saved().find("-A KUBE-PROXY-LOCALNET ! -s 127.0.0.0/8 -d 127.0.0.0/8"),
            std::string::npos);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(value(), "0");
}

}  // namespace
}  // namespace fairlead::dataplane
