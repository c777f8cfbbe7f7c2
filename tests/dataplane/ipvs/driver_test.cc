// The IPVS driver over the fake kernel and, where this machine has one, over the real one: the same
// cases run on both.
#include "dataplane/ipvs/driver.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

enum class KernelKind { fake, real };

class IpvsDriver : public testing::TestWithParam<KernelKind> {
 protected:
  void SetUp() override {
    if (GetParam() == KernelKind::fake) {
      table_ = std::make_unique<FakeTable>();
      host_ = std::make_unique<FakeHost>();
      rules_ = std::make_unique<FakeNft>();
      return;
    }
    SKIP_WITHOUT_IPVS();
    netns_ = std::make_unique<FreshNetns>();
    table_ = make_kernel_table();
    host_ = make_kernel_host();
    rules_ = make_nft_runner();
  }

  std::unique_ptr<Driver> make_driver(IpvsOptions options = {}) {
    return around_.driver({std::make_unique<LentTable>(*table_), std::make_unique<LentHost>(*host_),
                           std::make_unique<LentRunner>(*rules_)},
                          std::move(options));
  }

  // What a driver that starts from nothing makes of the table.
  static std::string expected(const ServiceTable& table, IpvsOptions options = {}) {
    FakeKernel kernel;
    Around around;
    const auto driver = around.driver(kernel.doors(), std::move(options));
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    return driver->dump();
  }

  Around around_;
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<NftRunner> rules_;
};

INSTANTIATE_TEST_SUITE_P(Kernels, IpvsDriver, testing::Values(KernelKind::fake, KernelKind::real),
                         [](const auto& suite) {
                           return suite.param == KernelKind::fake ? "Fake" : "Real";
                         });

ServiceTable table_of(uint32_t services, uint32_t endpoints) {
  api::SnapshotBuilder builder;
  return compile(*big_cluster(builder, services, endpoints).snapshot, random_node());
}

ServiceTable table_from(std::string_view yaml, const NodeConfig& node = random_node()) {
  api::SnapshotBuilder builder;
  const auto put = put_yaml(builder, yaml);
  EXPECT_TRUE(put) << put.error().message;
  return compile(*builder.take().snapshot, node);
}

TEST_P(IpvsDriver, StartsFromNothing) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  EXPECT_EQ(driver->dump(), "");
  const ServiceTable table = table_of(2, 2);
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 2u);
  EXPECT_EQ(driver->dump(), R"(-A -t 10.96.0.0:80 -s rr
-a -t 10.96.0.0:80 -r 10.128.0.0:8080 -m -w 1
-a -t 10.96.0.0:80 -r 10.128.0.1:8080 -m -w 1
-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.128.0.64:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.128.0.65:8080 -m -w 1
address 10.96.0.0
address 10.96.0.1
filter4 10.96.0.0 . 6 . 80 : goto open
filter4 10.96.0.1 . 6 . 80 : goto open
hairpin4 10.128.0.0 . 10.128.0.0
hairpin4 10.128.0.64 . 10.128.0.64
masquerade4 10.96.0.0 . 6 . 80 : goto masquerade-by-source
masquerade4 10.96.0.1 . 6 . 80 : goto masquerade-by-source
vips4 10.96.0.0
vips4 10.96.0.1
)");
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(IpvsDriver, OneEndpointCostsOneMessage) {
  const auto driver = make_driver();
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 40, 4).snapshot, random_node());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  builder.put(std::make_shared<const api::EndpointSlice>(big_slice(7, 5)));
  auto tick = builder.take();
  auto changed = update(table, *tick.snapshot, tick.changes);
  const ApplyReport report = driver->apply(table, changed, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.writes, 1u);
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_EQ(driver->apply(table, changed, false).writes, 0u);
}

TEST_P(IpvsDriver, RandomStepsEndAsCompiledAnewAndAsReadBack) {
  const bool fake = GetParam() == KernelKind::fake;
  for (uint32_t seed = 1; seed <= (fake ? 5u : 1u); ++seed) {
    RandomCluster cluster(seed);
    const auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    ASSERT_TRUE(driver->start());
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    for (int step = 0; step < (fake ? 80 : 40); ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(table)) << "seed " << seed << " step " << step;
    }
    const auto drifts = driver->verify(false);
    ASSERT_TRUE(drifts) << drifts.error().message;
    EXPECT_TRUE(drifts->empty()) << drifts->front().what;
  }
}

