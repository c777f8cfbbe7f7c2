// Packets walked through the rules that the driver has written, in every style: what becomes of
// them is what resolve() says, each endpoint is as likely as the others, and few rules are tried.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/dataplane/flow_fates.h"
#include "tests/dataplane/iptables/kernels.h"
#include "tests/dataplane/iptables/rule_walk.h"
#include "tests/dataplane/service_range_table.h"

namespace fairlead::dataplane {
namespace {

// All flows of the table through the rules of a kernel. Returns their number.
size_t check_kernel(IptablesKernel& kernel, const ServiceTable& table) {
  size_t flows = 0;
  for (const bool ipv6 : {false, true}) {
    const RuleWalk rules(kernel.saved(ipv6), table.node.node_ips);
    flows += check_flows(table, ipv6, true,
                         [&](const WalkPacket& packet) { return rules.walk(packet).fates; });
  }
  return flows;
}

IptablesOptions styled(bool brief, bool tree) {
  IptablesOptions out;
  if (brief) out.brief_above = 0;
  if (tree) out.tree_above = 0;
  return out;
}

struct WalkCase {
  std::string name;
  KernelKind kind;
  IptablesOptions options;
  uint32_t seeds = 2;
  friend void PrintTo(const WalkCase& one, std::ostream* out) { *out << one.name; }
};

class Walks : public testing::TestWithParam<WalkCase> {
 protected:
  void SetUp() override {
    if (GetParam().kind != KernelKind::fake) SKIP_WITHOUT_NAMESPACES();
    kernel_ = std::make_unique<IptablesKernel>(GetParam().kind, GetParam().options);
    driver_ = kernel_->make_driver();
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed = {},
             bool full = true) {
    const ApplyReport report = driver_->apply(table, changed, full);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  }

