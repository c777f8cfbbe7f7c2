// What drivers keep to whose rules are one table of nf_tables, as tests over the kernels of
// driver_contract.h. The driver_test.cc of such a mode includes this and instantiates
// NftTableContract, too.
#pragma once

#include <string>

#include "tests/dataplane/driver_contract.h"
#include "tests/dataplane/nft_table_kernel.h"

namespace fairlead::dataplane {

class NftTableContract : public DriverContract {
 protected:
  NftTableKernel& kernel() { return static_cast<NftTableKernel&>(*kernel_); }
  // "TABLE" is the driver's.
  Result<void> tamper(std::string commands) {
    for (size_t at; (at = commands.find("TABLE")) != commands.npos;) {
      commands.replace(at, 5, kernel().table_name());
    }
    return kernel().rules().run(commands);
  }
  bool was_said(std::string_view what) {
    return kernel().log().text().find(what) != std::string::npos;
  }
};

// Packets under way look up what is there now: the sets must not be made anew.
TEST_P(NftTableContract, OtherSettingsMakeTheRulesAgainAndTheSetsStay) {
  ServiceTable table = big_table(3, 2);
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  // Ranges that cut those of before, too.
  for (const std::string_view cidr : {"10.7.0.0/16", "10.6.0.0/15", "10.7.128.0/17", "fd01::/64"}) {
    table.node.local_pod_cidrs = {*Cidr::parse(cidr)};
    const ApplyReport report = driver->apply(table, {}, false);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    EXPECT_GT(report.writes, 0u);
    EXPECT_EQ(driver->dump(), expected(table));
    EXPECT_EQ(drifts(*driver, false), "");
  }
  EXPECT_FALSE(was_said("replacing the table"));
}

TEST_P(NftTableContract, RulesThatSomebodyTookAwayComeBackAndTheSetsStay) {
  const ServiceTable table = big_table(3, 2);
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  ASSERT_TRUE(tamper("flush table inet TABLE\nadd chain inet TABLE intruder\n"));
  const auto found = driver->verify(true);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_GT(found->size(), 1u);
  EXPECT_EQ(drifts(*driver, false), "");
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_TRUE(was_said("making the rules again"));
  EXPECT_FALSE(was_said("replacing the table"));
}

TEST_P(NftTableContract, ATableOfOtherSetsIsReplaced) {
  const ServiceTable table = big_table(3, 2);
  ASSERT_TRUE(start()->apply(table, {}, true).ok());
  ASSERT_TRUE(
      tamper("add set inet TABLE intruder { type ipv4_addr; }\n"
             "add element inet TABLE intruder { 10.0.0.1 }\n"));
  const auto second = start();
  EXPECT_TRUE(second->apply(table, {}, true).ok());
  EXPECT_TRUE(was_said("replacing the table"));
  EXPECT_EQ(drifts(*second, false), "");
  EXPECT_EQ(second->dump(), expected(table));
}

}  // namespace fairlead::dataplane