TEST_P(IpvsDriver, ALaterRunTakesOverWithoutTouchingWhatIsRight) {
  const ServiceTable table = table_of(5, 4);
  ASSERT_TRUE(make_driver()->apply(table, {}, true).ok());
  const auto second = make_driver();
  ASSERT_TRUE(second->start());
  EXPECT_EQ(second->dump(), expected(table));
  EXPECT_EQ(second->apply(table, {}, true).writes, 0u);
  // What changed while nobody ran is sent as the difference.
  const auto third = make_driver();
  ASSERT_TRUE(third->start());
  ServiceTable later = table;
  auto& backends = later.services.at({"default", "s2"}).ports[0].backends;
  backends.erase(backends.begin());
  later.services.erase({"default", "s4"});
  const ApplyReport report = third->apply(later, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_LT(report.writes, 12u);
  EXPECT_EQ(third->dump(), expected(later));
}

TEST_P(IpvsDriver, OtherNodeSettingsReplaceTheRules) {
  ServiceTable table = table_of(3, 2);
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.local_pod_cidrs = {*Cidr::parse("10.7.0.0/16")};
  table.node.service_cidrs = {*Cidr::parse("10.96.0.0/12")};
  EXPECT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
  table.node.masquerade_all = true;
  EXPECT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(IpvsDriver, WhatOthersBreakIsNamedAndRepaired) {
  const ServiceTable table = table_of(3, 2);
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const ServiceKey key{Ip::v4(0x0a600001), Protocol::tcp, 80};
  const SocketAddress first{Ip::v4(0x0a800040), 8080}, stranger{Ip::v4(0x01020304), 5};
  struct Damage {
    std::function<Result<void>()> make;
    std::string_view said;
  };
  const Damage damages[] = {
      {[&] { return table_->write({.verb = Verb::delete_service, .key = key}); },
       "IPVS service 10.96.0.1:80/TCP is missing"},
      {[&] {
         return table_->write({.verb = Verb::edit_service, .key = key, .settings = {"wlc", 0, 0}});
       },
       "IPVS service 10.96.0.1:80/TCP has other settings"},
      {[&] {
         return table_->write({.verb = Verb::delete_destination, .key = key, .address = first});
       },
       "destination 10.128.0.64:8080 of 10.96.0.1:80/TCP is missing"},
      {[&] {
         return table_->write({.verb = Verb::edit_destination,
                               .key = key,
                               .address = first,
                               .destination = {.weight = 7}});
       },
       "destination 10.128.0.64:8080 of 10.96.0.1:80/TCP is changed"},
      {[&] {
         return table_->write({.verb = Verb::add_destination, .key = key, .address = stranger});
       },
       "destination 1.2.3.4:5 of 10.96.0.1:80/TCP is not in the table"},
      {[&] { return host_->remove(key.ip); }, "address 10.96.0.1 is not on kube-ipvs0"},
      {[&] { return host_->add(stranger.ip); },
       "address 1.2.3.4 on kube-ipvs0 belongs to no service"},
      {[&] { return rules_->run("delete table inet fairlead-ipvs\n"); },
       "table inet fairlead-ipvs: the rules are not those of fairlead"},
      {[&] { return rules_->run("add rule inet fairlead-ipvs check drop\n"); },
       "table inet fairlead-ipvs: the rules are not those of fairlead"},
      {[&] {
         return rules_->run("delete element inet fairlead-ipvs filter4 { 10.96.0.1 . 6 . 80 }\n");
       },
       "table inet fairlead-ipvs: filter4 element 10.96.0.1 . 6 . 80 is missing"},
  };
  for (const Damage& damage : damages) {
    ASSERT_TRUE(damage.make()) << damage.said;
    const auto seen = driver->verify(false);
    ASSERT_TRUE(seen) << seen.error().message;
    ASSERT_FALSE(seen->empty()) << damage.said;
    EXPECT_EQ(seen->front().what, damage.said);
    EXPECT_FALSE(seen->front().repaired);
    EXPECT_NE(seen->front().owner, "");
    const auto repaired = driver->verify(true);
    ASSERT_TRUE(repaired) << repaired.error().message;
    ASSERT_FALSE(repaired->empty());
    EXPECT_TRUE(repaired->front().repaired) << damage.said;
    EXPECT_EQ(driver->dump(), expected(table)) << damage.said;
    EXPECT_TRUE(driver->verify(false)->empty()) << damage.said;
    // A full apply repairs, too.
    ASSERT_TRUE(damage.make());
    EXPECT_TRUE(driver->apply(table, {}, true).ok());
    EXPECT_EQ(driver->dump(), expected(table)) << damage.said;
  }
}

TEST_P(IpvsDriver, ServicesOfOthersAreLeftAlone) {
  const ServiceKey foreign{Ip::v4(0xc0a80909), Protocol::udp, 53};
  ASSERT_TRUE(
      table_->write({.verb = Verb::add_service, .key = foreign, .settings = {"wlc", 0, 0}}));
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(table_of(2, 2), {}, true).ok());
  EXPECT_TRUE(driver->verify(true)->empty());
  ASSERT_TRUE(driver->apply(table_of(1, 1), {}, true).ok());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "-A -u 192.168.9.9:53 -s wlc\n");
}

TEST_P(IpvsDriver, CleanupOfALaterRunLeavesNothing) {
  ASSERT_TRUE(make_driver()->apply(table_of(3, 2), {}, true).ok());
  const auto second = make_driver();
  const auto cleaned = second->cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  EXPECT_EQ(second->dump(), "");
  EXPECT_TRUE(second->cleanup());  // again is no error
}

