// What is served, and by whom: against resolve(), which says it for every mode.
#include "dataplane/userspace/routing_table.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/flow.h"
#include "dataplane/userspace/wanted.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::userspace {
namespace {

RoutingTable table_of(const ServiceTable& services) {
  Wanted wanted;
  return RoutingTable().with(std::make_shared<const NodeConfig>(services.node),
                             wanted.update(services, {}, true).routes);
}

const Ip sources[] = {Ip::v4(0xc0a80001),        *Ip::parse("10.1.0.3"),     *Ip::parse("10.2.0.3"),
                      Ip::v4(0x7f000001),        *Ip::parse("198.51.100.7"), *Ip::parse("fd01::1"),
                      *Ip::parse("fd00::a01:3"), *Ip::parse("2001:db8::7")};

void expect_as_resolved(const ServiceTable& services, const RoutingTable& table, const Ip& source,
                        const FlowKey& key) {
  const FlowResult want = resolve(services, source, key.to.ip, key.to.port, key.protocol);
  const Choice choice = choose_route(table, source, key);
  std::vector<Backend> backends;
  for (const FlowCandidate& candidate : want.candidates) backends.push_back(candidate.backend);
  EXPECT_EQ(std::vector<Backend>(choice.backends.begin(), choice.backends.end()), backends)
      << source.to_string() << " -> " << key.to_string() << ": " << to_text(want);
  EXPECT_EQ(choice.route == nullptr, want.service.name.empty()) << key.to_string();
}

TEST(RoutingTable, ServesEveryFlowAsItIsResolved) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    RandomCluster cluster(seed);
    api::SnapshotBuilder::Tick tick;
    for (int step = 0; step < 30; ++step) tick = cluster.step();
    NodeConfig node = random_node();
    if (seed % 2 == 0) node.node_port_ips = {Ip::v4(0xc0a80002)};
    const ServiceTable services = compile(*tick.snapshot, node);
    const RoutingTable table = table_of(services);
    std::set<FlowKey> keys;
    for (const auto& [key, route] : table.rows()) {
      keys.insert(key);
      keys.insert({{key.to.ip, 9}, key.protocol});  // a port that nobody has
    }
    EXPECT_GT(keys.size(), 10u);
    for (const FlowKey& key : keys) {
      for (const Ip& source : sources) {
        if (source.is_v4() == key.to.ip.is_v4()) expect_as_resolved(services, table, source, key);
      }
    }
  }
}

TEST(RoutingTable, ChangesMakeANewTableAndLeaveTheOldOne) {
  const auto rule = std::make_shared<const NamedRule>();
  const FlowKey a{{Ip::v4(1), 80}, Protocol::tcp}, b{{Ip::v4(2), 80}, Protocol::udp};
  const Frontend other{FrontendKind::external_ip, Ip::v4(2), 80, true};
  const auto node = std::make_shared<const NodeConfig>(random_node());
  const RoutingTable empty;
  const RoutingTable one = empty.with(node, {{a, Route{rule, {}}}});
  const RoutingTable two = one.with(node, {{b, Route{rule, other}}, {a, std::nullopt}});
  EXPECT_EQ(empty.find(a), nullptr);
  ASSERT_NE(one.find(a), nullptr);
  EXPECT_EQ(one.find(b), nullptr);
  EXPECT_EQ(two.find(a), nullptr);
  EXPECT_EQ(two.find(b)->frontend, other);
  EXPECT_EQ(one.node(), random_node());
  EXPECT_EQ(two.rows().size(), 1u);
  // The key has everything in it: no protocol or port stands for another.
  EXPECT_EQ(one.find({a.to, Protocol::udp}), nullptr);
  EXPECT_EQ(one.find({{a.to.ip, 81}, Protocol::tcp}), nullptr);
}

// Addresses in a row, as clusters give them, differ in their last bytes only.
TEST(FlowKeyHash, SpreadsAddressesInARowOverTheTable) {
  for (const char* first : {"10.96.0.0", "fd96::"}) {
    std::map<size_t, size_t> leaves;
    size_t most = 0;
    for (uint32_t i = 0; i < 10'000; ++i) {
      Ip ip = *Ip::parse(first);
      ip.bytes[14] = static_cast<uint8_t>(i >> 8);
      ip.bytes[15] = static_cast<uint8_t>(i);
      const size_t hash = FlowKeyHash()({{ip, 80}, Protocol::tcp});
      most = std::max(most, ++leaves[hash % 4096]);
    }
    EXPECT_GT(leaves.size(), 3000u) << first;
    EXPECT_LT(most, 24u) << first;
  }
}

TEST(Rows, NodePortsHaveOneForEachAddressOfTheirFamily) {
  NodeConfig node = random_node();
  ServiceEntry entry;
  for (const bool ipv6 : {false, true}) {
    PortRule rule;
    rule.port_name = "p";
    rule.ipv6 = ipv6;
    rule.frontends = {{FrontendKind::node_port, ipv6 ? Ip{} : Ip::v4(0), 30080}};
    entry.ports.push_back(rule);
  }
  const auto addresses = [&] {
    std::vector<std::string> out;
    for (const auto& [key, route] : rows_of(node, {"default", "web"}, entry)) {
      out.push_back(key.to_string());
    }
    return join(out, " ");
  };
  EXPECT_EQ(addresses(),
            "127.0.0.1:30080/TCP 192.168.0.1:30080/TCP 192.168.0.2:30080/TCP [fd01::1]:30080/TCP");
  node.localhost_node_ports = false;
  node.node_port_ips = {Ip::v4(0xc0a80002)};
  EXPECT_EQ(addresses(), "192.168.0.2:30080/TCP");
  for (PortRule& rule : entry.ports) rule.protocol = Protocol::sctp;
  EXPECT_EQ(addresses(), "");
}

TEST(ChooseRoute, TheDialledAddressAsSourceIsTheNodeItself) {
  ServiceTable services;
  services.node = random_node();
  PortRule rule;
  rule.frontends = {{FrontendKind::external_ip, *Ip::parse("203.0.113.1"), 80, true}};
  rule.backends = {{Ip::v4(0x0a020001), 80, false}};
  services.services[{"default", "web"}].ports = {rule};
  const RoutingTable table = table_of(services);
  const FlowKey key{{*Ip::parse("203.0.113.1"), 80}, Protocol::tcp};
  EXPECT_EQ(choose_route(table, key.to.ip, key).backends.size(), 1u);
  EXPECT_EQ(choose_route(table, *Ip::parse("203.0.113.9"), key).backends.size(), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
