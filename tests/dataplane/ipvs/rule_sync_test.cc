// Which elements are sent before IPVS changes and which when it has, as a table: what lets less
// through, and what is looked up, comes first.
#include "dataplane/ipvs/rule_sync.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/nftables/fake_runner.h"

namespace fairlead::dataplane::ipvs {
namespace {

const ServiceKey key{*Ip::parse("10.96.0.1"), Protocol::tcp, 80};

// "open always 10.0.0.0/8": a gate, when to masquerade, who may dial. "": no claim.
std::optional<Claim> claim_of(std::string_view text) {
  constexpr std::string_view gates[] = {"open", "refuse", "discard", "insiders"};
  constexpr std::string_view masquerades[] = {"by-source", "always", "node"};
  if (text.empty()) return std::nullopt;
  Claim claim;
  for (const std::string_view word : split(text, ' ')) {
    for (size_t i = 0; i < std::size(gates); ++i) {
      if (word == gates[i]) claim.gate = static_cast<Gate>(i);
    }
    for (size_t i = 0; i < std::size(masquerades); ++i) {
      if (word == masquerades[i]) claim.masquerade = static_cast<Masquerade>(i);
    }
    if (const auto cidr = Cidr::parse(word)) claim.sources.push_back(*cidr);
  }
  return claim;
}

class IpvsRuleSync : public testing::Test {
 protected:
  void SetUp() override {
    sync_.set_node(NodeConfig());
    ASSERT_TRUE(sync_.load());
    EXPECT_FALSE(sync_.has_table());
    ASSERT_TRUE(sync_.before());
    ASSERT_TRUE(sync_.after());
  }

  // Commands without the table's name, and of elements without the key that all have.
  std::string sent(Result<size_t> (RuleSync::*half)()) {
    const size_t before = nft_.transactions();
    const auto done = (sync_.*half)();
    EXPECT_TRUE(done) << done.error().message;
    if (nft_.transactions() == before) {
      EXPECT_EQ(*done, 0u);
      return "";
    }
    std::string out;
    for (const std::string_view line : split(nft_.last_commands(), '\n')) {
      if (line.empty()) continue;
      std::string text(line);
      for (const std::string_view noise : {" element inet t", " 10.96.0.1 . 6 . 80"}) {
        if (const size_t at = text.find(noise); at != text.npos) text.erase(at, noise.size());
      }
      append(out, cat(text, "\n"));
    }
    return out;
  }
  void change(const std::optional<Claim>& from, const std::optional<Claim>& to) {
    sync_.change_claim(key, from ? &*from : nullptr, to ? &*to : nullptr);
  }

  MemoryLogSink sink_;
  FakeNft nft_;
  RuleSync sync_{{"t"}, nft_, Log(sink_)};
};

TEST_F(IpvsRuleSync, HalvesOfAChange) {
  struct Case {
    std::string_view from, to, before, after;
  };
  const Case cases[] = {
      {"", "open by-source",
       "add filter4 { : goto open }\nadd masquerade4 { : goto masquerade-by-source }\n", ""},
      {"", "refuse", "add filter4 { : goto refuse }\n", ""},
      {"open always", "", "", "delete filter4 { }\ndelete masquerade4 { }\n"},
      // The endpoints are not there yet.
      {"refuse", "open always", "add masquerade4 { : goto masquerade-always }\n",
       "delete filter4 { }\nadd filter4 { : goto open }\n"},
      {"insiders node", "open node", "", "delete filter4 { }\nadd filter4 { : goto open }\n"},
      // They are about to go.
      {"open always", "refuse", "delete filter4 { }\nadd filter4 { : goto refuse }\n",
       "delete masquerade4 { }\n"},
      {"open node", "insiders node", "delete filter4 { }\nadd filter4 { : goto insiders }\n", ""},
      {"discard", "refuse", "delete filter4 { }\nadd filter4 { : goto refuse }\n", ""},
      {"open always", "open node",
       "delete masquerade4 { }\nadd masquerade4 { : goto masquerade-node }\n", ""},
      // A guard comes with those whom it lets through, and goes before them.
      {"open always", "open always 10.0.0.0/8", "add allowed4 { . 10.0.0.0/8 }\nadd guarded4 { }\n",
       ""},
      {"open always 10.0.0.0/8", "open always", "",
       "delete allowed4 { . 10.0.0.0/8 }\n"
       "delete guarded4 { }\n"},
      {"open always 10.0.0.0/8 192.0.2.1/32", "open always 10.0.0.0/8 198.51.100.0/24",
       "add allowed4 { . 198.51.100.0/24 }\n", "delete allowed4 { . 192.0.2.1/32 }\n"},
      {"open always", "open always", "", ""},
      {"", "", "", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(cat("from '", c.from, "' to '", c.to, "'"));
    const auto from = claim_of(c.from), to = claim_of(c.to);
    change({}, from);
    sent(&RuleSync::before);
    sent(&RuleSync::after);
    change(from, to);
    EXPECT_EQ(sent(&RuleSync::before), c.before);
    EXPECT_EQ(sent(&RuleSync::after), c.after);
    EXPECT_EQ(sync_.own().contains(key), to.has_value());
    change(to, {});
    sent(&RuleSync::before);
    sent(&RuleSync::after);
    EXPECT_EQ(sync_.dump(), "");
  }
}

TEST_F(IpvsRuleSync, AChangeThatIsTakenBackSendsNothing) {
  const auto open = claim_of("open always");
  change({}, open);
  change(open, {});
  EXPECT_EQ(sent(&RuleSync::before), "");
  EXPECT_EQ(sent(&RuleSync::after), "");
}

TEST_F(IpvsRuleSync, AServiceThatDrainsIsRefusedAndStaysOurs) {
  change({}, claim_of("open always"));
  sent(&RuleSync::before);
  sent(&RuleSync::after);
  change(claim_of("open always"), {});
  EXPECT_EQ(sent(&RuleSync::before), "");
  sync_.set_draining(key, true);
  EXPECT_EQ(sent(&RuleSync::after),
            "delete filter4 { }\ndelete masquerade4 { }\nadd filter4 { : goto refuse }\n");
  EXPECT_TRUE(sync_.own().contains(key));
  sync_.set_draining(key, true);
  EXPECT_EQ(sent(&RuleSync::after), "");
  sync_.set_draining(key, false);
  EXPECT_EQ(sent(&RuleSync::after), "delete filter4 { }\n");
  EXPECT_FALSE(sync_.own().contains(key));
}

TEST_F(IpvsRuleSync, WhatSeveralServicesNeedStaysUntilTheLastOfThem) {
  const Extras both{{*Ip::parse("10.1.0.1"), *Ip::parse("fd00::1")}, 32000};
  const Extras one{{*Ip::parse("10.1.0.1")}, 0};
  sync_.change_extras(nullptr, &both);
  sync_.change_extras(nullptr, &one);
  EXPECT_EQ(sent(&RuleSync::before),
            "add hairpin4 { 10.1.0.1 . 10.1.0.1 }\nadd hairpin6 { fd00::1 . fd00::1 }\n"
            "add health { 32000 }\n");
  sync_.change_extras(&both, &one);
  EXPECT_EQ(sent(&RuleSync::after),
            "delete hairpin6 { fd00::1 . fd00::1 }\ndelete health { 32000 }\n");
  sync_.change_extras(&one, nullptr);
  EXPECT_EQ(sent(&RuleSync::after), "") << "the other has it, too";
  sync_.change_extras(&one, nullptr);
  EXPECT_EQ(sent(&RuleSync::after), "delete hairpin4 { 10.1.0.1 . 10.1.0.1 }\n");
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
