#include "agent/verifier.h"

#include <gtest/gtest.h>

#include "dataplane/fake_driver.h"

namespace fairlead::agent {
namespace {

using dataplane::Drift;

class DriftingDriver final : public dataplane::FakeDriver {
 public:
  Result<std::vector<Drift>> verify(bool repair) override {
    ++passes;
    if (!error.empty()) return fail(error);
    std::vector<Drift> found = drifts;
    for (Drift& drift : found) drift.repaired = repair;
    if (repair) drifts.clear();
    return found;
  }
  std::vector<Drift> drifts;
  std::string error;
  int passes = 0;
};

class VerifierTest : public ::testing::Test {
 protected:
  std::unique_ptr<Verifier> make(Duration interval, bool repair = true) {
    return std::make_unique<Verifier>(
        loop_, interval, repair, [this] { return ready_ ? &driver_ : nullptr; }, Log(sink_),
        registry_);
  }
  void run_for(Duration time) {
    const MonoTime end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) loop_.run_once(std::chrono::milliseconds(1));
  }
  bool metric(std::string_view line) const {
    return cat("\n", registry_.text()).find(cat("\n", line, "\n")) != std::string::npos;
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  DriftingDriver driver_;
  bool ready_ = true;
};

TEST_F(VerifierTest, FindsNamesAndRepairs) {
  driver_.drifts = {{"rule 7 is missing", "another user of nft", false},
                    {"map a: stray", "", false}};
  const auto verifier = make({});
  auto found = verifier->run(false);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size(), 2u);
  EXPECT_EQ(to_text(verifier->status().drifts[0]),
            "rule 7 is missing (owner: another user of nft; not repaired)");
  EXPECT_EQ(to_text(verifier->status().drifts[1]), "map a: stray (owner: unknown; not repaired)");
  EXPECT_NE(sink_.text().find("rule 7 is missing"), std::string::npos);
  found = verifier->run(true);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->at(0).repaired);
  ASSERT_TRUE(verifier->run(true));
  EXPECT_TRUE(verifier->status().drifts.empty());
  EXPECT_TRUE(metric("fairlead_proxy_verifies_total 3"));
  EXPECT_TRUE(metric("fairlead_proxy_drifts_total 4"));
  EXPECT_TRUE(metric("fairlead_proxy_drift_repairs_total 2"));
}

TEST_F(VerifierTest, RunsByItselfAndSaysAnErrorOnce) {
  driver_.error = "the kernel says no";
  const auto verifier = make(std::chrono::milliseconds(2));
  run_for(std::chrono::milliseconds(100));
  EXPECT_GT(driver_.passes, 2);
  EXPECT_EQ(verifier->status().error, "the kernel says no");
  const std::string text = sink_.text();
  EXPECT_EQ(text.find("the kernel says no"), text.rfind("the kernel says no"));
  driver_.error.clear();
  run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(verifier->status().error, "");
}

TEST_F(VerifierTest, DoesNothingByItselfWhenSwitchedOffOrNotInSync) {
  const auto off = make({});
  run_for(std::chrono::milliseconds(20));
  ready_ = false;
  const auto waiting = make(std::chrono::milliseconds(1));
  run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(driver_.passes, 0);
  const auto asked = waiting->run(true);
  ASSERT_FALSE(asked);
  EXPECT_NE(asked.error().message.find("not up to date"), std::string::npos);
}

TEST_F(VerifierTest, ManyDriftsAreCountedButNotAllToldToTheLog) {
  for (int i = 0; i < 25; ++i) driver_.drifts.push_back({cat("stray ", i, ";"), "", false});
  const auto verifier = make({});
  ASSERT_TRUE(verifier->run(true));
  EXPECT_TRUE(metric("fairlead_proxy_drifts_total 25"));
  EXPECT_TRUE(metric("fairlead_proxy_drift_repairs_total 25"));
  EXPECT_EQ(verifier->status().drifts.size(), 25u);
  EXPECT_NE(sink_.text().find("stray 19;"), std::string::npos);
  EXPECT_EQ(sink_.text().find("stray 20;"), std::string::npos);
  EXPECT_NE(sink_.text().find("more drifts count=5"), std::string::npos) << sink_.text();
}

TEST_F(VerifierTest, WhatCannotBeReadIsNotSaidToBeInOrder) {
  driver_.drifts = {{"x", "", false}};
  const auto verifier = make({});
  ASSERT_TRUE(verifier->run(false));
  driver_.error = "the kernel says no";
  EXPECT_FALSE(verifier->run(false));
  EXPECT_EQ(verifier->status().error, "the kernel says no");
  EXPECT_TRUE(verifier->status().drifts.empty()) << "nobody knows of them any more";
  driver_.error.clear();
  ASSERT_TRUE(verifier->run(false));
  EXPECT_EQ(verifier->status().error, "");
  EXPECT_EQ(verifier->status().drifts.size(), 1u);
}

TEST_F(VerifierTest, OnlyLooksWhenItMayNotRepair) {
  driver_.drifts = {{"x", "", false}};
  const auto verifier = make(std::chrono::milliseconds(2), false);
  run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(driver_.drifts.size(), 1u);
  ASSERT_EQ(verifier->status().drifts.size(), 1u);
  EXPECT_FALSE(verifier->status().drifts[0].repaired);
}

}  // namespace
}  // namespace fairlead::agent
