// How rules are written for large clusters, and when.
#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "dataplane/iptables/layout.h"
#include "dataplane/iptables/names.h"
#include "dataplane/iptables/saved_rules.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

using ipt::Layout;
using ipt::Style;

constexpr Style brief{.brief = true};
constexpr Style tree{.tree = true};
const NodeConfig plain_node{"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.1.0.0/24")}};

// The nat chains of a Service with one endpoint, a line for each rule; chains as "SVC", "SEP".
std::string rules_of(const NodeConfig& node, Style style, const PortRule& rule) {
  ServiceEntry entry;
  entry.ports = {rule};
  std::string out;
  style.ipv6 = rule.ipv6;
  const Layout layout(node, style);
  for (const ipt::Chain& chain : layout.service_chains({"ns", "svc"}, entry)) {
    for (std::string text : chain.rules) {
      for (size_t at; (at = text.find("KUBE-S")) != text.npos;) {
        text.replace(at, 25, text.substr(at + 5, 3));  // without the hash
      }
      append(out, cat(chain.name.substr(5, 3), " ", text, "\n"));
    }
  }
  return out;
}

PortRule one_endpoint(std::string_view address, bool local) {
  PortRule rule;
  rule.frontends = {{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80}};
  rule.backends = {{*Ip::parse(address), 8080, local}};
  return rule;
}

TEST(BriefStyle, AnEndpointThatCannotMeetItselfHasNoChain) {
  EXPECT_EQ(rules_of(plain_node, brief, one_endpoint("10.1.7.5", false)),
            "SVC ! -s 10.1.0.0/24 -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
            "SVC -p tcp -j DNAT --to-destination 10.1.7.5:8080\n");
  EXPECT_EQ(rules_of(plain_node, brief, one_endpoint("10.1.0.5", true)),
            "SEP -s 10.1.0.5/32 -j KUBE-MARK-MASQ\n"
            "SEP -p tcp -j DNAT --to-destination 10.1.0.5:8080\n"
            "SVC ! -s 10.1.0.0/24 -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
            "SVC -j SEP\n");
}

TEST(BriefStyle, WhoMayMeetItselfHasAChain) {
  NodeConfig no_pods = plain_node, all_pods = plain_node, masquerades = plain_node;
  no_pods.local_pod_cidrs.clear();
  all_pods.local_pod_cidrs = {*Cidr::parse("0.0.0.0/0")};
  masquerades.local_pod_cidrs.clear();
  masquerades.masquerade_all = true;
  const struct {
    const NodeConfig& node;
    const char* address;
    bool local, chain;
  } cases[] = {
      {plain_node, "10.1.7.5", false, false},
      {plain_node, "10.1.0.5", false, true},      // a pod of this node, whatever its slice says
      {plain_node, "192.168.0.1", true, true},    // with the node's own address
      {plain_node, "192.168.0.9", false, false},  // with another node's
      {no_pods, "10.1.7.5", false, true},         // nobody is masqueraded before
      {all_pods, "10.1.7.5", false, true},
      {masquerades, "10.1.7.5", false, false},
      {masquerades, "10.1.7.5", true, true},
  };
  for (const auto& one : cases) {
    const std::string text = rules_of(one.node, brief, one_endpoint(one.address, one.local));
    EXPECT_EQ(text.find("SEP -s ") != text.npos, one.chain) << one.address << "\n" << text;
    const std::string whole = rules_of(one.node, {}, one_endpoint(one.address, one.local));
    EXPECT_NE(whole.find("SEP -s "), whole.npos) << "in a small cluster everyone has one";
  }
}

TEST(BriefStyle, AffinityNeedsAChain) {
  PortRule rule = one_endpoint("10.1.7.5", false);
  rule.affinity_timeout_s = 60;
  const std::string text = rules_of(plain_node, brief, rule);
  EXPECT_NE(text.find("SVC -m recent --rcheck --seconds 60 --reap"), text.npos) << text;
  EXPECT_NE(text.find("SEP -p tcp -m recent --set"), text.npos) << text;
}

