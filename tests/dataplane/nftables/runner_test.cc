// The door to the real nf_tables: how commands end, and how tables of all sorts are read.
#include "dataplane/nftables/runner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/text.h"
#include "dataplane/nftables/comparison.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane {
namespace {

class NftRunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    netns_ = std::make_unique<FreshNetns>();
    runner_ = make_nft_runner();
  }
  void run(const std::string& commands) {
    const auto done = runner_->run(commands);
    ASSERT_TRUE(done) << done.error().message << "\n" << commands;
  }
  std::string refusal(const std::string& commands) {
    const auto done = runner_->run(commands);
    return done ? "taken" : done.error().message;
  }
  NftTable table(const std::string& name = "t") {
    auto read = runner_->read_table(name);
    EXPECT_TRUE(read && *read);
    return read && *read ? std::move(**read) : NftTable();
  }

  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<NftRunner> runner_;
};

TEST_F(NftRunnerTest, WhatIsRefusedChangesNothingAndIsSaidBriefly) {
  run("add table inet t\nadd set inet t a { type ipv4_addr; }\n");
  const struct {
    std::string commands, said;
  } cases[] = {
      {"add element inet t a { 10.0.0.1 }\nadd element inet t b { 10.0.0.2 }\n", "No such file"},
      {"add element inet t a { 10.0.0.1 }\ndelete element inet t a { 10.0.0.9 }\n", "No such file"},
      {"add element inet t a { 10.0.0.1 }\nnonsense\n", "syntax error"},
      {"add element inet t a { fd00::1 }\n", "Error: "},
      {"delete chain inet t nobody\n", "No such file"},
  };
  for (const auto& one : cases) {
    const std::string said = refusal(one.commands);
    EXPECT_NE(said.find(one.said), said.npos) << said;
    EXPECT_EQ(said.find('\n'), said.npos) << said;
    EXPECT_TRUE(table().sets.at("a").empty()) << one.commands;
  }
  // The library quotes what it refuses.
  std::string many = "add element inet t a { ";
  for (int i = 0; i < 5000; ++i)
    append(many, cat(i == 0 ? "" : ", ", "10.1.", i / 250, ".", i % 250));
  EXPECT_LT(refusal(many + " }\ndelete element inet t a { 10.9.9.9 }\n").size(), 700u);
  EXPECT_EQ(refusal("add element inet t a { 10.0.0.1 }\n"), "taken")
      << "the next one is not harmed";
}

TEST_F(NftRunnerTest, ATableIsReadWithItsChainsRulesAndElements) {
  run("add table inet t\n"
      "add chain inet t c\nadd chain inet t d\nadd chain inet t unused\n"
      "add rule inet t c ip saddr { 10.0.0.1, 10.0.0.2 } drop\nadd rule inet t c drop\n"
      "add map inet t m { typeof ip daddr . meta l4proto . th dport : verdict; }\n"
      "add element inet t m { 10.0.0.1 . 6 . 80 : goto d, 10.0.0.2 . 17 . 53 : jump d, "
      "10.0.0.3 . 6 . 1 : drop }\n"
      "add set inet t i { type ipv4_addr; flags interval; auto-merge; }\n"
      "add element inet t i { 10.0.0.0/24, 10.0.1.0/24, 192.168.0.1 }\n"
      "add set inet t p { typeof ip daddr . ip saddr; flags interval; }\n"
      "add element inet t p { 10.0.0.1 . 10.0.0.0/8 }\n"
      "add set inet t marks { type mark; }\nadd element inet t marks { 7 }\n"
      "add set inet t learned { type ipv4_addr; flags dynamic,timeout; size 10; }\n");
  const NftTable read = table();
  EXPECT_EQ(read.chains, (decltype(read.chains){{"c", 2}, {"d", 0}, {"unused", 0}}));
  EXPECT_EQ(read.sets.size(), 4u) << "a rule's own set and what the kernel fills are left out";
  EXPECT_EQ(read.sets.at("m"), (NftSet{{"10.0.0.1 . 6 . 80", "goto d"},
                                       {"10.0.0.2 . 17 . 53", "jump d"},
                                       {"10.0.0.3 . 6 . 1", "verdict 0"}}));
  EXPECT_EQ(read.sets.at("i"), (NftSet{{"10.0.0.0-10.0.1.255", ""}, {"192.168.0.1", ""}}));
  EXPECT_EQ(read.sets.at("p"), (NftSet{{"10.0.0.1 . 10.0.0.0/8", ""}}));
  ASSERT_EQ(read.sets.at("marks").size(), 1u);
  EXPECT_TRUE(read.sets.at("marks").begin()->first.starts_with("0x"));
  EXPECT_EQ(runner_->read_set("t", "learned").value(), NftSet());
  EXPECT_EQ(runner_->read_set("t", "m").value(), read.sets.at("m"));
}

TEST_F(NftRunnerTest, WhatIsNotThereIsNothing) {
  EXPECT_FALSE(runner_->read_table("t").value().has_value());
  EXPECT_EQ(runner_->read_set("t", "a").value(), NftSet());
  run("add table inet t\n");
  EXPECT_EQ(runner_->read_set("t", "a").value(), NftSet());
  EXPECT_EQ(table(), NftTable());
  // Of another family.
  run("add table ip other\nadd set ip other a { type ipv4_addr; }\n");
  EXPECT_FALSE(runner_->read_table("other").value().has_value());
}

TEST_F(NftRunnerTest, OthersAreNamedWithTheirFamily) {
  run("add table inet t\n");
  EXPECT_EQ(nft::likely_owner(*runner_, "t"), "another user of nf_tables");
  run("add table ip t\nadd table ip6 six\nadd table bridge b\nadd table arp a\nadd table inet z\n"
      "add table netdev n\n");
  EXPECT_EQ(
      runner_->other_tables("t").value(),
      (std::vector<std::string>{"arp a", "bridge b", "inet z", "ip t", "ip6 six", "netdev n"}));
}

// A reader meets each state as a whole, while somebody else writes all the time.
TEST_F(NftRunnerTest, WhatIsReadIsOneMoment) {
  run("add table inet t\nadd set inet t a { type ipv4_addr; }\nadd set inet t b { type ipv4_addr; "
      "}\n");
  std::atomic<bool> stop = false;
  std::thread writer([&] {  // in the same namespace
    const auto other = make_nft_runner();
    for (int i = 1; !stop && i < 400; ++i) {
      std::string commands = "flush set inet t a\nflush set inet t b\n";
      for (const char set : {'a', 'b'}) {
        append(commands, cat("add element inet t ", std::string(1, set), " { 10.0.", i / 250, ".",
                             i % 250, " }\n"));
      }
      EXPECT_TRUE(other->run(commands));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  for (int i = 0; i < 60; ++i) {
    const auto read = runner_->read_table("t");
    if (!read) {
      EXPECT_NE(read.error().message.find("changed 10 times"), std::string::npos);
      continue;
    }
    EXPECT_EQ((*read)->sets.at("a"), (*read)->sets.at("b"));
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace fairlead::dataplane
