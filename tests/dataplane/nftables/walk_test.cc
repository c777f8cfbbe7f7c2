// Packets walked through the table that the driver has written: what becomes of them is what
// resolve() says, and each endpoint is as likely as the others.
#include <gtest/gtest.h>

#include "dataplane/capability.h"
#include "dataplane/compile.h"
#include "tests/dataplane/flow_fates.h"
#include "tests/dataplane/nftables/kernel.h"
#include "tests/dataplane/nftables/table_walk.h"
#include "tests/dataplane/service_range_table.h"

namespace fairlead::dataplane {
namespace {

class NftWalks : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) SKIP_WITHOUT_NAMESPACES();
    kernel_ = std::make_unique<NftKernel>(GetParam());
    driver_ = kernel_->make_driver();
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed = {},
             bool full = true) {
    const ApplyReport report = driver_->apply(table, changed, full);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  }
  size_t check(const ServiceTable& table) {
    const TableWalk rules(nft::Layout({}, table.node), kernel_->table());
    const bool localhost = can(Mode::nftables, Capability::localhost_node_ports);
    size_t flows = 0;
    for (const bool ipv6 : {false, true}) {
      flows += check_flows(table, ipv6, localhost,
                           [&](const WalkPacket& packet) { return rules.walk(packet); });
    }
    return flows;
  }

  std::unique_ptr<NftKernel> kernel_;
  std::unique_ptr<Driver> driver_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, NftWalks, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Real" : "Fake"; });

TEST_P(NftWalks, EveryKindOfServiceOnEveryKindOfNode) {
  for (const auto& [name, change] : node_facts) {
    SCOPED_TRACE(name);
    ServiceTable table = every_kind_table();
    change(table.node);
    apply(table);
    EXPECT_EQ(driver_->verify(false).value(), std::vector<Drift>());
    EXPECT_GT(check(table), 150u);
    if (HasFailure()) return;
  }
}

TEST_P(NftWalks, RandomClustersThatChange) {
  walk_random_clusters(
      GetParam() ? 1 : 3,
      [&](const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full) {
        apply(table, changed, full);
      },
      [&](const ServiceTable& table) { check(table); });
}

TEST_P(NftWalks, ExternalAddressesInsideTheServiceRange) {
  ServiceTable table = table_of_addresses_inside_the_service_range();
  for (const char* range : {"10.96.0.0/16", "10.96.0.0/13", "10.97.0.0/16"}) {
    table.node.service_cidrs = {*Cidr::parse(range)};
    apply(table);
    check(table);
  }
}

// Ranges that hold, cut and touch those of before: the kernel's set takes no two that overlap.
TEST_P(NftWalks, SourceRangesThatCutEachOther) {
  ServiceTable table = every_kind_table();
  const api::ObjectKey web{"default", "web"};
  const std::vector<std::vector<std::string_view>> steps = {
      {"203.0.113.0/24", "2001:db8:7::/64"},
      {"203.0.113.0/25", "203.0.113.128/25"},
      {"203.0.0.0/16", "203.0.113.9/32", "2001:db8::/32"},
      {"203.0.113.9/32", "2001:db8:7::1/128"},
      {"0.0.0.0/1", "192.168.0.0/16", "2001:db8:7::/64", "2001:db8:7::/65"},
      {"0.0.0.0/0"},
      {"128.0.0.0/1", "fd01::/64"},
      {"192.168.0.1/32", "fd01::1/128"},
  };
  apply(table);
  for (const auto& ranges : steps) {
    SCOPED_TRACE(ranges.front());
    for (PortRule& rule : table.services.at(web).ports) {
      rule.source_ranges.clear();
      for (const std::string_view range : ranges) {
        const Cidr cidr = *Cidr::parse(range);
        if (cidr.base.is_v4() != rule.ipv6) rule.source_ranges.push_back(cidr);
      }
    }
    apply(table, {web}, false);
    check(table);
    EXPECT_EQ(driver_->verify(false).value(), std::vector<Drift>());
  }
}

}  // namespace
}  // namespace fairlead::dataplane
