// Repair of datagram flows after changes of the table, over a tracker in memory.
#include "dataplane/driver_flows.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dataplane {
namespace {

const api::ObjectKey dns{"default", "dns"}, web{"default", "web"};

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

PortRule rule(Protocol protocol, std::string_view vip, std::vector<std::string_view> backends) {
  PortRule out;
  out.port_name = "p";
  out.protocol = protocol;
  out.frontends = {{FrontendKind::cluster_ip, at(vip).ip, at(vip).port}};
  for (const std::string_view one : backends) out.backends.push_back({at(one).ip, at(one).port});
  return out;
}

class Repair : public testing::Test {
 protected:
  Repair() {
    auto conntrack = std::make_unique<net::FakeConntrack>();
    conntrack_ = conntrack.get();
    repair_ = std::make_unique<DriverFlows>(std::move(conntrack), "test", Log(sink_), registry_);
    table_.services[dns].ports = {
        rule(Protocol::udp, "10.96.0.10:53", {"10.1.0.5:53", "10.1.0.6:53"})};
    table_.services[web].ports = {rule(Protocol::tcp, "10.96.0.11:80", {"10.1.0.7:80"})};
    apply({}, true);
  }

  void apply(const std::set<api::ObjectKey>& changed, bool full) {
    repair_->update(table_, changed, full);
    const auto repaired = repair_->repair();
    ASSERT_TRUE(repaired) << repaired.error().message;
  }
  void flow(std::string_view to, std::string_view answers) {
    const SocketAddress client = at(cat("10.1.0.9:", ++port_));
    conntrack_->add({Protocol::udp, client, at(to), at(answers), client, 0});
  }
  // Who answers the flows that are left.
  std::string left() const {
    std::vector<std::string> out;
    for (const TrackedFlow& one : conntrack_->all()) out.push_back(one.reply_source.to_string());
    return join(out, " ");
  }

