// Random switches between modes whose drivers start, take tables, retire and clean up, or do not:
// at any time one mode is in force and has the table, and in the end nothing is left of the others.
#include <gtest/gtest.h>

#include <random>

#include "agent/proxy.h"
#include "dataplane/fake_driver.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::agent {
namespace {

using dataplane::Mode;

constexpr Mode modes[] = {Mode::ebpf, Mode::nftables, Mode::iptables, Mode::ipvs, Mode::userspace};

// What drivers have put into the one kernel that they share.
struct Kernel {
  std::set<Mode> present;   // has objects of this mode
  std::set<Mode> draining;  // retired, with flows
  std::set<Mode> broken;    // cannot start
  std::set<Mode> full;      // takes no table
  int started_twice = 0;
};

class KernelDriver final : public dataplane::FakeDriver {
 public:
  KernelDriver(Mode mode, Kernel& kernel) : mode_(mode), kernel_(kernel) {}
  std::string_view mode() const override { return to_string(mode_); }
  Result<void> start() override {
    // Flows of userspace mode are in the process: two of it would fight.
    if (mode_ == Mode::userspace && kernel_.draining.contains(mode_)) ++kernel_.started_twice;
    kernel_.present.insert(mode_);  // also when it then fails half way
    kernel_.draining.erase(mode_);
    if (kernel_.broken.contains(mode_)) return fail("no such thing here");
    return FakeDriver::start();
  }
  dataplane::ApplyReport apply(const dataplane::ServiceTable& table,
                               const std::set<api::ObjectKey>& changed, bool full) override {
    if (kernel_.full.contains(mode_)) return {.errors = {"full"}};
    return FakeDriver::apply(table, changed, full);
  }
  Result<void> retire() override {
    kernel_.draining.insert(mode_);
    return {};
  }
  bool drained() const override { return !kernel_.draining.contains(mode_); }
  Result<void> cleanup() override {
    kernel_.present.erase(mode_);
    kernel_.draining.erase(mode_);
    return FakeDriver::cleanup();
  }

 private:
  Mode mode_;
  Kernel& kernel_;
};

class SwitchProperty : public testing::TestWithParam<unsigned> {};

TEST_P(SwitchProperty, OneModeIsInForce) {
  std::minstd_rand random(GetParam());
  const auto upto = [&](unsigned most) {
    return std::uniform_int_distribution<unsigned>(0, most)(random);
  };
  const auto any = [&] { return modes[upto(4)]; };
  Kernel kernel;
  kernel.present = {any(), any()};  // left by earlier runs
  net::EventLoop loop;
  AgentConfig config;
  config.verify_interval = {};
  MemoryLogSink sink;
  Registry registry;
  const auto make = [&](Mode mode) { return std::make_unique<KernelDriver>(mode, kernel); };
  Proxy proxy(loop, config, "node-1", make(any()), "", Log(sink), registry, make);
  ASSERT_TRUE(proxy.start());
  api::SnapshotBuilder builder;
  const auto table_of = [](dataplane::Driver& driver) {
    return dynamic_cast<KernelDriver&>(driver).kernel();
  };
  const auto update = [&](unsigned services) {
    auto tick = dataplane::big_cluster(builder, services, 2);
    tick.changes.everything = true;
    proxy.update(*tick.snapshot, tick.changes);
  };
  update(1);
  loop.run_once(std::chrono::milliseconds(0));
  for (int round = 0; round < 80; ++round) {
    switch (upto(5)) {
      case 0:
        kernel.broken = {any()};
        break;
      case 1:
        kernel.full = {any()};
        kernel.full.erase(*dataplane::parse_mode(proxy.driver().mode()));
        break;
      case 2:
        kernel.broken.clear(), kernel.full.clear();
        break;
      case 3:
        kernel.draining.clear();  // their flows have ended
        break;
      case 4:
        update(1 + upto(3));
        break;
      default: {
        const std::string before(proxy.driver().mode());
        const Mode wanted = any();
        const bool done = proxy.switch_mode(wanted).has_value();
        EXPECT_EQ(proxy.driver().mode(), done ? to_string(wanted) : before);
      }
    }
    EXPECT_EQ(proxy.status().mode, proxy.driver().mode());
    EXPECT_EQ(to_text(table_of(proxy.driver())), to_text(proxy.table())) << round;
    EXPECT_TRUE(kernel.present.contains(*dataplane::parse_mode(proxy.driver().mode())));
    EXPECT_EQ(kernel.started_twice, 0);
  }
  kernel.draining.clear();
  for (int i = 0; i < 300 && !proxy.retirement().status().empty(); ++i) {
    loop.run_once(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(proxy.retirement().status().empty());
  EXPECT_EQ(kernel.present, std::set<Mode>{*dataplane::parse_mode(proxy.driver().mode())});
}

INSTANTIATE_TEST_SUITE_P(Seeds, SwitchProperty, testing::Range(1u, 21u));

}  // namespace
}  // namespace fairlead::agent
