// Names, rule texts, and iptables-save's output: pure functions.
#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/iptables/layout.h"
#include "dataplane/iptables/names.h"
#include "dataplane/iptables/restore_input.h"
#include "dataplane/iptables/saved_rules.h"

namespace fairlead::dataplane::ipt {
namespace {

TEST(ChainNames, AreThoseOfKubeProxy) {
  EXPECT_EQ(port_label({"ns1", "svc1"}, "p80"), "ns1/svc1:p80");
  EXPECT_EQ(chain_name(ChainKind::cluster, "ns1/svc1:p80", Protocol::tcp),
            "KUBE-SVC-XPGD46QRK7WJZT7O");
  EXPECT_EQ(chain_name(ChainKind::external, "ns1/svc1:p80", Protocol::tcp),
            "KUBE-EXT-XPGD46QRK7WJZT7O");
  EXPECT_EQ(endpoint_chain_name("ns1/svc1:p80", Protocol::tcp, "10.180.0.1:80"),
            "KUBE-SEP-SXIVWICOYRO3J4NJ");
  EXPECT_EQ(port_label({"ns1", "svc1"}, ""), "ns1/svc1");
  EXPECT_NE(chain_name(ChainKind::cluster, "ns1/svc1", Protocol::tcp),
            chain_name(ChainKind::cluster, "ns1/svc1", Protocol::udp));
}

TEST(ChainNames, OfOthersAreNotOurs) {
  for (const char* name : {"KUBE-SERVICES", "KUBE-SVC-A", "KUBE-XLB-A", "KUBE-PROXY-CANARY",
                           "KUBE-SERVICES-a5", "KUBE-NODEPORTS-tcp-753"}) {
    EXPECT_TRUE(is_our_chain(name)) << name;
  }
  for (const char* name : {"KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-MARK-DROP", "INPUT",
                           "cali-KUBE-SVC-A", "kube-services", ""}) {
    EXPECT_FALSE(is_our_chain(name)) << name;
  }
}

TEST(NormalForm, IsTheSameForEqualRules) {
  const std::pair<const char*, const char*> equal[] = {
      {"-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j X", "-p tcp -d 10.0.0.1/32 --dport 80 -j X"},
      {"-m statistic --mode random --probability 0.33333333349 -j X",
       "-m statistic --mode random --probability 0.3333333333 -j X"},
      {"-m recent --set --name A --mask 255.255.255.255 --rsource -j X",
       "-m recent --set --name A --rsource -j X"},
      {"-m comment --comment abc -j X", "-m comment --comment \"abc\" -j X"},
      {"-m comment --comment \"a \\\"b\\\"\" -j X", "-m comment --comment \"a \\\"b\\\"\"   -j X"},
  };
  for (const auto& [a, b] : equal) EXPECT_EQ(normal_form(a), normal_form(b));
  const std::pair<const char*, const char*> different[] = {
      {"! -s 10.0.0.0/8 -j X", "-s 10.0.0.0/8 -j X"},
      {"-m comment --comment \"-j X\" -j Y", "-m comment --comment \"-j Y\" -j X"},
      {"-p tcp --dport 80 -j X", "-p tcp --dport 81 -j X"},
      {"-m statistic --mode random --probability 0.5 -j X",
       "-m statistic --mode random --probability 0.25 -j X"},
  };
  for (const auto& [a, b] : different) EXPECT_NE(normal_form(a), normal_form(b));
}

TEST(TargetOf, IsNotWhatACommentSays) {
  EXPECT_EQ(target_of("-p tcp -j DNAT --to-destination 1.1.1.1:1"), "DNAT");
  EXPECT_EQ(target_of("-m comment --comment \"x -j KUBE-SERVICES\" -j ACCEPT"), "ACCEPT");
  EXPECT_EQ(target_of("-m comment --comment \"x \\\" -j KUBE-SERVICES\" -j ACCEPT"), "ACCEPT");
  EXPECT_EQ(target_of("-g KUBE-SERVICES"), "KUBE-SERVICES");
  EXPECT_EQ(target_of("-p tcp"), "");
  EXPECT_EQ(target_of(""), "");
}

Result<SavedRules> read(std::string_view text) {
  SavedRulesReader reader;
  for (const std::string_view line : split(text, '\n')) FL_TRY_VOID(reader.line(line));
  return reader.finish();
}

TEST(SavedRulesReader, KeepsWhatIsOursAndWhatLeadsThere) {
  const auto saved = read(
      "# Generated\n*nat\n:PREROUTING ACCEPT [1:2]\n:KUBE-SERVICES - [0:0]\n:MINE - [0:0]\n"
      ":KUBE-SVC-A - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A PREROUTING -j MINE\n"
      "-A MINE -j KUBE-SERVICES\n-A KUBE-SERVICES -d 10.0.0.1/32 -j KUBE-SVC-A\n"
      "-A KUBE-SVC-A -j RETURN\nCOMMIT\n*raw\nanything\nCOMMIT\n");
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_EQ(saved->jumps, (std::vector<Jump>{{Table::nat, "PREROUTING", "-j KUBE-SERVICES"},
                                             {Table::nat, "MINE", "-j KUBE-SERVICES"}}));
  const SavedChain* services = saved->find(Table::nat, "KUBE-SERVICES");
  ASSERT_NE(services, nullptr);
  EXPECT_EQ(services->rules, (std::vector<std::string>{"-d 10.0.0.1/32 -j KUBE-SVC-A"}));
  const SavedChain* service = saved->find(Table::nat, "KUBE-SVC-A");
  ASSERT_NE(service, nullptr);
  EXPECT_TRUE(service->rules.empty());
  EXPECT_EQ(service->count, 1u);
  EXPECT_EQ(service->digest, rules_digest({"-j RETURN"}));
  EXPECT_EQ(saved->find(Table::nat, "MINE"), nullptr);
  EXPECT_EQ(saved->find(Table::filter, "KUBE-SERVICES"), nullptr);
}

TEST(SavedRulesReader, RefusesWhatItDoesNotUnderstand) {
  const std::pair<std::string, const char*> cases[] = {
      {"-A X -j Y", "expected a table, not: -A X -j Y"},
      {"*nat\n*filter", "a table inside a table: *filter"},
      {"*nat\n", "the output ends inside a table"},
      {"*nat\n-A KUBE-SERVICES -j X", "rule of no chain: -A KUBE-SERVICES -j X"},
      {"*nat\nfoo", "not understood: foo"},
      {cat("*nat\n-A X ", std::string(20'000, 'x')),
       "a line of 20005 bytes, expected at most 16384"},
  };
  for (const auto& [text, said] : cases) {
    const auto saved = read(text);
    ASSERT_FALSE(saved) << text.substr(0, 40);
    EXPECT_EQ(saved.error().message, cat("iptables-save: ", said));
  }
}

TEST(RestoreInput, HasChainsFirstAndRemovalsLast) {
  RestoreInput input;
  EXPECT_TRUE(input.empty());
  EXPECT_EQ(input.text(), "");
  input.remove(Table::nat, "KUBE-SEP-B");
  input.prepend(Table::nat, "KUBE-SERVICES", "-j KUBE-SVC-A");
  input.erase(Table::nat, "KUBE-SERVICES", "-j KUBE-SEP-B");
  input.write({Table::nat, "KUBE-SVC-A", {"-j RETURN"}});
  input.append_rule(Table::filter, "KUBE-FORWARD", "-j ACCEPT");
  EXPECT_EQ(input.text(),
            "*filter\n-A KUBE-FORWARD -j ACCEPT\nCOMMIT\n"
            "*nat\n:KUBE-SEP-B - [0:0]\n:KUBE-SVC-A - [0:0]\n-D KUBE-SERVICES -j KUBE-SEP-B\n"
            "-I KUBE-SERVICES -j KUBE-SVC-A\n-A KUBE-SVC-A -j RETURN\n-X KUBE-SEP-B\nCOMMIT\n");
  EXPECT_EQ(input.writes(), 5u);
  EXPECT_EQ(input.writes(Table::nat), 4u);
}

std::string text_of(const Layout& layout) {
  std::string out;
  for (const Jump& jump : layout.jumps()) {
    append(out, cat(to_string(jump.table), " ", jump.chain, " ", jump.rule, "\n"));
  }
  std::vector<Chain> chains = layout.base_chains();
  chains.push_back(layout.forward_chain());
  for (const Chain& chain : chains) {
    for (const std::string& rule : chain.rules) {
      append(out, cat(to_string(chain.table), " ", chain.name, " ", rule, "\n"));
    }
  }
  return out;
}

TEST(Layout, BaseChainsAndJumpsAreAsWritten) {
  const NodeConfig node{"n", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.1.0.0/24")}};
  EXPECT_EQ(
      text_of(Layout(node, {})),
      R"(filter INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
filter INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
filter INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
filter FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
filter OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
filter OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
filter OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
nat PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
nat OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
nat POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
filter INPUT -j KUBE-PROXY-LOCALNET
filter OUTPUT -j KUBE-PROXY-LOCALNET
filter KUBE-PROXY-CANARY -m comment --comment "says that nobody flushed" -j RETURN
nat KUBE-PROXY-CANARY -m comment --comment "says that nobody flushed" -j RETURN
filter KUBE-PROXY-LOCALNET ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
filter KUBE-REJECT -p tcp -j REJECT --reject-with tcp-reset
filter KUBE-REJECT -j REJECT --reject-with icmp-port-unreachable
nat KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
nat KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
nat KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
nat KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
filter KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
filter KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
filter KUBE-FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
filter KUBE-FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
filter KUBE-FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
filter KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
)");
}

TEST(Layout, OptionsChangeTheBaseChains) {
  NodeConfig node{"n", {*Ip::parse("fd00::1")}, {*Cidr::parse("fd00::/64")}};
  const std::string text =
      text_of(Layout(node, {.ipv6 = true, .masquerade_mark = 0x8, .tcp_be_liberal = true}));
  EXPECT_EQ(text.find("INVALID"), text.npos);
  EXPECT_EQ(text.find("LOCALNET"), text.npos);
  EXPECT_NE(text.find("--set-xmark 0x8/0x8"), text.npos);
  EXPECT_NE(text.find("icmp6-port-unreachable"), text.npos);
  // A node's address among the pods' is the node's.
  EXPECT_NE(text.find("KUBE-MARK-OUTSIDE -s fd00::1/128 -j KUBE-MARK-MASQ"), text.npos);
}

}  // namespace
}  // namespace fairlead::dataplane::ipt
