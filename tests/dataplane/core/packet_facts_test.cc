#include "dataplane/packet_facts.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane {
namespace {

std::vector<Cidr> cidrs(std::string_view text) {
  std::vector<Cidr> out;
  for (const std::string_view word : split(text, ' ')) {
    if (!word.empty()) out.push_back(*Cidr::parse(word));
  }
  return out;
}

TEST(DialRanges, AreDisjointAndSayWhatMayDialSays) {
  struct Case {
    std::string_view ranges, out;
  };
  const Case cases[] = {
      {"", ""},
      {"10.0.0.0/8", "10.0.0.0/8"},
      {"10.1.0.0/16 10.0.0.0/8 10.1.0.0/16", "10.0.0.0/8"},
      {"10.2.0.0/16 10.1.0.0/16", "10.1.0.0/16 10.2.0.0/16"},
      {"10.1.0.0/16 10.0.0.0/8 192.168.9.0/24", "10.0.0.0/8 192.168.9.0/24"},
      {"10.0.0.0/8 0.0.0.0/0", ""},  // everybody
      // The node may: then also with the dialled address as its source.
      {"192.168.0.0/24", "192.168.0.0/24 203.0.113.1/32"},
      {"192.168.0.1/32 203.0.113.0/24", "192.168.0.1/32 203.0.113.0/24"},
  };
  NodeConfig node;
  node.node_ips = {*Ip::parse("192.168.0.1"), *Ip::parse("fd00::1")};
  for (const Case& c : cases) {
    PortRule rule;
    rule.source_ranges = cidrs(c.ranges);
    Frontend frontend{FrontendKind::load_balancer, *Ip::parse("203.0.113.1"), 80, false};
    const auto ranges = dial_ranges(node, rule, frontend);
    EXPECT_EQ(ranges, cidrs(c.out)) << c.ranges;
    for (const std::string_view source :
         {"10.1.2.3", "10.2.0.1", "192.168.0.1", "203.0.113.1", "8.8.8.8"}) {
      const Ip ip = *Ip::parse(source);
      const bool inside = std::any_of(ranges.begin(), ranges.end(),
                                      [&](const Cidr& range) { return range.contains(ip); });
      EXPECT_EQ(ranges.empty() || inside, may_dial(node, rule, frontend, ip))
          << c.ranges << " from " << source;
    }
    frontend.kind = FrontendKind::external_ip;  // ranges guard load balancers alone
    EXPECT_TRUE(dial_ranges(node, rule, frontend).empty());
  }
}

TEST(HairpinIps, AreThoseThatNothingElseMasquerades) {
  ServiceEntry entry;
  PortRule& v4 = entry.ports.emplace_back();
  v4.backends = {{*Ip::parse("10.9.0.1"), 80, true},    // here, outside of the pod CIDRs
                 {*Ip::parse("10.1.0.5"), 80, false},   // a pod of this node by its address
                 {*Ip::parse("10.2.0.5"), 80, false}};  // elsewhere
  PortRule& again = entry.ports.emplace_back(v4);
  again.protocol = Protocol::udp;
  PortRule& v6 = entry.ports.emplace_back();
  v6.ipv6 = true;
  v6.backends = {{*Ip::parse("fd00::5"), 80, false}};
  NodeConfig node;
  node.local_pod_cidrs = cidrs("10.1.0.0/16");
  const Ip pod = *Ip::parse("10.1.0.5"), here = *Ip::parse("10.9.0.1");
  // No pod CIDR of IPv6 is known: anybody may be the backend itself.
  EXPECT_EQ(hairpin_ips(node, entry), (std::vector<Ip>{pod, here, *Ip::parse("fd00::5")}));
  node.local_pod_cidrs = cidrs("10.1.0.0/16 fd01::/64");
  EXPECT_EQ(hairpin_ips(node, entry), (std::vector<Ip>{pod, here}));
}

}  // namespace
}  // namespace fairlead::dataplane
