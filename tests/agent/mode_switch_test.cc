// The switch to another mode on a running proxy, against drivers that note what is done to them.
#include <gtest/gtest.h>

#include "agent/proxy.h"
#include "dataplane/fake_driver.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::agent {
namespace {

using dataplane::Mode;

// What all drivers of a test have done, and how they shall behave.
struct Stage {
  std::vector<std::string> acts;  // "nftables start"
  std::string fail_start, fail_apply, fail_cleanup, fail_prepare;
  bool drained = true;

  std::string take() {
    std::string out = join(acts, ", ");
    acts.clear();
    return out;
  }
};

class StageDriver final : public dataplane::FakeDriver {
 public:
  StageDriver(Mode mode, Stage& stage) : mode_(mode), stage_(stage) {}
  std::string_view mode() const override { return to_string(mode_); }
  Result<void> start() override {
    note("start");
    if (!stage_.fail_start.empty()) return fail(stage_.fail_start);
    return FakeDriver::start();
  }
  dataplane::ApplyReport apply(const dataplane::ServiceTable& table,
                               const std::set<api::ObjectKey>& changed, bool full) override {
    note(full ? "apply all" : "apply");
    if (!stage_.fail_apply.empty()) return {.errors = {stage_.fail_apply, "more of it"}};
    return FakeDriver::apply(table, changed, full);
  }
  Result<void> prepare_retire(std::string_view successor) override {
    note(cat("prepares for ", successor));
    if (!stage_.fail_prepare.empty()) return fail(stage_.fail_prepare);
    return {};
  }
  void stay() override { note("stays"); }
  Result<void> retire() override {
    note("retire");
    return {};
  }
  bool drained() const override { return stage_.drained; }
  Result<void> cleanup() override {
    note("cleanup");
    if (!stage_.fail_cleanup.empty()) return fail(stage_.fail_cleanup);
    return FakeDriver::cleanup();
  }

 private:
  void note(std::string_view what) { stage_.acts.push_back(cat(mode(), ' ', what)); }

  Mode mode_;
  Stage& stage_;
};

class ModeSwitch : public ::testing::Test {
 protected:
  void SetUp() override { begin({Mode::ebpf, Mode::nftables}); }
  void begin(std::set<Mode> built_in) {
    const auto make = [this, built_in](Mode mode) -> std::unique_ptr<dataplane::Driver> {
      if (!built_in.contains(mode)) return nullptr;
      return std::make_unique<StageDriver>(mode, stage_);
    };
    config_.verify_interval = {};
    proxy_ = std::make_unique<Proxy>(loop_, config_, "node-1", make(Mode::ebpf), "as configured",
                                     Log(sink_), registry_, make);
    ASSERT_TRUE(proxy_->start());
  }
  void update() {
    auto tick = dataplane::big_cluster(builder_, 3, 2);
    tick.changes.everything = true;
    proxy_->update(*tick.snapshot, tick.changes);
  }
  // The table is in force, and what other modes left behind is gone.
  void settle() {
    update();
    turn();
    stage_.acts.clear();
  }
  void turn() { loop_.run_once(std::chrono::milliseconds(5)); }
  void run_until(const std::function<bool()>& done) {
    const MonoTime end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bool reached = done();
    while (!reached && std::chrono::steady_clock::now() < end) {
      turn();
      reached = done();
    }
    EXPECT_TRUE(reached);
  }
  const dataplane::ServiceTable& kernel() {
    return dynamic_cast<StageDriver&>(proxy_->driver()).kernel();
  }

  net::EventLoop loop_;
  AgentConfig config_;
  MemoryLogSink sink_;
  Registry registry_;
  Stage stage_;
  api::SnapshotBuilder builder_;
  std::unique_ptr<Proxy> proxy_;
};

TEST_F(ModeSwitch, TheNewModeIsInPlaceBeforeTheOldOneRetires) {
  settle();
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  EXPECT_EQ(
      stage_.take(),
      "ebpf prepares for nftables, nftables start, nftables apply all, ebpf retire, ebpf cleanup");
  EXPECT_EQ(proxy_->status().mode, "nftables");
  EXPECT_NE(proxy_->status().why.find("from ebpf"), std::string::npos);
  EXPECT_EQ(kernel().services, proxy_->table().services);
  EXPECT_TRUE(proxy_->retirement().status().empty());
  update();
  EXPECT_EQ(stage_.take(), "nftables apply all") << "later changes go to the new mode alone";
}

TEST_F(ModeSwitch, FlowsOfTheOldModeMayEnd) {
  settle();
  stage_.drained = false;
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  EXPECT_EQ(stage_.take(),
            "ebpf prepares for nftables, nftables start, nftables apply all, ebpf retire");
  ASSERT_EQ(proxy_->retirement().status().size(), 1u);
  EXPECT_NE(proxy_->retirement().status()[0].find("ebpf: until its flows end"), std::string::npos);
  stage_.drained = true;
  run_until([&] { return proxy_->retirement().status().empty(); });
  EXPECT_EQ(stage_.take(), "ebpf cleanup");
}

TEST_F(ModeSwitch, ThereIsALimitToWaiting) {
  config_.drain_limit = std::chrono::milliseconds(1);
  begin({Mode::ebpf, Mode::nftables});
  settle();
  stage_.drained = false;
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  run_until([&] { return proxy_->retirement().status().empty(); });
  EXPECT_NE(stage_.take().find("ebpf cleanup"), std::string::npos);
  EXPECT_NE(sink_.text().find("although it still carries flows"), std::string::npos);
}

TEST_F(ModeSwitch, ThereAndBackWhileTheOldOneDrainsTakesOverLikeARestart) {
  settle();
  stage_.drained = false;
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  stage_.take();
  ASSERT_TRUE(proxy_->switch_mode(Mode::ebpf));
  EXPECT_EQ(stage_.take(),
            "nftables prepares for ebpf, ebpf start, ebpf apply all, nftables retire")
      << "no cleanup of what ebpf still carries";
  EXPECT_EQ(proxy_->status().mode, "ebpf");
}

TEST_F(ModeSwitch, AModeWhoseFlowsAreInTheProcessIsNotStartedTwice) {
  begin({Mode::ebpf, Mode::userspace});
  settle();
  ASSERT_TRUE(proxy_->switch_mode(Mode::userspace));
  stage_.drained = false;
  ASSERT_TRUE(proxy_->switch_mode(Mode::ebpf));
  const auto again = proxy_->switch_mode(Mode::userspace);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("still carries flows"), std::string::npos);
  EXPECT_EQ(proxy_->status().mode, "ebpf");
}

