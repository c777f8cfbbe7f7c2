#include "dataplane/nftables/rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

// "a b c": backend x is 10.0.0.<letter>:80.
std::vector<SocketAddress> slots(std::string_view letters) {
  std::vector<SocketAddress> out;
  for (const char c : letters) {
    if (c != ' ') out.push_back({Ip::v4(0x0a000000u + static_cast<uint8_t>(c)), 80});
  }
  return out;
}

std::string letters(const std::vector<SocketAddress>& from) {
  std::string out;
  for (const SocketAddress& slot : from) append(out, static_cast<char>(slot.ip.to_v4() & 0xff));
  return out;
}

TEST(AssignSlots, KeepsWhatStaysWhereItIs) {
  struct Case {
    std::string_view current, wanted, result;
  };
  const Case cases[] = {
      {"", "", ""},
      {"", "cab", "cab"},
      {"cab", "abc", "cab"},
      {"abc", "", ""},
      {"abc", "abcd", "abcd"},  // one more: at the end
      {"abc", "ab", "ab"},      // the last one goes
      {"abcd", "bcd", "dbc"},   // the first one goes: the last takes its place
      {"abcd", "bc", "cb"},
      {"abcd", "d", "d"},
      {"abcd", "xbcd", "xbcd"},
      {"abc", "bcxy", "xbcy"},
      {"abc", "xyz", "xyz"},
      {"abc", "xy", "xy"},
      {"ab", "wxyz", "wxyz"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(letters(assign_slots(slots(c.current), slots(c.wanted))), c.result)
        << c.current << " -> " << c.wanted;
  }
}

TEST(AssignSlots, HoldsTheWantedOnesAndMovesFew) {
  std::mt19937 random(7);
  std::vector<SocketAddress> current;
  for (int step = 0; step < 2000; ++step) {
    std::string wanted;
    for (char c = 'a'; c <= 'z'; ++c) {
      if (random() % 3 != 0) append(wanted, c);
    }
    const auto next = assign_slots(current, slots(wanted));
    auto sorted = letters(next);
    std::sort(sorted.begin(), sorted.end());
    ASSERT_EQ(sorted, wanted);
    // A slot is rewritten only for a backend that came, or to fill a hole from the end.
    const std::string before = letters(current), after = letters(next);
    size_t rewritten = 0, came = 0, gone = 0;
    for (size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
      rewritten += before[i] != after[i];
    }
    for (const char c : after) came += before.find(c) == before.npos;
    for (const char c : before) gone += after.find(c) == after.npos;
    ASSERT_LE(rewritten, std::max(came, gone));
    current = next;
  }
}

PortRule rule_with(std::vector<Frontend> frontends, std::string_view backends) {
  PortRule rule;
  rule.port_name = "http";
  rule.frontends = std::move(frontends);
  for (const SocketAddress& slot : slots(backends)) {
    rule.backends.push_back({slot.ip, slot.port, slot.ip.to_v4() % 256 < 'm'});
  }
  return rule;
}

std::string text_of(const NodeConfig& node, const PortRule& rule) {
  RowMap rows;
  for (auto& [key, row] : rows_of(node, {"default", "a"}, {{rule}})) rows.emplace(key, row);
  std::string out = to_text(rows);
  for (const auto& [key, row] : rows) {
    if (key.outside) append(out, cat("outside: ", letters(row.slots), "\n"));
  }
  return out;
}

const NodeConfig two_addresses{
    "n", {Ip::v4(0xc0a80001), Ip::v4(0xc0a80101), *Ip::parse("fd01::1")}, {}};

TEST(Rows, NodePortsAreWrittenForEachAddressOfTheFamily) {
  const PortRule rule = rule_with({{FrontendKind::node_port, Ip::v4(0), 30080}}, "a");
  EXPECT_EQ(text_of(two_addresses, rule),
            "192.168.0.1:30080 TCP external 10.0.0.97:80\n"
            "192.168.1.1:30080 TCP external 10.0.0.97:80\n");
}

TEST(Rows, PolicyLocalIsARowOfItsOwnForOutside) {
  NodeConfig node = two_addresses;
  node.node_ips.resize(1);
  const PortRule rule = rule_with({{FrontendKind::node_port, Ip::v4(0), 30080, true}}, "az");
  EXPECT_EQ(text_of(node, rule),
            "192.168.0.1:30080 TCP node-only 10.0.0.97:80 10.0.0.122:80\n"
            "192.168.0.1:30080 TCP outside 10.0.0.97:80\n"
            "outside: a\n");
}

TEST(Rows, AnEmptySetRejectsOrDrops) {
  PortRule rule = rule_with({{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80}}, "");
  EXPECT_EQ(text_of({}, rule), "10.96.0.1:80 TCP no-endpoint\n");
  rule.if_empty = NoBackend::drop;
  EXPECT_EQ(text_of({}, rule), "10.96.0.1:80 TCP policy-drop\n");
}

TEST(Rows, SourceRangesAreWithoutThoseInsideOthers) {
  PortRule rule = rule_with({{FrontendKind::load_balancer, Ip::v4(0xcb007101), 80, true}}, "");
  struct Case {
    std::vector<std::string_view> ranges;
    std::string_view text;
  };
  const Case cases[] = {
      {{}, ""},
      {{"0.0.0.0/0", "10.0.0.0/8"}, ""},  // everybody
      {{"10.0.0.0/8"}, " guarded from 10.0.0.0/8"},
      {{"10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8"}, " guarded from 10.0.0.0/8"},
      {{"10.1.0.0/16", "10.2.0.0/16"}, " guarded from 10.1.0.0/16 from 10.2.0.0/16"},
      // The node is inside: then the dialled address may be the source, too.
      {{"192.168.0.0/16"}, " guarded from 192.168.0.0/16 from 203.0.113.1/32"},
  };
  for (const Case& c : cases) {
    rule.source_ranges.clear();
    for (const std::string_view range : c.ranges) {
      rule.source_ranges.push_back(*Cidr::parse(range));
    }
    const bool guarded = !c.text.empty();
    EXPECT_EQ(text_of({"n", {Ip::v4(0xc0a80001)}, {}}, rule),
              cat("203.0.113.1:80 TCP no-endpoint", c.text, "\n203.0.113.1:80 TCP no-endpoint",
                  guarded ? " guarded" : "", "\noutside: \n"));
  }
}

TEST(Rows, FrontendsThatChooseFromOneSetShareTheirMemory) {
  PortRule rule = rule_with({{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80},
                             {FrontendKind::external_ip, Ip::v4(0xcb007101), 80, true},
                             {FrontendKind::external_ip, Ip::v4(0xcb007102), 80, true}},
                            "az");
  rule.affinity_timeout_s = 60;
  rule.backends[0].local = true;
  std::map<std::string, std::set<uint64_t>> ids;
  for (const auto& [key, row] : rows_of({}, {"default", "a"}, {{rule}})) {
    EXPECT_EQ(row.affinity.timeout_s, 60u);
    ids[key.outside ? "local" : "cluster"].insert(row.affinity.id);
  }
  EXPECT_EQ(ids["local"].size(), 1u);
  EXPECT_EQ(ids["cluster"].size(), 1u);
  EXPECT_NE(ids["local"], ids["cluster"]);
  for (const auto& [key, row] : rows_of({}, {"default", "b"}, {{rule}})) {
    EXPECT_FALSE(ids["local"].contains(row.affinity.id) ||
                 ids["cluster"].contains(row.affinity.id));
  }
}

TEST(Rows, OneAddressAndPortIsOneRow) {
  const PortRule rule = rule_with({{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80}}, "a");
  EXPECT_EQ(rows_of({}, {"default", "a"}, {{rule, rule}}).size(), 1u);
}

}  // namespace
}  // namespace fairlead::dataplane::nft
