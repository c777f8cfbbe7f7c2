// The texts of the table: which rules each kind of row has, and what settings change.
#include "dataplane/nftables/layout.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/flow.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::nft {
namespace {

// Without "add rule inet fairlead NAME"; the first line is the chain's name.
std::string chain_text(const Layout& layout, const ChainKey& key) {
  const std::string name = chain_name(key);
  std::string out = cat(name, "\n");
  const std::string rule = cat("add rule inet fairlead ", name, " ");
  const std::string commands = layout.chain_commands(key);
  for (const std::string_view line : split(commands, '\n')) {
    if (line.starts_with(rule)) append(out, cat("  ", line.substr(rule.size()), "\n"));
  }
  return out;
}

const NodeConfig with_pods{"n", {}, {*Cidr::parse("10.1.0.0/16"), *Cidr::parse("fd00:1::/64")}};

ChainKey chain(Action action, Protocol protocol, bool ipv6, uint32_t count) {
  return {action, protocol, ipv6, count, false, false, {}};
}

TEST(ChainText, EachActionMarksWhatItMust) {
  const struct {
    ChainKey key;
    const char* text;
  } cases[] = {
      {chain(Action::internal, Protocol::tcp, false, 3),
       "internal-tcp4-3\n"
       "  ip saddr != @local_pods4 meta mark set meta mark or 0x4000\n"
       "  dnat ip to ip daddr . tcp dport . numgen random mod 3 map @tcp-backends4\n"
       "  dnat ip to ip daddr . tcp dport . numgen random mod 1 map @tcp-backends4\n"},
      {chain(Action::internal, Protocol::udp, true, 1),
       "internal-udp6-1\n"
       "  ip6 saddr != @local_pods6 meta mark set meta mark or 0x4000\n"
       "  dnat ip6 to ip6 daddr . udp dport . numgen random mod 1 map @udp-backends6\n"},
      {chain(Action::external, Protocol::sctp, false, 1),
       "external-sctp4-1\n"
       "  meta mark set meta mark or 0x4000\n"
       "  dnat ip to ip daddr . sctp dport . numgen random mod 1 map @sctp-backends4\n"},
      {chain(Action::node_only, Protocol::tcp, true, 1),
       "node-only-tcp6-1\n"
       "  fib saddr type local meta mark set meta mark or 0x4000\n"
       "  dnat ip6 to ip6 daddr . tcp dport . numgen random mod 1 map @tcp-backends6\n"},
      {chain(Action::outside, Protocol::tcp, false, 2),
       "outside-tcp4-2\n"
       "  dnat ip to ip daddr . tcp dport . numgen random mod 2 offset 65536 map @tcp-backends4\n"
       "  dnat ip to ip daddr . tcp dport . numgen random mod 1 offset 65536 map "
       "@tcp-backends4\n"},
      {{Action::no_endpoint, Protocol::tcp, true, 0, true, false, {}},
       "guarded-no-endpoint6\n"
       "  ip6 daddr . ct original protocol . th dport . ip6 saddr != @ranges6 drop\n"
       "  goto no-endpoint\n"},
      {{Action::external, Protocol::tcp, false, 1, true, false, {}},
       "guarded-external-tcp4-1\n"
       "  ip daddr . ct original protocol . th dport . ip saddr != @ranges4 drop\n"
       "  meta mark set meta mark or 0x4000\n"
       "  dnat ip to ip daddr . tcp dport . numgen random mod 1 map @tcp-backends4\n"},
  };
  const Layout layout({}, with_pods);
  for (const auto& one : cases) EXPECT_EQ(chain_text(layout, one.key), one.text);
  // Those that are a part of every table are not made again.
  EXPECT_EQ(layout.chain_commands(chain(Action::no_endpoint, Protocol::tcp, false, 0)), "");
  EXPECT_EQ(layout.chain_commands(chain(Action::policy_drop, Protocol::tcp, false, 0)), "");
}

TEST(ChainText, AffinityAsksBeforeItChoosesAndIsNotedAfter) {
  ChainKey key = chain(Action::outside, Protocol::tcp, false, 1);
  key.affinity = {(uint64_t{7} << 32) | 9, 60};
  const Layout layout({}, with_pods);
  const std::string client =
      "numgen random mod 1 offset 7 . numgen random mod 1 offset 9 . ip saddr";
  EXPECT_EQ(chain_text(layout, key),
            cat("outside-tcp4-1-sticky-60-0000000700000009\n"
                "  meta l4proto tcp dnat ip to ",
                client, " map @affinity-ips4 : ", client,
                " map @affinity-ports4\n"
                "  meta l4proto tcp delete @affinity-ips4 { ",
                client, " : ip daddr } delete @affinity-ports4 { ", client,
                " : tcp dport }\n"
                "  dnat ip to ip daddr . tcp dport . numgen random mod 1 offset 65536 map "
                "@tcp-backends4\n"));
  key.remember = true;
  EXPECT_EQ(chain_text(layout, key),
            cat("remember-tcp4-60-0000000700000009\n"
                "  meta l4proto tcp update @affinity-ips4 { ",
                client, " timeout 60s : ip daddr } update @affinity-ports4 { ", client,
                " timeout 60s : tcp dport }\n"));
  // IPv6 clients stand there as 64 bits of a hash.
  key.ipv6 = true;
  EXPECT_NE(layout.chain_commands(key).find("jhash ip6 saddr mod 4294967295 seed 0x1 . jhash ip6 "
                                            "saddr mod 4294967295 seed 0x2 timeout 60s"),
            std::string::npos);
}

TEST(ChainText, WhoIsMasqueradedOnTheWayToAClusterIp) {
  NodeConfig all = with_pods, nobody, one_family = with_pods;
  all.masquerade_all = true;
  one_family.local_pod_cidrs.resize(1);
  const struct {
    const NodeConfig& node;
    bool ipv6;
    const char* rule;  // "": none
  } cases[] = {
      {with_pods, false, "ip saddr != @local_pods4 meta mark set meta mark or 0x80"},
      {all, false, " meta mark set meta mark or 0x80"},
      {nobody, false, ""},
      {one_family, true, ""},
      {one_family, false, "ip saddr != @local_pods4 meta mark set meta mark or 0x80"},
  };
  for (const auto& one : cases) {
    const Layout layout({.masquerade_mark = 0x80}, one.node);
    const std::string text =
        chain_text(layout, chain(Action::internal, Protocol::tcp, one.ipv6, 1));
    EXPECT_EQ(text.find("meta mark") != text.npos, *one.rule != '\0') << text;
    EXPECT_NE(text.find(one.rule), text.npos) << text;
  }
}

// Whoever takes over must know a table of other settings for one.
TEST(Label, DependsOnEverythingThatRulesDependOn) {
  NodeConfig all = with_pods, other_pods = with_pods, ranges = with_pods, more_ips = with_pods;
  all.masquerade_all = true;
  other_pods.local_pod_cidrs.pop_back();
  ranges.service_cidrs = {*Cidr::parse("10.96.0.0/12")};
  more_ips.node_ips = {Ip::v4(0xc0a80001)};
  std::set<std::string> labels;
  for (const Layout& layout :
       {Layout({}, with_pods), Layout({}, all), Layout({}, other_pods), Layout({}, ranges),
        Layout({.masquerade_mark = 0x80}, with_pods), Layout({.drop_invalid = true}, with_pods)}) {
    EXPECT_TRUE(labels.insert(layout.label()).second);
    EXPECT_TRUE(layout.label().starts_with("layout-"));
  }
  // NodePorts are rows: another address of the node makes no other rules.
  EXPECT_TRUE(labels.contains(Layout({}, more_ips).label()));
}

TEST(FixedElements, AreMergedAsTheKernelMergesThem) {
  const struct {
    std::vector<std::string_view> pods;
    std::set<std::string> v4, v6;
    std::vector<std::string_view> node_ips = {};  // are no pods
  } cases[] = {
      {{}, {}, {}},
      {{"10.1.0.0/24"}, {"10.1.0.0-10.1.0.255"}, {}},
      {{"10.1.1.0/24", "10.1.0.0/24"}, {"10.1.0.0-10.1.1.255"}, {}},
      {{"10.1.0.0/16", "10.1.7.0/24"}, {"10.1.0.0-10.1.255.255"}, {}},
      {{"10.1.0.0/24", "10.1.2.0/24"}, {"10.1.0.0-10.1.0.255", "10.1.2.0-10.1.2.255"}, {}},
      {{"0.0.0.0/0", "10.1.2.0/24"}, {"0.0.0.0-255.255.255.255"}, {}},
      {{"192.168.7.1/32"}, {"192.168.7.1"}, {}},
      {{"fd00::/64", "fd00:0:0:1::/64"}, {}, {"fd00::-fd00::1:ffff:ffff:ffff:ffff"}},
      {{"10.1.0.0/24", "fd00::1/128"}, {"10.1.0.0-10.1.0.255"}, {"fd00::1"}},
      {{"10.1.0.0/24"}, {"10.1.0.0-10.1.0.255"}, {}, {"10.1.1.0", "10.0.255.255", "fd00::1"}},
      {{"10.1.0.0/24"}, {"10.1.0.0-10.1.0.6", "10.1.0.8-10.1.0.255"}, {}, {"10.1.0.7"}},
      {{"10.1.0.0/24"},
       {"10.1.0.1-10.1.0.3", "10.1.0.6-10.1.0.254"},
       {},
       {"10.1.0.255", "10.1.0.0", "10.1.0.4", "10.1.0.5", "10.1.0.4"}},
      {{"fd00::/64"}, {}, {"fd00::-fd00::1", "fd00::3-fd00::ffff:ffff:ffff:ffff"}, {"fd00::2"}},
      {{"10.1.0.7/32"}, {}, {}, {"10.1.0.7"}},
      // Addresses of IPv4 are none of IPv6, whatever bytes they are kept in.
      {{"::/0"}, {}, {"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, {"192.168.0.1"}},
      {{"::/0"},
       {},
       {"::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"},
       {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
      {{"0.0.0.0/0"}, {"0.0.0.1-255.255.255.254"}, {}, {"0.0.0.0", "255.255.255.255", "::1"}},
  };
  for (const auto& one : cases) {
    NodeConfig node;
    for (const std::string_view cidr : one.pods) {
      node.local_pod_cidrs.push_back(*Cidr::parse(cidr));
    }
    for (const std::string_view ip : one.node_ips) node.node_ips.push_back(*Ip::parse(ip));
    const Layout layout({}, node);
    EXPECT_EQ(layout.fixed_elements().at("local_pods4"), one.v4);
    EXPECT_EQ(layout.fixed_elements().at("local_pods6"), one.v6);
    // A family without pods has nobody to tell apart.
    for (const bool ipv6 : {false, true}) {
      const char* rule = ipv6 ? "ip6 saddr != @local_pods6" : "ip saddr != @local_pods4";
      EXPECT_EQ(layout.replace_commands().find(rule) != std::string::npos,
                knows_local_pods(node, ipv6));
    }
  }
}

TEST(Retirement, KeepsHooksAndTrackingAndNothingElse) {
  const std::string text = Layout({}, with_pods).retire_commands();
  for (const char* hook : {"prerouting", "input", "output", "postrouting"}) {
    EXPECT_NE(text.find(cat("hook ", hook, " priority")), text.npos) << hook;
  }
  EXPECT_NE(text.find("ct state new return"), text.npos);
  for (const char* gone : {"dnat", "drop", "reject", "masquerade", "add map", "layout-"}) {
    EXPECT_EQ(text.find(gone), text.npos) << gone;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::nft
