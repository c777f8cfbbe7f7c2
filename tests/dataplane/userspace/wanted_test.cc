// What shall be captured: as a table of cases, and the same however it came about.
#include "dataplane/userspace/wanted.h"

#include <gtest/gtest.h>

#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::userspace {
namespace {

const Backend local{Ip::v4(0x0a010001), 80, true}, remote{Ip::v4(0x0a020001), 80, false};

TEST(ActionOf, RefusesWhereNobodyGetsABackend) {
  using enum CaptureAction;
  using enum NoBackend;
  struct Case {
    FrontendKind kind;
    bool local_only;
    std::vector<Backend> backends;
    NoBackend if_empty;
    CaptureAction tcp_action, udp_action;
  };
  const Case cases[] = {
      {FrontendKind::cluster_ip, false, {remote}, reject, tcp, udp},
      {FrontendKind::cluster_ip, false, {}, reject, refuse, refuse},
      {FrontendKind::cluster_ip, false, {}, drop, refuse, udp},
      {FrontendKind::cluster_ip, true, {remote}, drop, refuse, udp},
      {FrontendKind::cluster_ip, true, {local, remote}, drop, tcp, udp},
      // Pods and the node get the remote ones.
      {FrontendKind::node_port, true, {remote}, drop, tcp, udp},
      {FrontendKind::node_port, true, {}, reject, refuse, refuse},
      {FrontendKind::load_balancer, true, {}, drop, refuse, udp},
      {FrontendKind::external_ip, false, {local}, drop, tcp, udp},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    const Case& c = cases[i];
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
      NamedRule rule;
      rule.rule.protocol = protocol;
      rule.rule.backends = c.backends;
      rule.rule.if_empty = c.if_empty;
      const Frontend frontend{c.kind, Ip::v4(1), 80, c.local_only};
      rule.rule.frontends = {frontend};
      const Route route{std::make_shared<const NamedRule>(rule), frontend};
      EXPECT_EQ(action_of(random_node(), route),
                protocol == Protocol::tcp ? c.tcp_action : c.udp_action)
          << "case " << i;
    }
  }
}

TEST(Wanted, RandomStepsEndAsReadAnew) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    RandomCluster cluster(seed);
    Wanted wanted;
    RoutingTable routes;
    ServiceTable table;
    table.node = random_node();
    const auto node = std::make_shared<const NodeConfig>(table.node);
    for (int step = 0; step < 80; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      routes = routes.with(node, wanted.update(table, changed, false).routes);
      Wanted anew;
      const auto all = RoutingTable().with(node, anew.update(table, {}, true).routes);
      ASSERT_EQ(wanted.captured(), anew.captured()) << "seed " << seed << " step " << step;
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
  EXPECT_EQ(wanted.keys_of({"default", "a"}), std::vector{key});
  EXPECT_TRUE(wanted.keys_of({"default", "b"}).empty());
  EXPECT_EQ(wanted.vips_of({"default", "b"}), std::vector{shared});
  EXPECT_EQ(wanted.vips().at(shared), 2u);
  table.services.erase({"default", "a"});
  EXPECT_EQ(owner(wanted.update(table, {{"default", "a"}}, false)), "default/b:b/TCP4");
  table.services.clear();
  const auto last = wanted.update(table, {}, true);
  EXPECT_EQ(last.routes.front().second, std::nullopt);
  EXPECT_TRUE(wanted.vips().empty());
  EXPECT_TRUE(wanted.captured().empty());
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
