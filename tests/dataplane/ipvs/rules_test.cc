#include "dataplane/ipvs/rules.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/nftables/fake_runner.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane::ipvs {
namespace {

Elements sample(int services) {
  Elements elements;
  for (int i = 0; i < services; ++i) {
    Claim claim;
    claim.sources = {{*Cidr::parse("10.0.0.0/8"), *Cidr::parse("192.0.2.1/32")}};
    const Ip ip = Ip::v4(0x0a600000 + static_cast<uint32_t>(i));
    add_claim(elements, {ip, Protocol::tcp, 80}, claim);
    add_vip(elements, ip);
  }
  add_hairpin(elements, *Ip::parse("fd00::1"));
  add_health_port(elements, 30000);
  return elements;
}

size_t count_lines(const std::string& commands, std::string_view start) {
  size_t count = 0;
  for (const std::string_view line : split(commands, '\n')) count += line.starts_with(start);
  return count;
}

TEST(IpvsRules, TheNumberOfRulesIsConstant) {
  const RuleLayout layout("t", NodeConfig());
  const size_t rules = count_lines(layout.replace({}), "add rule");
  EXPECT_GT(rules, 20u);
  EXPECT_EQ(count_lines(layout.replace(sample(2000)), "add rule"), rules);
}

TEST(IpvsRules, WhatIsWrittenIsReadBack) {
  const RuleLayout layout("t", NodeConfig());
  FakeNft kernel;
  const Elements elements = sample(1200);
  ASSERT_TRUE(kernel.run(layout.replace(elements)));
  auto state = parse_rules(**kernel.list_table("t"));
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->elements, elements);
  EXPECT_TRUE(layout.matches(*state));
  EXPECT_EQ(own_keys(state->elements).size(), 1200u);
  ASSERT_TRUE(kernel.run(layout.remove(sample(1199))));
  ASSERT_TRUE(kernel.run("add rule inet t open drop\n"));
  state = parse_rules(**kernel.list_table("t"));
  ASSERT_TRUE(state);
  EXPECT_EQ(own_keys(state->elements).size(), 1u);
  EXPECT_FALSE(layout.matches(*state));
}

TEST(IpvsRules, TheKernelTakesThemAndSaysTheSame) {
  SKIP_WITHOUT_NAMESPACES();
  const FreshNetns netns;
  const auto kernel = make_nft_runner();
  NodeConfig node;
  node.local_pod_cidrs = {*Cidr::parse("10.1.0.0/16"), *Cidr::parse("fd00:1::/64")};
  node.service_cidrs = {*Cidr::parse("10.96.0.0/12"), *Cidr::parse("fd96::/112")};
  for (const bool masquerade_all : {false, true}) {
    node.masquerade_all = masquerade_all;
    const RuleLayout layout("t", node);
    const Elements elements = sample(600);
    const auto made = kernel->run(layout.replace(elements));
    ASSERT_TRUE(made) << made.error().message;
    const auto state = parse_rules(**kernel->list_table("t"));
    ASSERT_TRUE(state) << state.error().message;
    EXPECT_EQ(state->elements, elements);
    EXPECT_TRUE(layout.matches(*state));
    ASSERT_TRUE(kernel->run(layout.remove(elements)));
    EXPECT_TRUE(parse_rules(**kernel->list_table("t"))->elements.empty());
    const auto unhooked = kernel->run(layout.remove_hooks());
    EXPECT_TRUE(unhooked) << unhooked.error().message;
  }
}

TEST(IpvsRules, TheLabelIsOfWhatTheRulesSay) {
  NodeConfig node;
  const std::string plain = RuleLayout("t", node).label();
  node.node_ips = {Ip::v4(1)};  // elements, not rules
  EXPECT_EQ(RuleLayout("t", node).label(), plain);
  std::set<std::string> labels{plain};
  node.local_pod_cidrs = {*Cidr::parse("10.1.0.0/16")};
  labels.insert(RuleLayout("t", node).label());
  node.masquerade_all = true;
  labels.insert(RuleLayout("t", node).label());
  node.service_cidrs = {*Cidr::parse("10.96.0.0/12")};
  labels.insert(RuleLayout("t", node).label());
  EXPECT_EQ(labels.size(), 4u);
}

TEST(IpvsRules, TheKernelsFormsOfAnElementAreUnderstood) {
  const auto state = parse_rules(R"({"nftables": [
    {"metainfo": {"version": "1.0.6"}},
    {"set": {"name": "vips4", "elem": ["10.96.0.1", {"concat": ["10.96.0.2"]}]}},
    {"set": {"name": "vips6", "elem": ["FD96:0::1"]}},
    {"set": {"name": "health", "elem": [30000]}},
    {"set": {"name": "__set0", "elem": [{"odd": true}]}},
    {"set": {"name": "allowed4", "elem": [
      {"concat": ["10.0.0.1", 6, 80, {"prefix": {"addr": "10.0.0.0", "len": 8}}]},
      {"concat": ["10.0.0.1", 6, 80, {"range": ["11.0.0.1", "11.0.0.9"]}]}]}},
    {"map": {"name": "filter4", "elem": [
      [{"concat": ["10.0.0.1", 6, 80]}, {"goto": {"target": "open"}}],
      [{"concat": ["10.0.0.2", 6, 80]}, {"accept": null}]]}},
    {"chain": {"name": "layout-9"}}, {"rule": {"chain": "check"}}, {"rule": {"chain": "check"}}]})");
  ASSERT_TRUE(state) << state.error().message;
  const Elements wanted = {
      {"vips4", {{"10.96.0.1", ""}, {"10.96.0.2", ""}}},
      {"vips6", {{"fd96::1", ""}}},
      {"health", {{"30000", ""}}},
      {"allowed4",
       {{"10.0.0.1 . 6 . 80 . 10.0.0.0/8", ""}, {"10.0.0.1 . 6 . 80 . 11.0.0.1-11.0.0.9", ""}}},
      {"filter4", {{"10.0.0.1 . 6 . 80", "goto open"}, {"10.0.0.2 . 6 . 80", "?"}}},
  };
  EXPECT_EQ(state->elements, wanted);
  EXPECT_EQ(state->label, "layout-9");
  EXPECT_EQ(state->rules.at("check"), 2u);
}

TEST(IpvsRules, OddListingsAreErrors) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"{", "byte"},
      {"{}", "listing without \"nftables\""},
      {R"({"nftables": [{"set": {"name": "x", "elem": 5}}]})", "set x: elements are no list"},
      {R"({"nftables": [{"set": {"name": "x", "elem": [null]}}]})",
       "set x: an element that fairlead does not make"},
      {R"({"nftables": [{"map": {"name": "x", "elem": [[1]]}}]})",
       "set x: an element that is no pair"},
      {R"({"nftables": [{"set": {"name": "x", "elem": [{"concat": 1}]}}]})",
       "set x: a concatenation that is no list"},
  };
  for (const auto& [listing, message] : cases) {
    const auto state = parse_rules(listing);
    ASSERT_FALSE(state) << listing;
    EXPECT_NE(state.error().message.find(message), std::string::npos) << state.error().message;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
