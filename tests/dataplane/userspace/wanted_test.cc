// What shall be captured: as a table of cases, and the same however it came about.
#include "dataplane/userspace/wanted.h"

#include <gtest/gtest.h>

#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::userspace {
namespace {

const Backend local{Ip::v4(0x0a010001), 80, true}, remote{Ip::v4(0x0a020001), 80, false};

// node, pods, outside: "c" carry, "r" refuse, "d" drop; "+" guarded.
std::string text(const Verdicts& verdicts) {
  std::string out;
  for (const Verdict verdict : verdicts.by_source) out += "crd"[static_cast<size_t>(verdict)];
  return out + (verdicts.guarded ? "+" : "");
}

TEST(VerdictsOf, SayWhatEachSourceMeets) {
  using enum NoBackend;
  using enum FrontendKind;
  struct Case {
    FrontendKind kind;
    bool local_only;
    std::vector<Backend> backends;
    NoBackend if_empty;
    std::string_view want;
    std::string_view range = {};
  };
  const Case cases[] = {
      {cluster_ip, false, {remote}, reject, "ccc"},
      {cluster_ip, false, {}, reject, "rrr"},
      {cluster_ip, false, {}, drop, "ddd"},
      {cluster_ip, true, {remote}, drop, "ddd"},
      {cluster_ip, true, {local, remote}, drop, "ccc"},
      // Pods and the node get the remote ones.
      {node_port, true, {remote}, drop, "ccd"},
      {node_port, true, {}, reject, "rrr"},
      {node_port, true, {local}, drop, "ccc"},
      {external_ip, false, {local}, drop, "ccc"},
      {external_ip, true, {remote}, drop, "ccd", "10.0.0.0/8"},  // ranges are not for these
      {load_balancer, true, {}, drop, "ddd"},
      {load_balancer, false, {remote}, drop, "ccc+", "10.0.0.0/8"},
      {load_balancer, true, {remote}, drop, "ccd+", "10.0.0.0/8"},
      {load_balancer, false, {}, reject, "rrr+", "10.0.0.0/8"},
      {load_balancer, false, {remote}, drop, "ccc+", "0.0.0.0/0"},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    const Case& c = cases[i];
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
      NamedRule rule;
      rule.rule.protocol = protocol;
      rule.rule.backends = c.backends;
      rule.rule.if_empty = c.if_empty;
      if (!c.range.empty()) rule.rule.source_ranges = {*Cidr::parse(c.range)};
      const Frontend frontend{c.kind, Ip::v4(1), 80, c.local_only};
      rule.rule.frontends = {frontend};
      const Route route{std::make_shared<const NamedRule>(rule), frontend};
      EXPECT_EQ(text(verdicts_of(random_node(), route)), c.want) << "case " << i;
    }
  }
}

TEST(AdmittedBy, NamesTheRangesAndTheNodeWhereItIsInside) {
  struct Case {
    std::vector<std::string_view> ranges, want;
  };
  const Case cases[] = {
      {{"10.0.0.0/8"}, {"10.0.0.0/8"}},
      {{"10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/16"}, {"10.0.0.0/8", "10.1.0.0/16"}},
      {{"192.168.0.0/16"}, {"192.168.0.0/16", "203.0.113.1/32"}},  // node-0 is in it
      {{"203.0.113.0/24"}, {"203.0.113.0/24", "203.0.113.1/32"}},
  };
  for (const Case& c : cases) {
    NamedRule rule;
    for (const auto range : c.ranges) rule.rule.source_ranges.push_back(*Cidr::parse(range));
    const Frontend frontend{FrontendKind::load_balancer, *Ip::parse("203.0.113.1"), 80};
    const Route route{std::make_shared<const NamedRule>(rule), frontend};
    std::vector<std::string> got;
    for (const Cidr& one : admitted_by(random_node(), route)) got.push_back(one.to_string());
    EXPECT_EQ(got, std::vector<std::string>(c.want.begin(), c.want.end()));
  }
}

// In the kernel's tries all addresses have 16 bytes.
int bits_of(const Cidr& cidr) { return cidr.bits + (cidr.base.is_v4() ? 96 : 0); }
bool covers(const Cidr& cidr, const Ip& ip) {
  for (int bit = 0; bit < bits_of(cidr); ++bit) {
    const size_t byte = static_cast<size_t>(bit / 8);
    if (((cidr.base.bytes[byte] ^ ip.bytes[byte]) & 0x80 >> bit % 8) != 0) return false;
  }
  return true;
}

