// Real packets through the iptables driver, both variants: what happens to each is what resolve()
// says.
#include <gtest/gtest.h>

#include "dataplane/iptables/driver.h"
#include "tests/dataplane/flow_lab.h"

namespace fairlead::dataplane {
namespace {

class IptablesPackets : public testing::TestWithParam<IptablesVariant> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>();
    table_ = FlowLab::table();
  }

  // A driver in the node's namespace, as a run of the agent would have.
  void apply(const ServiceTable& table) {
    lab_->net().in("node", [&] {
      IptablesOptions options;
      options.variant = GetParam();
      driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_);
      const auto started = driver_->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

INSTANTIATE_TEST_SUITE_P(Variants, IptablesPackets,
                         testing::Values(IptablesVariant::nft, IptablesVariant::legacy),
                         [](const auto& suite) {
                           return suite.param == IptablesVariant::nft ? "Nft" : "Legacy";
                         });

TEST_P(IptablesPackets, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_P(IptablesPackets, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_P(IptablesPackets, MasqueradeAllIsAsResolved) {
  table_.node.masquerade_all = true;
  apply(table_);
  lab_->check_matrix(table_);
}

}  // namespace
}  // namespace fairlead::dataplane