constexpr std::string_view every_kind = R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd96::1"]
  externalIPs: [203.0.113.9]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 600}}
  loadBalancerSourceRanges: [10.0.0.0/8, 10.1.0.0/16, 192.168.1.1/32, "2001:db8::/32"]
  healthCheckNodePort: 30999
  externalTrafficPolicy: Local
  ports:
  - {name: t, port: 80, nodePort: 30080}
  - {name: u, port: 80, nodePort: 30080, protocol: UDP}
  - {name: s, port: 80, nodePort: 30080, protocol: SCTP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports:
- {name: t, port: 8080}
- {name: u, port: 8080, protocol: UDP}
- {name: s, port: 8080, protocol: SCTP}
endpoints: [{addresses: [10.2.0.2], nodeName: elsewhere}]
)";

TEST_P(IpvsDriver, EveryKindOfFrontendAndProtocolHasItsEntries) {
  const NodeConfig node{"n", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.1.0.0/16")}};
  const ServiceTable table = table_from(every_kind, node);
  const auto driver = make_driver();
  const ApplyReport report = driver->apply(table, {}, true);
  ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  const std::string dump = driver->dump();
  EXPECT_EQ(dump, expected(table));
  for (const std::string_view line : {
           "-A -t 10.96.0.1:80 -s rr -p 600\n",
           "-a --sctp-service 10.96.0.1:80 -r 10.2.0.2:8080 -m -w 1\n",
           "-a -u 198.51.100.7:80 -r 10.2.0.2:8080 -m -w 1\n",
           "-A -t [fd96::1]:80 -s rr -p 600\n",
           "-a -t 192.168.0.1:30080 -r 10.2.0.2:8080 -m -w 1\n",
           "address 198.51.100.7\n",
           "address fd96::1\n",
           "filter4 10.96.0.1 . 6 . 80 : goto open\n",
           "filter4 192.168.0.1 . 132 . 30080 : goto insiders\n",
           "filter4 203.0.113.9 . 17 . 80 : goto insiders\n",
           "filter6 fd96::1 . 6 . 80 : goto refuse\n",
           "masquerade4 192.168.0.1 . 6 . 30080 : goto masquerade-node\n",
           "guarded4 198.51.100.7 . 6 . 80\n",
           "allowed4 198.51.100.7 . 6 . 80 . 10.0.0.0/8\n",
           "allowed4 198.51.100.7 . 17 . 80 . 192.168.1.1\n",
           "health 30999\n",
       }) {
    EXPECT_NE(dump.find(line), dump.npos) << line << dump;
  }
  EXPECT_EQ(dump.find("address 192.168.0.1\n"), dump.npos);
  EXPECT_EQ(dump.find("10.1.0.0/16"), dump.npos);  // inside 10.0.0.0/8
  ASSERT_TRUE(driver->apply(table_from("", node), {}, true).ok());
  EXPECT_EQ(driver->dump(), "");
}

TEST_P(IpvsDriver, EverySchedulerIsTaken) {
  ServiceTable table = table_of(2, 2);
  table.services.begin()->second.ports[0].algorithm = Algorithm::maglev;
  for (const std::string scheduler :
       {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf"}) {
    const auto driver = make_driver({.scheduler = scheduler});
    ASSERT_TRUE(driver->start());
    const ApplyReport report = driver->apply(table, {}, true);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    const std::string dump = driver->dump();
    EXPECT_EQ(dump, expected(table, {.scheduler = scheduler}));
    EXPECT_NE(dump.find("-A -t 10.96.0.0:80 -s mh -b mh-port\n"), dump.npos) << dump;
    EXPECT_NE(dump.find(cat("-A -t 10.96.0.1:80 -s ", scheduler,
                            scheduler == "mh" ? " -b mh-port" : "", "\n")),
              dump.npos)
        << dump;
  }
  EXPECT_EQ(
      make_driver({.scheduler = "best"})->start().error().message,
      "'best' is no IPVS scheduler: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, fo or "
      "ovf");
}

TEST_P(IpvsDriver, EntriesOfAServiceAreThoseOfItsTools) {
  const auto driver = make_driver();
  const ServiceTable table = table_of(2, 1);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(join(driver->kernel_entries({"default", "s1"}), "\n"),
            "ipvsadm -A -t 10.96.0.1:80 -s rr\n"
            "ipvsadm -a -t 10.96.0.1:80 -r 10.128.0.64:8080 -m -w 1\n"
            "nft inet fairlead-ipvs filter4 { 10.96.0.1 . 6 . 80 : goto open }\n"
            "nft inet fairlead-ipvs masquerade4 { 10.96.0.1 . 6 . 80 : goto "
            "masquerade-by-source }");
  EXPECT_TRUE(driver->kernel_entries({"default", "nobody"}).empty());
}

TEST_P(IpvsDriver, RetiredServicesTakeNoNewConnections) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(table_of(1, 1), {}, true).ok());
  const auto retired = driver->retire();
  ASSERT_TRUE(retired) << retired.error().message;
  EXPECT_NE(driver->dump().find("-w 0\n"), std::string::npos);
  EXPECT_TRUE(driver->drained());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
}

}  // namespace
}  // namespace fairlead::dataplane