// The kernel's decision, in the steps in which the program makes it.
FlowOutcome decided(const Wanted& wanted, const Ip& source, const FlowKey& key) {
  const CaptureEntries& entries = wanted.entries();
  const auto found = entries.find(key);
  if (found == entries.end()) return FlowOutcome::pass;
  const Verdicts verdicts = std::get<Verdicts>(found->second);
  SourceClass from = SourceClass::outside;
  int longest = -1;
  bool admitted = false;
  for (const auto& [entry, value] : entries) {
    const auto* network = std::get_if<Cidr>(&entry);
    if (network != nullptr && covers(*network, source) && bits_of(*network) > longest) {
      longest = bits_of(*network);
      from = std::get<SourceClass>(value);
    }
    const auto* guard = std::get_if<Admitted>(&entry);
    admitted |= guard != nullptr && guard->to == key && covers(guard->from, source);
  }
  if (verdicts.guarded && !admitted) return FlowOutcome::drop;
  const Verdict verdict = verdicts.by_source[static_cast<size_t>(from)];
  return verdict == Verdict::carry    ? FlowOutcome::forward
         : verdict == Verdict::refuse ? FlowOutcome::reject
                                      : FlowOutcome::drop;
}

TEST(Wanted, WhatTheKernelDecidesIsAsResolved) {
  size_t flows = 0;
  std::set<FlowOutcome> seen;
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    RandomCluster cluster(seed);
    api::SnapshotBuilder::Tick tick;
    for (int step = 0; step < 40; ++step) tick = cluster.step();
    NodeConfig all_pods = random_node(), all_six = random_node();
    all_pods.local_pod_cidrs = {*Cidr::parse("0.0.0.0/0"), *Cidr::parse("::/0")};
    all_six.local_pod_cidrs = {*Cidr::parse("::/0")};
    for (const ServiceTable& table :
         {compile(*tick.snapshot, random_node()), compile(*tick.snapshot, all_pods),
          compile(*tick.snapshot, all_six), every_kind_table()}) {
      Wanted wanted;
      for (const auto& [key, route] : wanted.update(table, {}, true).routes) {
        for (const char* from :
             {"192.168.0.1", "10.1.0.3", "127.0.0.1", "198.51.100.7", "192.168.7.9", "203.0.113.7",
              "198.18.0.9", "fd01::1", "fd00::a01:3", "::1", "2001:db8::7", "2001:db8:7::7"}) {
          const Ip source = *Ip::parse(from);
          if (source.is_v4() != key.to.ip.is_v4()) continue;
          const auto want = resolve(table, source, key.to.ip, key.to.port, key.protocol);
          EXPECT_EQ(decided(wanted, source, key), want.outcome)
              << from << " -> " << key.to_string() << ": " << to_text(want);
          seen.insert(want.outcome);
          ++flows;
        }
      }
    }
  }
  EXPECT_GT(flows, 500u);
  EXPECT_EQ(seen.size(), 3u) << "forwarded, rejected and dropped ones";
}

TEST(Wanted, RandomStepsEndAsReadAnew) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    RandomCluster cluster(seed);
    Wanted wanted;
    RoutingTable routes;
    ServiceTable table;
    table.node = random_node();
    const auto node = std::make_shared<const NodeConfig>(table.node);
    wanted.update(table, {}, true);
    for (int step = 0; step < 80; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      routes = routes.with(node, wanted.update(table, changed, false).routes);
      Wanted anew;
      const auto all = RoutingTable().with(node, anew.update(table, {}, true).routes);
      ASSERT_EQ(wanted.entries(), anew.entries()) << "seed " << seed << " step " << step;
      ASSERT_EQ(wanted.vips(), anew.vips()) << "seed " << seed << " step " << step;
      ASSERT_EQ(routes.rows(), all.rows()) << "seed " << seed << " step " << step;
    }
  }
}

TEST(Wanted, ASharedAddressGoesToTheServiceThatSortsFirst) {
  ServiceTable table;
  const Ip shared = *Ip::parse("203.0.113.1");
  const FlowKey key{{shared, 80}, Protocol::tcp};
  for (const char* name : {"b", "a"}) {
    PortRule rule;
    rule.port_name = name;
    rule.frontends = {{FrontendKind::external_ip, shared, 80}};
    rule.backends = {remote};
    table.services[{"default", name}].ports = {rule};
  }
  Wanted wanted;
  const auto owner = [](const Wanted::Touched& touched) {
    return touched.routes.front().second->rule->name;
  };
  EXPECT_EQ(owner(wanted.update(table, {{"default", "b"}}, false)), "default/b:b/TCP4");
  EXPECT_EQ(owner(wanted.update(table, {{"default", "a"}}, false)), "default/a:a/TCP4");
  EXPECT_EQ(wanted.keys_of({"default", "a"}), std::vector<CaptureKey>{key});
  EXPECT_TRUE(wanted.keys_of({"default", "b"}).empty());
  EXPECT_EQ(wanted.vips_of({"default", "b"}), std::vector{shared});
  EXPECT_EQ(wanted.vips().at(shared), 2u);
  table.services.erase({"default", "a"});
  EXPECT_EQ(owner(wanted.update(table, {{"default", "a"}}, false)), "default/b:b/TCP4");
  table.services.clear();
  const auto last = wanted.update(table, {}, true);
  EXPECT_EQ(last.routes.front().second, std::nullopt);
  EXPECT_TRUE(wanted.vips().empty());
  EXPECT_FALSE(wanted.entries().contains(key));
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
