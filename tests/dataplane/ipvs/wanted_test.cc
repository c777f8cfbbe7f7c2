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
