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
    claim.sources = {*Cidr::parse("10.0.0.0/8"), *Cidr::parse("192.0.2.1/32")};
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
  const RuleLayout layout({"t"}, NodeConfig());
  const size_t rules = count_lines(layout.replace({}), "add rule");
  EXPECT_GT(rules, 20u);
  EXPECT_EQ(count_lines(layout.replace(sample(2000)), "add rule"), rules);
}

// The sets that have elements.
Elements elements_in(const NftTable& table) {
  Elements out = table.sets;
  std::erase_if(out, [](const auto& set) { return set.second.empty(); });
  return out;
}

nft::ElementLists lists_of(const Elements& elements) {
  nft::ElementLists out;
  for (const auto& [set, members] : elements) {
    for (const auto& [key, value] : members) out.put(set, key);
  }
  return out;
}

void check_round_trip(NftRunner& kernel, const NodeConfig& node) {
  const RuleLayout layout({"t"}, node);
  const Elements elements = sample(600);
  const auto made = kernel.run(layout.replace(elements));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(elements_in(**kernel.read_table("t")), elements);
  EXPECT_EQ(layout.differences(**kernel.read_table("t")), std::vector<std::string>());
  ASSERT_TRUE(kernel.run("add rule inet t open drop\n"));
  EXPECT_EQ(layout.differences(**kernel.read_table("t")),
            std::vector<std::string>{"chain open has 1 rules instead of 0"});
  ASSERT_TRUE(kernel.run(layout.change(lists_of(elements), {})));
  EXPECT_EQ(elements_in(**kernel.read_table("t")), Elements());
}

TEST(IpvsRules, WhatIsWrittenIsReadBack) {
  FakeNft kernel;
  check_round_trip(kernel, NodeConfig());
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
    check_round_trip(*kernel, node);
    const auto unhooked = kernel->run(RuleLayout({"t"}, node).remove_hooks());
    EXPECT_TRUE(unhooked) << unhooked.error().message;
  }
}

TEST(IpvsRules, TheLabelIsOfWhatTheRulesSay) {
  NodeConfig node;
  const std::string plain = RuleLayout({"t"}, node).label();
  node.node_ips = {Ip::v4(1)};  // elements, not rules
  EXPECT_EQ(RuleLayout({"t"}, node).label(), plain);
  std::set<std::string> labels{plain};
  node.local_pod_cidrs = {*Cidr::parse("10.1.0.0/16")};
  labels.insert(RuleLayout({"t"}, node).label());
  node.masquerade_all = true;
  labels.insert(RuleLayout({"t"}, node).label());
  node.service_cidrs = {*Cidr::parse("10.96.0.0/12")};
  labels.insert(RuleLayout({"t"}, node).label());
  labels.insert(RuleLayout({"t", 0x8000}, node).label());
  EXPECT_EQ(labels.size(), 5u);
}

TEST(IpvsRules, KeysAreReadAsTheyAreWritten) {
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    for (const std::string_view ip : {"10.96.0.1", "fd96::1"}) {
      const ServiceKey key{*Ip::parse(ip), protocol, 65535};
      Elements elements;
      add_claim(elements, key, {});
      EXPECT_EQ(parse_key(elements.at(key.ip.is_v4() ? "filter4" : "filter6").begin()->first), key);
    }
  }
  for (const std::string_view odd : {"", "10.96.0.1", "10.96.0.1 . 6", "10.96.0.1 . 1 . 80",
                                     "10.96.0.1 . 6 . 65536", "x . 6 . 80", "0x0a600001"}) {
    EXPECT_EQ(parse_key(odd), std::nullopt) << odd;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