  std::unique_ptr<IptablesKernel> kernel_;
  std::unique_ptr<Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(
    Styles, Walks,
    testing::Values(WalkCase{"Small", KernelKind::fake, {}},
                    WalkCase{"Brief", KernelKind::fake, styled(true, false)},
                    WalkCase{"Tree", KernelKind::fake, styled(false, true)},
                    WalkCase{"Large", KernelKind::fake, styled(true, true)},
                    WalkCase{"SmallNft", KernelKind::nft, {}, 1},
                    WalkCase{"LargeNft", KernelKind::nft, styled(true, true), 1},
                    WalkCase{"SmallLegacy", KernelKind::legacy, {}, 1},
                    WalkCase{"LargeLegacy", KernelKind::legacy, styled(true, true), 1}),
    [](const auto& suite) { return suite.param.name; });

TEST_P(Walks, EveryKindOfServiceOnEveryKindOfNode) {
  for (const auto& [name, change] : node_facts) {
    SCOPED_TRACE(name);
    ServiceTable table = every_kind_table();
    change(table.node);
    apply(table);
    EXPECT_GT(check_kernel(*kernel_, table), 150u);
    if (HasFailure()) return;
  }
}

TEST_P(Walks, RandomClustersThatChange) {
  walk_random_clusters(
      GetParam().seeds,
      [&](const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full) {
        apply(table, changed, full);
      },
      [&](const ServiceTable& table) { check_kernel(*kernel_, table); });
}

// An address of the node with a port that is also another Service's NodePort.
TEST_P(Walks, OneServiceHasAnAddressAndPortOfTheNode) {
  const auto rule = [](Frontend frontend, std::string_view backend) {
    PortRule out;
    out.frontends = {frontend};
    out.backends = {{*Ip::parse(backend), 8080, false}};
    return out;
  };
  const Ip mine = Ip::v4(0xc0a80001);
  PortRule guarded = rule({FrontendKind::load_balancer, mine, 30080}, "10.2.0.5");
  guarded.source_ranges = {*Cidr::parse("203.0.113.0/24")};
  PortRule local = rule({FrontendKind::external_ip, mine, 30080, true}, "10.2.0.6");
  local.if_empty = NoBackend::drop;
  PortRule empty = rule({FrontendKind::external_ip, mine, 30080}, "10.2.0.6");
  empty.backends.clear();
  const PortRule open = rule({FrontendKind::external_ip, mine, 30080}, "10.2.0.7");
  const PortRule port = rule({FrontendKind::node_port, Ip::v4(0), 30080}, "10.2.0.8");
  ServiceTable table;
  table.node = random_node();
  for (const PortRule& one : {guarded, local, empty, open}) {
    for (const bool first : {true, false}) {
      table.services.clear();
      table.services[{"default", first ? "a" : "c"}].ports = {one};
      table.services[{"default", "b"}].ports = {port};
      SCOPED_TRACE(to_text(table));
      apply(table);
      check_kernel(*kernel_, table);
    }
  }
}

TEST_P(Walks, ExternalAddressesInsideTheServiceRange) {
  ServiceTable table = table_of_addresses_inside_the_service_range();
  for (const char* range : {"10.96.0.0/16", "10.96.0.0/13", "10.97.0.0/16"}) {
    table.node.service_cidrs = {*Cidr::parse(range)};
    apply(table);
    check_kernel(*kernel_, table);
  }
}

// Services of every protocol with NodePorts at both ends of what there is.
TEST_P(Walks, NodePortsOfAllNumbers) {
  ServiceTable table;
  table.node = random_node();
  const uint16_t ports[] = {1, 15, 16, 255, 256, 4095, 4096, 30000, 30015, 30016, 32767, 65535};
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    for (const uint16_t port : ports) {
      for (const bool ipv6 : {false, true}) {
        PortRule rule;
        rule.protocol = protocol;
        rule.ipv6 = ipv6;
        rule.frontends = {{FrontendKind::node_port, ipv6 ? Ip{} : Ip::v4(0), port}};
        rule.backends = {{*Ip::parse(ipv6 ? "fd02::5" : "10.2.0.5"), port, false}};
        const std::string name = cat(to_lower(to_string(protocol)), "-", port, ipv6 ? "-6" : "");
        table.services[{"default", name}].ports = {rule};
      }
    }
  }
  apply(table);
  check_kernel(*kernel_, table);
  EXPECT_EQ(driver_->verify(false)->size(), 0u);
  // One after the other goes, in an order that empties chains early and late.
  ServiceTable less = table;
  size_t left = table.services.size();
  for (const auto& [key, entry] : table.services) {
    if (left-- % 3 == 0) continue;
    less.services.erase(key);
    apply(less, {key}, false);
  }
  check_kernel(*kernel_, less);
  EXPECT_EQ(driver_->verify(false)->size(), 0u);
  apply(
      table,
      [&] {
        std::set<api::ObjectKey> all;
        for (const auto& [key, entry] : table.services) all.insert(key);
        return all;
      }(),
      false);
  check_kernel(*kernel_, table);
  EXPECT_EQ(driver_->verify(false)->size(), 0u);
}

// Styles are what a cluster's size makes of them; flows do not see it.
TEST(WalksWhileGrowing, TheFlowsAreTheSameInEveryStyle) {
  IptablesOptions options;
  options.brief_above = 45;
  options.tree_above = 6;
  IptablesKernel kernel(KernelKind::fake, options);
  const auto driver = kernel.make_driver();
  std::set<api::ObjectKey> changed;
  for (int i = 0; i < 30; ++i) changed.insert({"default", cat("s", i)});
  size_t trees = 0;
  for (const uint32_t services : {0u, 3u, 5u, 12u, 25u, 9u, 4u, 1u, 7u, 0u}) {
    SCOPED_TRACE(services);
    ServiceTable table = every_kind_table();
    table.services.merge(big_table(services, 3).services);
    const ApplyReport report = driver->apply(table, changed, services == 0);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    check_kernel(kernel, table);
    trees += kernel.saved().find(":KUBE-NODEPORTS-tcp-7 ") != std::string::npos;
    IptablesKernel fresh(KernelKind::fake, options);
    const auto other = fresh.make_driver();
    ASSERT_TRUE(other->apply(table, {}, true).ok());
    EXPECT_EQ(driver->verify(false)->size(), 0u);
    // What is large stays so for a while.
    if (services != 9 && services != 4) {
      EXPECT_EQ(driver->dump(), other->dump());
    }
  }
  EXPECT_EQ(trees, 6u);
}

// How many rules of nat a new connection tries at most, its own Service's included: one rule for
// masquerade, one to three for the choice, two of the endpoint.
TEST(TriedRules, GrowWithTheClusterWhereItIsSmallOnly) {
  const struct {
    uint32_t services;
    bool large;
    size_t cluster_ip, node_port;
  } cases[] = {
      {10, false, 18, 31}, {10, true, 18, 55}, {600, false, 608, 1211}, {600, true, 40, 79}};
  for (const auto& one : cases) {
    SCOPED_TRACE(cat(one.services, one.large ? " large" : " small"));
    ServiceTable table = big_table(one.services, 3);
    uint16_t port = 30000;
    for (auto& [key, entry] : table.services) {
      entry.ports[0].frontends.push_back({FrontendKind::node_port, Ip::v4(0), port++});
    }
    IptablesKernel kernel(KernelKind::fake, styled(one.large, one.large));
    IptablesOptions never = styled(one.large, one.large);
    if (!one.large) never.brief_above = never.tree_above = SIZE_MAX;
    const auto driver = kernel.make_driver(never);
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    const RuleWalk rules(kernel.saved(), table.node.node_ips);
    size_t cluster_ip = 0, node_port = 0;
    const Ip outside = *Ip::parse("198.18.0.9");
    for (const auto& [key, entry] : table.services) {
      const auto& frontends = entry.ports[0].frontends;
      const auto tried = [&](const Ip& ip, uint16_t to) {
        const Walked walked = rules.walk({outside, ip, to, Protocol::tcp, false});
        EXPECT_EQ(walked.fates.size(), 3u) << text_of(walked.fates);
        return walked.nat_rules;
      };
      cluster_ip = std::max(cluster_ip, tried(frontends[0].ip, 80));
      node_port = std::max(node_port, tried(table.node.node_ips[0], frontends[1].port));
    }
    EXPECT_EQ(cluster_ip, one.cluster_ip);
    EXPECT_EQ(node_port, one.node_port);
  }
}

}  // namespace
}  // namespace fairlead::dataplane