  MemoryLogSink sink_;
  Registry registry_;
  net::FakeConntrack* conntrack_;
  std::unique_ptr<DriverFlows> repair_;
  ServiceTable table_;
  uint16_t port_ = 4000;
};

TEST_F(Repair, FlowsOfABackendThatLeftGoAndTheOthersStay) {
  flow("10.96.0.10:53", "10.1.0.5:53");
  flow("10.96.0.10:53", "10.1.0.6:53");
  table_.services[dns].ports[0].backends.pop_back();
  apply({dns}, false);
  EXPECT_EQ(left(), "10.1.0.5:53");
  EXPECT_EQ(registry_.counter("fairlead_test_stale_flows_removed_total", "").value(), 1u);
}

TEST_F(Repair, OnlyChangesThatCanMakeStaleFlowsListThem) {
  const size_t reads = conntrack_->reads();
  table_.services[dns].ports[0].backends.push_back({at("10.1.0.8:53").ip, 53, false});
  apply({dns}, false);  // one more
  apply({dns}, false);  // the same again
  table_.services[web].ports[0].backends.clear();
  apply({web}, false);  // not UDP
  table_.services[dns].ports[0].affinity_timeout_s = 60;
  apply({dns}, false);
  EXPECT_EQ(conntrack_->reads(), reads);
  table_.services[dns].ports[0].backends.clear();
  apply({dns}, false);
  EXPECT_EQ(conntrack_->reads(), reads + 1);
}

TEST_F(Repair, FlowsToAFrontendThatHasGoneGoIfTheyWereTranslated) {
  flow("10.96.0.10:53", "10.1.0.5:53");
  flow("192.0.2.1:53", "10.1.0.5:53");  // somebody else's translation
  table_.services.erase(dns);
  apply({dns}, false);
  EXPECT_EQ(left(), "10.1.0.5:53");
  EXPECT_EQ(conntrack_->all().begin()->destination, at("192.0.2.1:53"));
}

TEST_F(Repair, FlowsOlderThanTheServiceGo) {
  flow("10.96.0.12:53", "10.96.0.12:53");
  table_.services[web].ports.push_back(rule(Protocol::udp, "10.96.0.12:53", {"10.1.0.7:53"}));
  apply({web}, false);
  EXPECT_EQ(left(), "");
}

TEST_F(Repair, AMovedFrontendIsOneThatWentAndOneThatCame) {
  flow("10.96.0.10:53", "10.1.0.5:53");
  table_.services[dns].ports[0].frontends[0].ip = at("10.96.0.20:53").ip;
  apply({dns}, false);
  EXPECT_EQ(left(), "");
}

TEST_F(Repair, AFullTableIsHeldAgainstEverything) {
  flow("10.96.0.10:53", "10.1.0.66:53");  // what another run has left
  flow("192.168.0.1:30053", "10.1.0.5:53");
  apply({}, true);
  EXPECT_EQ(left(), "10.1.0.5:53");
  // NodePorts move with the node's addresses.
  table_.services[dns].ports[0].frontends.push_back({FrontendKind::node_port, Ip::v4(0), 30053});
  table_.node.node_ips = {at("192.168.0.1:1").ip};
  apply({}, true);
  EXPECT_EQ(left(), "10.1.0.5:53");
  table_.node.node_ips = {at("192.168.0.2:1").ip};
  apply({}, true);
  EXPECT_EQ(left(), "");
}

TEST_F(Repair, FrontendsOfAnEarlierRunCanBeNamed) {
  flow("10.96.0.66:53", "10.1.0.66:53");
  flow("10.96.0.67:53", "10.1.0.66:53");
  repair_->left(at("10.96.0.66:53"));
  apply({}, false);
  ASSERT_EQ(conntrack_->all().size(), 1u);
  EXPECT_EQ(conntrack_->all().begin()->destination, at("10.96.0.67:53"));
}

TEST_F(Repair, CheckingEverythingNeedsNoChange) {
  flow("10.96.0.10:53", "10.1.0.66:53");  // the kernel had another backend for a while
  apply({}, false);
  EXPECT_EQ(left(), "10.1.0.66:53");
  repair_->check_all();
  apply({}, false);
  EXPECT_EQ(left(), "");
}

TEST_F(Repair, WhatFailsIsTriedAgain) {
  flow("10.96.0.10:53", "10.1.0.6:53");
  conntrack_->fail_with("no buffer space");
  table_.services[dns].ports[0].backends.pop_back();
  repair_->update(table_, {dns}, false);
  EXPECT_FALSE(repair_->repair());
  conntrack_->fail_with("");
  EXPECT_TRUE(repair_->repair());
  EXPECT_EQ(left(), "");
}

TEST_F(Repair, FlowsThatNeedTheTracker) {
  const RetiredAddresses retired{{at("10.96.0.11:80"), at("10.96.0.10:53")}, {at("10.1.0.7:80")}};
  const SocketAddress client = at("10.1.0.9:5000"), vip = at("10.96.0.11:80"),
                      backend = at("10.1.0.7:80"), other = at("10.1.0.8:80"),
                      node = at("192.0.2.1:5000"), changed = at("192.0.2.1:5001");
  const FlowStage open = FlowStage::open, ended = FlowStage::ended;
  struct Case {
    const char* what;
    TrackedFlow flow;
    bool left;
  };
  const Case cases[] = {
      {"translated", {Protocol::tcp, client, vip, backend, client, 0, open}, true},
      {"its last segments", {Protocol::tcp, client, vip, backend, client, 0, ended}, true},
      {"datagrams", {Protocol::udp, client, at("10.96.0.10:53"), other, client, 0, open}, true},
      {"untranslated", {Protocol::tcp, client, vip, vip, client, 0, open}, false},
      {"nobody's service", {Protocol::tcp, client, at("10.96.0.99:80"), backend, client}, false},
      {"of this node, from another port", {Protocol::tcp, node, backend, backend, changed}, true},
      {"over", {Protocol::tcp, node, backend, backend, changed, 0, ended}, false},
      {"from its own port", {Protocol::tcp, node, backend, backend, node}, false},
      {"to nobody's backend", {Protocol::tcp, node, other, other, changed}, false},
      {"masqueraded by others", {Protocol::tcp, client, backend, backend, node}, false},
  };
  for (const Case& c : cases) {
    conntrack_->add(c.flow);
    EXPECT_EQ(repair_->any_left(retired), c.left) << c.what;
    EXPECT_FALSE(repair_->any_left({})) << c.what;
    EXPECT_TRUE(*conntrack_->remove(c.flow));
  }
  conntrack_->fail_with("no buffer space");
  EXPECT_TRUE(repair_->any_left(retired)) << "nobody knows";
}

TEST(RepairWithoutATracker, DoesNothing) {
  MemoryLogSink sink;
  Registry registry;
  DriverFlows repair(nullptr, "test", Log(sink), registry);
  repair.update({}, {}, true);
  repair.left(at("10.96.0.10:53"));
  repair.check_all();
  EXPECT_TRUE(repair.repair());
  EXPECT_FALSE(repair.any_left({{at("10.96.0.10:53")}, {}}));
}

}  // namespace
}  // namespace fairlead::dataplane