TEST(BriefStyle, ChoicesHaveTheProtocolOfTheirPort) {
  for (const auto& [protocol, word] :
       {std::pair{Protocol::tcp, "tcp"}, {Protocol::udp, "udp"}, {Protocol::sctp, "sctp"}}) {
    PortRule rule = one_endpoint("10.1.7.5", false);
    rule.protocol = protocol;
    rule.backends.push_back({*Ip::parse("10.1.7.6"), 8080, false});
    const std::string text = rules_of(plain_node, brief, rule);
    EXPECT_NE(text.find(cat("SVC -p ", word,
                            " -m statistic --mode random --probability 0.50000000000 -j DNAT "
                            "--to-destination 10.1.7.5:8080\nSVC -p ",
                            word, " -j DNAT --to-destination 10.1.7.6:8080\n")),
              text.npos)
        << text;
  }
}

// "-d 0.0.0.5/0.0.0.15 -j NEXT" of either family.
bool matches(const std::string& rule, int byte, std::string& next) {
  const size_t slash = rule.find('/'), space = rule.find(' ', slash);
  const Ip value = *Ip::parse(rule.substr(3, slash - 3));
  const Ip mask = *Ip::parse(rule.substr(slash + 1, space - slash - 1));
  next = std::string(ipt::target_of(rule));
  return (byte & mask.bytes[15]) == value.bytes[15];
}

TEST(Tree, EachAddressHasOneWayToItsLeaf) {
  for (const bool ipv6 : {false, true}) {
    Style style = tree;
    style.ipv6 = ipv6;
    const NodeConfig node{"n", {}, {}};
    const Layout layout(node, style);
    const auto roots = layout.tail(ipt::Shared::nat_services, {});
    const auto branches = layout.branches();
    ASSERT_EQ(branches.size(), 16u);
    std::set<std::string> leaves;
    for (int byte = 0; byte < 256; ++byte) {
      std::vector<std::string> ends;
      std::string branch, leaf;
      for (const std::string& root : roots) {
        if (root.find("KUBE-NODEPORTS") != root.npos || !matches(root, byte, branch)) continue;
        for (const ipt::Chain& one : branches) {
          for (const std::string& rule : one.rules) {
            if (one.name == branch && matches(rule, byte, leaf)) ends.push_back(leaf);
          }
        }
      }
      EXPECT_EQ(ends, std::vector<std::string>{ipt::leaf_name(byte)});
      EXPECT_TRUE(ipt::is_leaf(ends.at(0)));
      EXPECT_TRUE(ipt::is_our_chain(ends.at(0)));
      leaves.insert(ends.at(0));
    }
    EXPECT_EQ(leaves.size(), 256u);
  }
}

TEST(Tree, RulesStandWhereTheAddressLeads) {
  PortRule rule = one_endpoint("10.1.7.5", false);
  rule.frontends = {{FrontendKind::cluster_ip, Ip::v4(0x0a6000a5), 80},
                    {FrontendKind::external_ip, Ip::v4(0xc0a80001), 80},  // the node's own
                    {FrontendKind::load_balancer, Ip::v4(0xcb007107), 80},
                    {FrontendKind::node_port, Ip::v4(0), 30080}};
  ServiceEntry entry;
  entry.ports = {rule};
  const Layout layout(plain_node, tree);
  std::string out;
  for (const ipt::FrontendKey& frontend : layout.frontends(entry)) {
    for (const ipt::SharedRule& one : layout.shared_rules({"ns", "svc"}, entry, frontend)) {
      if (one.table() != ipt::Table::nat) continue;
      append(out, cat(one.chain_name(), " ", one.rule.substr(0, one.rule.find(" -m")), "\n"));
    }
  }
  EXPECT_EQ(out,
            "KUBE-NODEPORTS-tcp-758 -p tcp\nKUBE-SERVICES-a5 -d 10.96.0.165/32 -p tcp\n"
            "KUBE-SERVICES -d 192.168.0.1/32 -p tcp\nKUBE-SERVICES-07 -d 203.0.113.7/32 -p tcp\n");
}

