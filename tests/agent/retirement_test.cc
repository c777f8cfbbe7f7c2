// Drivers on their way out: how long they stay, and what is said of those that will not go.
#include "agent/retirement.h"

#include <gtest/gtest.h>

#include "dataplane/fake_driver.h"

namespace fairlead::agent {
namespace {

struct Leaving {
  std::string mode;
  bool drained = true;
  std::string fail_retire, fail_cleanup;
  int cleanups = 0;
};

class LeavingDriver final : public dataplane::FakeDriver {
 public:
  explicit LeavingDriver(Leaving& state) : state_(state) {}
  std::string_view mode() const override { return state_.mode; }
  Result<void> retire() override {
    if (!state_.fail_retire.empty()) return fail(state_.fail_retire);
    return {};
  }
  bool drained() const override { return state_.drained; }
  Result<void> cleanup() override {
    ++state_.cleanups;
    if (!state_.fail_cleanup.empty()) return fail(state_.fail_cleanup);
    return {};
  }

 private:
  Leaving& state_;
};

class RetirementTest : public ::testing::Test {
 protected:
  void add(Leaving& state) { retirement_.add(std::make_unique<LeavingDriver>(state)); }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Retirement retirement_{loop_, std::chrono::minutes(5), Log(sink_)};
};

TEST_F(RetirementTest, WhatIsDrainedIsRemovedAtOnce) {
  Leaving ebpf{.mode = "ebpf"};
  add(ebpf);
  EXPECT_EQ(ebpf.cleanups, 1);
  EXPECT_FALSE(retirement_.holds("ebpf"));
  EXPECT_TRUE(retirement_.problems().empty());
}

TEST_F(RetirementTest, ADriverThatCannotRetireIsRemovedAllTheSame) {
  Leaving ebpf{.mode = "ebpf", .fail_retire = "a map is gone"};
  add(ebpf);
  EXPECT_EQ(ebpf.cleanups, 1);
  EXPECT_EQ(retirement_.problems(),
            std::vector<std::string>{"ebpf: could not be retired: a map is gone"});
}

TEST_F(RetirementTest, EachOneWaitsForItsOwnFlows) {
  Leaving ebpf{.mode = "ebpf", .drained = false}, ipvs{.mode = "ipvs", .drained = false};
  add(ebpf);
  add(ipvs);
  EXPECT_EQ(retirement_.status().size(), 2u);
  ipvs.drained = true;
  while (retirement_.holds("ipvs")) loop_.run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(ipvs.cleanups, 1);
  EXPECT_EQ(ebpf.cleanups, 0);
  EXPECT_TRUE(retirement_.holds("ebpf"));
}

TEST_F(RetirementTest, WhatIsReleasedStaysInTheKernel) {
  Leaving ebpf{.mode = "ebpf", .drained = false};
  add(ebpf);
  EXPECT_FALSE(retirement_.release("ipvs"));
  EXPECT_TRUE(retirement_.release("ebpf"));
  EXPECT_FALSE(retirement_.holds("ebpf"));
  EXPECT_TRUE(retirement_.status().empty());
  EXPECT_EQ(ebpf.cleanups, 0);
}

TEST_F(RetirementTest, NobodyIsWaitedForWithoutALimit) {
  Leaving ebpf{.mode = "ebpf", .drained = false};
  Retirement at_once(loop_, Duration{}, Log(sink_));
  at_once.add(std::make_unique<LeavingDriver>(ebpf));
  EXPECT_EQ(ebpf.cleanups, 1);
  EXPECT_NE(sink_.text().find("although it still carries flows"), std::string::npos);
}

TEST_F(RetirementTest, TheNewestProblemsAreKept) {
  for (int i = 0; i < 7; ++i) {
    Leaving one{.mode = "ebpf", .fail_cleanup = cat("fault ", i)};
    add(one);
  }
  ASSERT_EQ(retirement_.problems().size(), 5u);
  EXPECT_TRUE(retirement_.problems().front().ends_with("fault 2"));
  EXPECT_TRUE(retirement_.problems().back().ends_with("fault 6"));
}

}  // namespace
}  // namespace fairlead::agent
