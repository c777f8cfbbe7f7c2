// Large tables come and go in pieces, and a piece that fails leaves what the next run finishes.
#include "dataplane/iptables/removal.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/iptables/names.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

using ipt::Table;

TEST(RankOf, WhatLeadsOnComesFirst) {
  const std::vector<std::string> ways[] = {
      {"KUBE-SERVICES", "KUBE-SERVICES-5", "KUBE-SERVICES-a5", "KUBE-FW-AAAA", "KUBE-EXT-AAAA",
       "KUBE-SVC-AAAA", "KUBE-SEP-AAAA", "KUBE-MARK-MASQ"},
      {"KUBE-NODEPORTS", "KUBE-NODEPORTS-sctp-7", "KUBE-NODEPORTS-sctp-75",
       "KUBE-NODEPORTS-sctp-753", "KUBE-EXT-AAAA"},
  };
  for (const auto& way : ways) {
    for (size_t i = 1; i < way.size(); ++i) {
      EXPECT_LT(ipt::rank_of(way[i - 1]), ipt::rank_of(way[i])) << way[i];
    }
  }
  for (const char* first : {"KUBE-NODEPORTS", "KUBE-CLUSTER-IPS", "KUBE-POSTROUTING"}) {
    EXPECT_EQ(ipt::rank_of(first), 0) << first;
  }
  for (const char* last : {"KUBE-REJECT", "KUBE-MARK-OUTSIDE", "KUBE-PROXY-CANARY"}) {
    EXPECT_EQ(ipt::rank_of(last), ipt::last_rank) << last;
  }
  EXPECT_EQ(ipt::rank_of("KUBE-SVL-A"), ipt::rank_of("KUBE-SVC-A"));
  EXPECT_EQ(ipt::rank_of("KUBE-XLB-A"), ipt::rank_of("KUBE-EXT-A"));
}

TEST(RemoveChains, FillsInputsAndKeepsTheEndsWhole) {
  std::vector<std::pair<Table, std::string>> chains;
  for (const char* name : {"KUBE-MARK-MASQ", "KUBE-MARK-OUTSIDE", "KUBE-NODEPORTS", "KUBE-SEP-1",
                           "KUBE-SEP-2", "KUBE-SEP-3", "KUBE-SERVICES"}) {
    chains.emplace_back(Table::nat, name);
  }
  ipt::Removal inputs;
  remove_chains(chains, 1, inputs);
  std::vector<size_t> sizes;
  for (const auto& input : inputs) sizes.push_back(input.writes());
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 1, 1, 1, 2}));
  EXPECT_NE(inputs.back().text().find("-X KUBE-MARK-OUTSIDE"), std::string::npos);
  ipt::Removal one;
  remove_chains(chains, SIZE_MAX, one);
  EXPECT_EQ(one.size(), 1u);
}

class Pieces : public testing::TestWithParam<bool> {
 protected:
  Pieces() { kernel_.set_writes_at_once(20); }
  std::unique_ptr<Driver> make_driver() {
    IptablesOptions options;
    if (GetParam()) options.brief_above = options.tree_above = 0;
    return make_iptables_driver(options, loop_, Log(sink_), registry_,
                                std::make_unique<BorrowedIptables>(kernel_, counts_));
  }
  std::string saved() {
    std::string out;
    for (const bool ipv6 : {false, true}) {
      EXPECT_TRUE(kernel_.save(ipv6, [&](std::string_view line) { append(out, cat(line, "\n")); }));
    }
    return out;
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  FakeIptables kernel_;
  BorrowedIptables::Counts counts_;
};
INSTANTIATE_TEST_SUITE_P(Styles, Pieces, testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Large" : "Small"; });

TEST_P(Pieces, AllIsWrittenAndTakenAway) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(big_table(30, 3), {}, true).ok());
  EXPECT_GT(kernel_.restores(), 5u);
  EXPECT_EQ(driver->verify(false)->size(), 0u);
  const size_t before = kernel_.restores();
  const auto cleaned = driver->cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  EXPECT_GT(kernel_.restores(), before + 3);
  EXPECT_EQ(saved().find("KUBE-"), std::string::npos) << saved();
}

TEST_P(Pieces, ManyServicesThatGoAreManyInputs) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(big_table(60, 3), {}, true).ok());
  const size_t before = kernel_.restores();
  const ApplyReport report = make_driver()->apply(big_table(3, 3), {}, true);
  ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_GT(kernel_.restores(), before + 3);
  EXPECT_EQ(driver->dump(), [] {
    IptablesKernel other(KernelKind::fake, [] {
      IptablesOptions options;
      if (GetParam()) options.brief_above = options.tree_above = 0;
      return options;
    }());
    const auto fresh = other.make_driver();
    EXPECT_TRUE(fresh->apply(big_table(3, 3), {}, true).ok());
    return fresh->dump();
  }());
}

TEST_P(Pieces, ACleanupThatFailsOnTheWayIsFinishedByALaterRun) {
  size_t failed = 0;
  for (size_t call = 1; call < 12; ++call) {  // 0 reads the rules
    SCOPED_TRACE(call);
    kernel_ = FakeIptables();
    kernel_.set_writes_at_once(20);
    ASSERT_TRUE(make_driver()->apply(big_table(20, 3), {}, true).ok());
    kernel_.fail_call(call, call % 2 == 0 ? IptablesFault::refused : IptablesFault::killed_after);
    const auto first = make_driver()->cleanup();
    if (first) break;  // there were not so many calls
    ++failed;
    EXPECT_TRUE(first.error().message.starts_with("iptables: cleanup")) << first.error().message;
    // A program that has only just begun knows them for its own.
    ASSERT_TRUE(make_driver()->cleanup());
    EXPECT_EQ(saved().find("KUBE-"), std::string::npos) << saved();
  }
  EXPECT_GT(failed, 4u);
}

TEST_P(Pieces, RetirementKeepsTheTrackerAtWork) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(big_table(20, 3), {}, true).ok());
  ASSERT_TRUE(driver->prepare_retire("ebpf"));
  ASSERT_TRUE(driver->retire());
  EXPECT_NE(saved().find("keeps open connections tracked"), std::string::npos);
  EXPECT_EQ(saved().find("KUBE-SVC-"), std::string::npos);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(saved().find("KUBE-"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::dataplane
