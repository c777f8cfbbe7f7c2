// What IPVS mode claims for each address, against resolve(): the same in all but the rows of the
// capability table.
#include "dataplane/ipvs/wanted.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/flow.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::ipvs {
namespace {

bool allows(const Claim& claim, const Ip& source) {
  if (claim.sources.empty()) return true;
  return std::any_of(claim.sources.begin(), claim.sources.end(),
                     [&](const Cidr& cidr) { return cidr.contains(source); });
}

void check(const ServiceTable& table, const ServiceKey& key, const Claim& claim, const Ip& source) {
  const FlowResult want = resolve(table, source, key.ip, key.port, key.protocol);
  const std::string where = cat(source.to_string(), " -> ", to_text(key), ": ", to_text(want));
  const bool outside = classify_source(table.node, source) == SourceClass::outside;
  EXPECT_EQ(want.service, claim.owner) << where;
  if (!allows(claim, source)) {
    EXPECT_EQ(want.outcome, FlowOutcome::drop) << where;
    return;
  }
  switch (want.outcome) {
    case FlowOutcome::pass:
      ADD_FAILURE() << where;
      break;
    case FlowOutcome::reject:
      EXPECT_EQ(claim.gate, Gate::refuse) << where;
      break;
    case FlowOutcome::drop:
      EXPECT_TRUE(claim.gate == Gate::discard || (outside && claim.gate == Gate::insiders))
          << where;
      break;
    case FlowOutcome::forward: {
      EXPECT_TRUE(claim.gate == Gate::open || (!outside && claim.gate == Gate::insiders)) << where;
      std::set<SocketAddress> candidates;
      for (const FlowCandidate& one : want.candidates) {
        candidates.insert({one.backend.ip, one.backend.port});
      }
      const std::set<SocketAddress> claimed(claim.backends.begin(), claim.backends.end());
      const bool by_source =
          want.frontend.local_only && want.frontend.kind != FrontendKind::cluster_ip;
      if (outside || !by_source) {
        EXPECT_EQ(claimed, candidates) << where;
      }
      EXPECT_TRUE(
          std::includes(candidates.begin(), candidates.end(), claimed.begin(), claimed.end()) ||
          by_source)
          << where;
      EXPECT_FALSE(claimed.empty()) << where;
      break;
    }
  }
}

TEST(IpvsWanted, ClaimsAreAsResolved) {
  size_t checked = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    RandomCluster cluster(seed);
    Wanted wanted("rr");
    ServiceTable table;
    table.node = random_node();
    std::vector<Ip> sources = table.node.node_ips;
    for (const Cidr& cidr : table.node.local_pod_cidrs) sources.push_back(cidr.at(5));
    sources.push_back(*Ip::parse("203.0.113.77"));
    sources.push_back(*Ip::parse("2001:db8:9::77"));
    std::set<ServiceKey> keys;
    for (int step = 0; step < 40; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      for (const ServiceKey& key : wanted.update(table, changed, false)) keys.insert(key);
      for (const ServiceKey& key : keys) {
        const auto claim = wanted.claim(table, key);
        if (!claim) continue;
        for (const Ip& source : sources) {
          if (source.is_v4() == key.ip.is_v4()) check(table, key, *claim, source), ++checked;
        }
      }
    }
  }
  EXPECT_GT(checked, 10'000u);
}

// "GATE MASQUERADE BACKENDS", with L for the local and R for the remote one.
std::string text(const Claim& claim) {
  constexpr std::string_view gates[] = {"open", "refuse", "discard", "insiders"};
  constexpr std::string_view masquerades[] = {"by-source", "always", "node"};
  std::string out = cat(gates[static_cast<size_t>(claim.gate)], " ",
                        masquerades[static_cast<size_t>(claim.masquerade)], " ");
  for (const SocketAddress& one : claim.backends) out += one.ip == Ip::v4(1) ? 'L' : 'R';
  return cat(out, claim.on_device ? " on-device" : "", claim.sources.empty() ? "" : " guarded");
}

TEST(IpvsWanted, OneClaimForEveryKindOfFrontendAndPolicy) {
  using enum FrontendKind;
  using enum NoBackend;
  const Backend local{Ip::v4(1), 80, true}, remote{Ip::v4(2), 80, false};
  struct Case {
    FrontendKind kind;
    bool local_only;
    std::vector<Backend> backends;
    NoBackend if_empty;
    std::string_view want;
    uint32_t cluster_first = 0;
    std::string_view range = {};
  };
  const Case cases[] = {
      {cluster_ip, false, {local, remote}, drop, "open by-source LR on-device"},
      {cluster_ip, false, {}, reject, "refuse by-source  on-device"},
      {cluster_ip, false, {}, drop, "discard by-source  on-device"},
      {cluster_ip, true, {local, remote}, drop, "open by-source L on-device"},
      {cluster_ip, true, {remote}, drop, "discard by-source  on-device"},
      {node_port, false, {local, remote}, drop, "open always LR"},
      {node_port, false, {}, reject, "refuse always "},
      // Where the node has local ones everybody gets those, where it has none outsiders get
      // nothing.
      {node_port, true, {local, remote}, drop, "open node L"},
      {node_port, true, {remote}, drop, "insiders node R"},
      {node_port, true, {}, reject, "refuse node "},
      {external_ip, false, {remote}, drop, "open always R on-device"},
      {external_ip, true, {remote}, drop, "insiders node R on-device"},
      {external_ip, true, {local}, drop, "open node L on-device"},
      // Terminating local ones serve the Local policy only; insiders have the remote ones.
      {external_ip, true, {local, remote}, drop, "open node L on-device", 1},
      {cluster_ip, false, {local, remote}, drop, "open by-source R on-device", 1},
      {load_balancer, false, {local, remote}, drop, "open always LR on-device"},
      {load_balancer, false, {local}, drop, "open always L on-device guarded", 0, "10.0.0.0/8"},
      {load_balancer, false, {local}, drop, "open always L on-device", 0, "0.0.0.0/0"},
      {load_balancer, true, {remote}, drop, "insiders node R on-device guarded", 0, "10.0.0.0/8"},
      {external_ip, false, {local}, drop, "open always L on-device", 0, "10.0.0.0/8"},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    const Case& c = cases[i];
    ServiceTable table;
    table.node = random_node();
    const bool node_port_kind = c.kind == node_port;
    const Ip ip = node_port_kind ? Ip::v4(0) : *Ip::parse("203.0.113.9");
    PortRule rule;
    rule.frontends = {{c.kind, ip, 80, c.local_only}};
    rule.backends = c.backends;
    rule.if_empty = c.if_empty;
    rule.cluster_first = c.cluster_first;
    if (!c.range.empty()) rule.source_ranges = {*Cidr::parse(c.range)};
    table.services[{"default", "s"}].ports = {rule};
    Wanted wanted("rr");
    const auto keys = wanted.update(table, {}, true);
    EXPECT_EQ(keys.size(), node_port_kind ? 2u : 1u) << "an IPv4 address of the node each";
    for (const ServiceKey& key : keys) {
      EXPECT_EQ(text(*wanted.claim(table, key)), c.want) << "case " << i;
    }
  }
}

TEST(IpvsWanted, SettingsFollowTheRuleAndTheScheduler) {
  struct Case {
    std::string scheduler;
    Algorithm algorithm;
    uint32_t affinity_s;
    Settings want;
  };
  const Case cases[] = {
      {"rr", Algorithm::random, 0, {"rr", false, 0}},
      {"sh", Algorithm::random, 0, {"sh", false, 0}},
      {"mh", Algorithm::random, 0, {"mh", true, 0}},
      {"wlc", Algorithm::maglev, 0, {"mh", true, 0}},
      {"rr", Algorithm::random, 10800, {"rr", false, 10800}},
      {"rr", Algorithm::maglev, 1, {"mh", true, 1}},
  };
  for (const Case& c : cases) {
    ServiceTable table;
    PortRule rule;
    rule.frontends = {{FrontendKind::cluster_ip, Ip::v4(9), 80}};
    rule.algorithm = c.algorithm;
    rule.affinity_timeout_s = c.affinity_s;
    table.services[{"default", "s"}].ports = {rule};
    Wanted wanted(c.scheduler);
    const auto keys = wanted.update(table, {}, true);
    EXPECT_EQ(wanted.claim(table, *keys.begin())->settings, c.want);
  }
}

TEST(IpvsWanted, TheNextOneTakesOverAnAddressThatIsLetGo) {
  const auto entry = [](uint16_t backend_port) {
    ServiceEntry out;
    PortRule& rule = out.ports.emplace_back();
    rule.frontends = {{FrontendKind::external_ip, Ip::v4(0x01010101), 80, false}};
    rule.backends = {{Ip::v4(0x0a000001), backend_port, false}};
    return out;
  };
  ServiceTable table;
  table.services[{"a", "x"}] = entry(1);
  table.services[{"b", "x"}] = entry(2);
  Wanted wanted("rr");
  wanted.update(table, {}, true);
  const ServiceKey key{Ip::v4(0x01010101), Protocol::tcp, 80};
  EXPECT_EQ(wanted.claim(table, key)->backends[0].port, 1);
  table.services.erase({"a", "x"});
  EXPECT_EQ(wanted.update(table, {{"a", "x"}}, false), std::set<ServiceKey>{key});
  EXPECT_EQ(wanted.claim(table, key)->backends[0].port, 2);
  EXPECT_EQ(wanted.keys_of({"b", "x"}), std::vector<ServiceKey>{key});
  table.services.clear();
  wanted.update(table, {}, true);
  EXPECT_FALSE(wanted.claim(table, key));
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
