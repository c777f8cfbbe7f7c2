// NodePorts on 127.0.0.1: route_localnet is on while its guard stands, and never without it.
#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

constexpr const char* route_localnet = "net/ipv4/conf/all/route_localnet";

class Localhost : public testing::TestWithParam<KernelKind> {
 protected:
  void SetUp() override {
    if (GetParam() != KernelKind::fake) SKIP_WITHOUT_NAMESPACES();
    kernel_ = std::make_unique<IptablesKernel>(GetParam());
  }
  std::unique_ptr<Driver> start() {
    auto driver = kernel_->make_driver();
    EXPECT_TRUE(driver->start());
    return driver;
  }
  static ServiceTable table(bool localhost) {
    ServiceTable out = big_table(1, 1);
    out.node.localhost_node_ports = localhost;
    return out;
  }
  // "routed, guarded" in any combination.
  std::string state() {
    std::string value = *kernel_->runner().set_sysctl(route_localnet, "1");
    EXPECT_TRUE(kernel_->runner().set_sysctl(route_localnet, value));
    const std::string rules = kernel_->saved();
    const bool guarded =
        rules.find("-A INPUT -j KUBE-PROXY-LOCALNET") != rules.npos &&
        rules.find("-A OUTPUT -j KUBE-PROXY-LOCALNET") != rules.npos &&
        rules.find("-A KUBE-PROXY-LOCALNET ! -s 127.0.0.0/8 -d 127.0.0.0/8") != rules.npos;
    return cat(value == "1" ? "routed" : "not routed", guarded ? ", guarded" : ", not guarded");
  }

  std::unique_ptr<IptablesKernel> kernel_;
};
std::string kernel_name(const testing::TestParamInfo<KernelKind>& info) {
  return info.param == KernelKind::fake ? "Fake" : info.param == KernelKind::nft ? "Nft" : "Legacy";
}
INSTANTIATE_TEST_SUITE_P(Kernels, Localhost,
                         testing::Values(KernelKind::fake, KernelKind::nft, KernelKind::legacy),
                         kernel_name);

TEST_P(Localhost, IsRoutedWhereNodePortsAnswerThere) {
  const auto driver = start();
  for (const bool localhost : {true, false, true}) {
    ASSERT_TRUE(driver->apply(table(localhost), {}, false).ok());
    EXPECT_EQ(state(), localhost ? "routed, guarded" : "not routed, not guarded");
    EXPECT_EQ(driver->verify(false)->size(), 0u);
  }
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(state(), "not routed, not guarded");
}

// The guard that it has left says that it was the one.
TEST_P(Localhost, WhatAnEarlierRunHasSwitchedOnIsSwitchedOff) {
  const std::pair<const char*, std::function<void()>> ends[] = {
      {"other settings", [&] { ASSERT_TRUE(start()->apply(table(false), {}, true).ok()); }},
      {"cleanup", [&] { ASSERT_TRUE(kernel_->make_driver()->cleanup()); }},
      {"cleanup after another run",
       [&] {
         const auto driver = start();
         ASSERT_TRUE(driver->apply(table(true), {}, true).ok());
         EXPECT_EQ(state(), "routed, guarded");
         ASSERT_TRUE(driver->cleanup());
       }},
      {"retirement",
       [&] {
         const auto driver = start();
         ASSERT_TRUE(driver->retire());
         EXPECT_EQ(state(), "routed, guarded");
         ASSERT_TRUE(driver->cleanup());
       }},
  };
  for (const auto& [name, end] : ends) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(start()->apply(table(true), {}, true).ok());
    EXPECT_EQ(state(), "routed, guarded");
    end();
    EXPECT_EQ(state(), "not routed, not guarded");
  }
}

TEST_P(Localhost, WhatOthersHaveSwitchedOnStaysOn) {
  ASSERT_TRUE(kernel_->runner().set_sysctl(route_localnet, "1"));
  const auto driver = start();
  for (const bool localhost : {false, true}) {
    ASSERT_TRUE(driver->apply(table(localhost), {}, true).ok());
    EXPECT_EQ(state(), localhost ? "routed, guarded" : "routed, not guarded");
  }
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(state(), "routed, not guarded");
}

// In memory, where a sysctl can fail.
class StuckLocalhost : public Localhost {
 protected:
  void SetUp() override {
    Localhost::SetUp();
    driver_ = start();
    ASSERT_TRUE(driver_->apply(table(true), {}, true).ok());
    kernel_->doors().at(0)->fail_after(0);
  }
  std::unique_ptr<Driver> driver_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, StuckLocalhost, testing::Values(KernelKind::fake), kernel_name);

TEST_P(StuckLocalhost, IsGuardedUntilItIsSwitchedOff) {
  for (const bool by_retry : {true, false}) {
    ApplyReport report = driver_->apply(table(false), {}, false);
    EXPECT_EQ(report.errors, std::vector<std::string>{"iptables: sysctl was to fail"});
    EXPECT_EQ(state(), "routed, guarded");
    kernel_->doors().at(0)->fail_after(0);
    EXPECT_EQ(driver_->retry().errors, report.errors);
    EXPECT_EQ(driver_->verify(true)->size(), 0u);
    EXPECT_EQ(state(), "routed, guarded");
    report = by_retry ? driver_->retry() : driver_->apply(table(false), {}, false);
    EXPECT_TRUE(report.ok()) << join(report.errors, "; ");
    EXPECT_EQ(state(), "not routed, not guarded");
    ASSERT_TRUE(driver_->apply(table(true), {}, false).ok());
    kernel_->doors().at(0)->fail_after(0);
  }
}

TEST_P(StuckLocalhost, KeepsItsGuardInACleanupThatFails) {
  kernel_->doors().at(0)->fail_after(1);  // IPv4 is read before
  EXPECT_EQ(driver_->cleanup().error().message, "sysctl was to fail");
  EXPECT_EQ(state(), "routed, guarded");
  ASSERT_TRUE(driver_->cleanup());
  EXPECT_EQ(state(), "not routed, not guarded");
}

}  // namespace
}  // namespace fairlead::dataplane