TEST_F(ModeSwitch, AFailureLeavesTheOldModeAlone) {
  settle();
  stage_.fail_start = "no such table type";
  auto failed = proxy_->switch_mode(Mode::nftables);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message,
            "still in ebpf mode: nftables mode cannot start: no such table type");
  EXPECT_EQ(stage_.take(),
            "ebpf prepares for nftables, nftables start, nftables cleanup, ebpf stays");

  stage_.fail_start.clear();
  stage_.fail_apply = "the map is full";
  failed = proxy_->switch_mode(Mode::nftables);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message,
            "still in ebpf mode: nftables mode cannot take the table: the map is full (and 1 "
            "more)");
  EXPECT_EQ(stage_.take(),
            "ebpf prepares for nftables, nftables start, nftables apply all, nftables cleanup, "
            "ebpf stays");
  EXPECT_EQ(proxy_->status().mode, "ebpf");

  stage_.fail_apply.clear();
  update();
  EXPECT_EQ(stage_.take(), "ebpf apply all");
}

TEST_F(ModeSwitch, ASwitchIsMadeThoughOpenConnectionsMayEnd) {
  settle();
  stage_.fail_prepare = "no tracker here";
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  EXPECT_EQ(proxy_->status().mode, "nftables");
  EXPECT_NE(sink_.text().find("no tracker here"), std::string::npos);
}

TEST_F(ModeSwitch, AModeThatIsNotBuiltInIsSaidSo) {
  settle();
  const auto failed = proxy_->switch_mode(Mode::ipvs);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("built without it"), std::string::npos);
}

TEST_F(ModeSwitch, TheSameModeIsNothingToDo) {
  settle();
  EXPECT_TRUE(proxy_->switch_mode(Mode::ebpf));
  EXPECT_EQ(stage_.take(), "");
}

TEST_F(ModeSwitch, BeforeTheFirstTableThereIsNothingToSwitch) {
  EXPECT_FALSE(proxy_->switch_mode(Mode::nftables));
}

TEST_F(ModeSwitch, ACleanupThatFailsIsInTheStatus) {
  settle();
  stage_.fail_cleanup = "device busy";
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables));
  ASSERT_EQ(proxy_->retirement().problems().size(), 1u);
  EXPECT_EQ(proxy_->retirement().problems()[0], "ebpf: not all of it was removed: device busy");
}

TEST_F(ModeSwitch, WhatOtherModesLeftBehindIsRemovedAfterTheFirstTable) {
  EXPECT_EQ(stage_.take(), "ebpf start");
  update();
  EXPECT_EQ(stage_.take(), "ebpf apply all") << "first things first";
  turn();
  EXPECT_EQ(stage_.take(), "nftables cleanup");
  update();
  turn();
  EXPECT_EQ(stage_.take(), "ebpf apply all") << "once is enough";
}

TEST_F(ModeSwitch, AModeThatDrainsIsNoLeftover) {
  update();
  stage_.acts.clear();
  stage_.drained = false;
  ASSERT_TRUE(proxy_->switch_mode(Mode::nftables)) << "before anybody has tidied up";
  turn();
  EXPECT_EQ(stage_.take().find("cleanup"), std::string::npos);
  EXPECT_TRUE(proxy_->retirement().holds("ebpf"));
}

// A kernel without IPVS says so whenever one looks.
TEST_F(ModeSwitch, ALeftoverThatCannotBeLookedForIsNoProblem) {
  stage_.fail_cleanup = "no such module";
  settle();
  EXPECT_TRUE(proxy_->status().applied);
  EXPECT_TRUE(proxy_->status().last_report.ok());
  EXPECT_TRUE(proxy_->retirement().problems().empty());
}

TEST_F(ModeSwitch, ACleanupThatFailsDoesNotHideWhyTheSwitchDid) {
  settle();
  stage_.fail_start = "no such table type";
  stage_.fail_cleanup = "device busy";
  EXPECT_EQ(proxy_->switch_mode(Mode::nftables).error().message,
            "still in ebpf mode: nftables mode cannot start: no such table type");
  EXPECT_NE(sink_.text().find("device busy"), std::string::npos);
  stage_.fail_start.clear();
  stage_.fail_apply = "the map is full";
  EXPECT_NE(proxy_->switch_mode(Mode::nftables).error().message.find("the map is full"),
            std::string::npos);
}

TEST_F(ModeSwitch, NothingIsRemovedWhileTheFirstTableIsNotIn) {
  stage_.fail_apply = "no memory";
  update();
  turn();
  EXPECT_EQ(stage_.take().find("cleanup"), std::string::npos);
  stage_.fail_apply.clear();
  run_until([&] { return stage_.take().find("nftables cleanup") != std::string::npos; });
}

}  // namespace
}  // namespace fairlead::agent