TEST(PortTree, EachPortHasOneWayOfThreeChains) {
  const struct {
    uint16_t port;
    Protocol protocol;
    const char* ways;
  } cases[] = {
      {30080, Protocol::tcp,
       "KUBE-NODEPORTS-tcp-75 -p tcp -m tcp --dport 30080:30095 -j KUBE-NODEPORTS-tcp-758\n"
       "KUBE-NODEPORTS-tcp-7 -p tcp -m tcp --dport 29952:30207 -j KUBE-NODEPORTS-tcp-75\n"
       "KUBE-NODEPORTS -p tcp -m tcp --dport 28672:32767 -j KUBE-NODEPORTS-tcp-7\n"},
      {1, Protocol::udp,
       "KUBE-NODEPORTS-udp-00 -p udp -m udp --dport 0:15 -j KUBE-NODEPORTS-udp-000\n"
       "KUBE-NODEPORTS-udp-0 -p udp -m udp --dport 0:255 -j KUBE-NODEPORTS-udp-00\n"
       "KUBE-NODEPORTS -p udp -m udp --dport 0:4095 -j KUBE-NODEPORTS-udp-0\n"},
      {65535, Protocol::sctp,
       "KUBE-NODEPORTS-sctp-ff -p sctp -m sctp --dport 65520:65535 -j KUBE-NODEPORTS-sctp-fff\n"
       "KUBE-NODEPORTS-sctp-f -p sctp -m sctp --dport 65280:65535 -j KUBE-NODEPORTS-sctp-ff\n"
       "KUBE-NODEPORTS -p sctp -m sctp --dport 61440:65535 -j KUBE-NODEPORTS-sctp-f\n"},
  };
  const Layout layout(plain_node, tree), plain(plain_node, {});
  for (const auto& one : cases) {
    const ipt::FrontendKey key{Ip::v4(0), one.port, static_cast<uint8_t>(one.protocol)};
    std::string ways;
    for (const ipt::PortRange& range : layout.port_ranges(key)) {
      EXPECT_TRUE(range.first <= one.port && one.port <= range.last());
      EXPECT_TRUE(ipt::is_our_chain(Layout::chain_of(range)));
      EXPECT_LE(Layout::chain_of(range).size(), 28u) << "XT_EXTENSION_MAXNAMELEN";
      const ipt::SharedRule way = Layout::way_to(range);
      append(ways, cat(way.chain_name(), " ", way.rule, "\n"));
    }
    EXPECT_EQ(ways, one.ways);
    EXPECT_TRUE(plain.port_ranges(key).empty());
  }
  // What is no NodePort: a ClusterIP, all of its ports, a health check.
  for (const ipt::FrontendKey& key : {ipt::FrontendKey{Ip::v4(0x0a600001), 80, 6},
                                      {Ip::v4(0x0a600001), 0, 0},
                                      {Ip::v4(0), 32100, 0}}) {
    EXPECT_TRUE(layout.port_ranges(key).empty());
  }
}

// In memory, with limits that small tables reach.
class Growth : public testing::Test {
 protected:
  static IptablesOptions options() {
    IptablesOptions out;
    out.brief_above = 12;
    out.tree_above = 4;
    return out;
  }
  // Services of three endpoints.
  void become(uint32_t services) {
    const ServiceTable next = big_table(services, 3);
    std::set<api::ObjectKey> changed;
    for (uint32_t i = std::min(services, services_); i < std::max(services, services_); ++i) {
      changed.insert({"default", cat("s", i)});
    }
    const ApplyReport report = driver_->apply(next, changed, false);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    EXPECT_EQ(report.services_changed, services_ == 0 ? services : changed.size());
    services_ = services;
    EXPECT_EQ(driver_->verify(false)->size(), 0u);
  }
  bool has_tree() { return kernel_.saved().find(":KUBE-SERVICES-00 ") != std::string::npos; }
  bool is_brief() { return kernel_.saved().find(":http -> 10.128.") == std::string::npos; }

  IptablesKernel kernel_{KernelKind::fake, options()};
  const std::unique_ptr<Driver> driver_ = kernel_.make_driver();
  uint32_t services_ = 0;
};

TEST_F(Growth, TheStyleFollowsTheClusterAndStaysWhileItIsHalfAsLarge) {
  const struct {
    uint32_t services;
    bool tree, brief;
  } steps[] = {{1, false, false}, {4, false, false}, {5, true, true},   {30, true, true},
               {3, true, true},   {2, false, false}, {4, false, false}, {5, true, true}};
  for (const auto& step : steps) {
    SCOPED_TRACE(step.services);
    become(step.services);
    EXPECT_EQ(has_tree(), step.tree);
    EXPECT_EQ(is_brief(), step.brief);
  }
}

TEST_F(Growth, WithinAStyleOnlyTheChangeIsWritten) {
  become(10);
  kernel_.take_counts();
  become(11);
  const auto counts = kernel_.take_counts();
  EXPECT_EQ(counts.restores, 1u);
  EXPECT_EQ(counts.saves, 2u);  // of become()'s own verify()
  EXPECT_LT(counts.bytes, 1500u);
}

}  // namespace
}  // namespace fairlead::dataplane
