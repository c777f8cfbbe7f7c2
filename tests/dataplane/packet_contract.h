// What real packets meet in every mode, as tests: as resolve() says, with the differences that the
// mode's rows of the capability table declare. The packets_test.cc of a mode includes this once and
// instantiates PacketContract.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "dataplane/driver.h"
#include "tests/dataplane/flow_lab.h"
#include "tests/dataplane/udp_talk.h"

namespace fairlead::dataplane {

struct PacketCase {
  std::string name;
  Mode mode;
  // Called in the node's namespace, as a run of the agent would.
  std::function<std::unique_ptr<Driver>(net::EventLoop&, const Log&, Registry&)> make;
  Missing missing = {&why_no_namespaces};
  int changes = 60;  // under load
};

inline std::string packet_case_name(const testing::TestParamInfo<PacketCase>& info) {
  return info.param.name;
}

class PacketContract : public testing::TestWithParam<PacketCase> {
 protected:
  void SetUp() override {
    SKIP_WHERE_MISSING(GetParam().missing);
    lab_ = std::make_unique<FlowLab>(GetParam().mode);
    table_ = FlowLab::table();
  }

  // A new run of the agent.
  void start(const ServiceTable& table) {
    lab_->net().in("node", [&] {
      driver_ = GetParam().make(loop_, Log(sink_), registry_);
      const auto started = driver_->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
             bool full = false) {
    lab_->net().in("node", [&] {
      const ApplyReport report = driver_->apply(table, changed, full);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

TEST_P(PacketContract, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  start(table_);
  lab_->check_matrix(table_);
}

TEST_P(PacketContract, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  start(table_);
  lab_->check_matrix(table_);
}

TEST_P(PacketContract, MasqueradeAllIsAsResolved) {
  table_.node.masquerade_all = true;
  start(table_);
  lab_->check_matrix(table_);
  table_.node.local_pod_cidrs.clear();
  start(table_);
  lab_->check_flow(table_, "pod", *Ip::parse("10.1.0.2"), {*Ip::parse("10.96.0.1"), 80},
                   Protocol::udp);
}

TEST_P(PacketContract, SourceRangesAreAsResolved) {
  table_ = FlowLab::table(flow_lab::guarded());
  start(table_);
  FlowLab::for_each_source([&](const std::string& name, const Ip& from, Protocol protocol) {
    for (uint16_t number = 6; number <= 8; ++number) {
      const auto check = [&](const std::string& v4, const std::string& v6, uint16_t port) {
        lab_->check_flow(table_, name, from, {*Ip::parse(from.is_v4() ? v4 : v6), port}, protocol);
      };
      check(cat("198.51.100.", number), cat("2001:db8:1::", number), 80);
      // No ranges there.
      check(cat("10.96.0.", number), cat("fd96::", number), 80);
      check("10.9.0.1", "fd00:9::1", static_cast<uint16_t>(30080 + number));
    }
  });
}

TEST_P(PacketContract, TheNodeReachesALoadBalancerAddressThatItHolds) {
  table_ = FlowLab::table(flow_lab::guarded());
  start(table_);
  lab_->net().in("node", [] { shell("ip addr add 198.51.100.6/32 dev lo"); });
  const Ip address = *Ip::parse("198.51.100.6");
  lab_->check_flow(table_, "node", address, {address, 80}, Protocol::tcp);
}

TEST_P(PacketContract, PortsAndAddressesThatNobodyHasAreAsResolved) {
  for (const bool with_range : {false, true}) {
    if (with_range && !can(GetParam().mode, Capability::unallocated_ips)) continue;
    table_.node.service_cidrs.clear();
    if (with_range) {
      table_.node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
    }
    start(table_);
    FlowLab::for_each_source([&](const std::string& name, const Ip& from, Protocol protocol) {
      const bool v4 = from.is_v4();
      for (const std::string_view to : {v4 ? "10.96.0.1" : "fd96::1", v4 ? "10.96.0.5" : "fd96::5"})
        lab_->check_flow(table_, name, from, {*Ip::parse(to), 81}, protocol);
      if (!with_range) return;
      const Ip nobody = *Ip::parse(v4 ? "10.96.0.77" : "fd96::77");
      lab_->check_flow(table_, name, from, {nobody, 80}, protocol);
    });
  }
}

TEST_P(PacketContract, NodePortsAreOnTheChosenAddressesOnly) {
  NodeConfig node = *parse_node(flow_lab::node_yaml);
  node.node_ips.push_back(*Ip::parse("10.9.0.7"));
  node.node_port_ips = {{*Ip::parse("10.9.0.7")}};
  table_ = FlowLab::table({}, node);
  lab_->net().in("node", [] { shell("ip address add 10.9.0.7/24 dev outside"); });
  start(table_);
  const Ip from = *Ip::parse("10.9.0.2");
  lab_->check_flow(table_, "outside", from, {*Ip::parse("10.9.0.7"), 30081}, Protocol::tcp);
  lab_->net().in("outside", [&] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.9.0.1"), 30081}, Protocol::tcp, 2000), "refused");
  });
}

TEST_P(PacketContract, AClientKeepsItsEndpoint) {
  table_ = FlowLab::table(cat(flow_lab::service(9, "sessionAffinity: ClientIP"),
                              flow_lab::local_slices(9), flow_lab::remote_slices(9)));
  start(table_);
  FlowLab::for_each_source([&](const std::string& name, const Ip& from, Protocol protocol) {
    if (name == "local") return;
    const SocketAddress to{*Ip::parse(from.is_v4() ? "10.96.0.9" : "fd96::9"), 80};
    lab_->net().in(name, [&] {
      const std::string first = ask(from, to, protocol, 3000);
      EXPECT_NE(first.find(' '), first.npos) << first;
      for (int i = 0; i < 8; ++i) EXPECT_EQ(ask(from, to, protocol, 3000), first);
    });
  });
}

TEST_P(PacketContract, OtherTrafficPasses) {
  start(table_);
  lab_->net().in("pod", [] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.3.0.2"), 8080}, Protocol::tcp, 3000), "remote 10.1.0.2");
    EXPECT_EQ(ask({}, {*Ip::parse("fd00:2::2"), 8080}, Protocol::udp, 3000), "local fd00:1::2");
    EXPECT_EQ(ask({}, {*Ip::parse("10.9.0.1"), 8080}, Protocol::tcp, 3000), "refused");
  });
}

TEST_P(PacketContract, OpenConnectionsOutliveChangesAndRestarts) {
  start(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->net().in("pod", [&] {
    Conversation talk(cluster_ip);
    ASSERT_NE(talk.greeting().find("local "), std::string::npos) << talk.greeting();
    ServiceTable next = table_;
    // The endpoint leaves: new connections see it, this one does not.
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    apply(next, {{"default", "s3"}});
    EXPECT_EQ(ask({}, cluster_ip, Protocol::tcp, 500),
              can(GetParam().mode, Capability::silent_drop) ? "timeout" : "refused");
    EXPECT_EQ(talk.say("one"), "one");
    // The whole Service goes, and comes back with other settings.
    next.services.erase({"default", "s3"});
    apply(next, {{"default", "s3"}});
    EXPECT_EQ(talk.say("two"), "two");
    next = table_;
    next.node.local_pod_cidrs.clear();
    apply(next, {}, true);
    EXPECT_EQ(talk.say("three"), "three");
    if (!can(GetParam().mode, Capability::live_flows)) return;
    start(next);
    EXPECT_EQ(talk.say("four"), "four");
  });
}

// One client with one source port: what the kernel remembers of its flow must not outlive what the
// table says. The same for a Service that remembers its clients.
TEST_P(PacketContract, DatagramsFollowTheirService) {
  start(table_);
  std::vector<std::unique_ptr<UdpTalk>> talks;
  for (const std::string_view ip : {"10.96.0.8", "10.96.0.9", "fd96::8", "fd96::9"}) {
    lab_->net().in("pod", [&] {
      talks.push_back(std::make_unique<UdpTalk>(SocketAddress{*Ip::parse(ip), 80}));
      EXPECT_EQ(talks.back()->ask(), "timeout");  // the flow leaves the node untranslated
    });
  }
  struct Step {
    bool local, remote;
    std::string answer;
  };
  const Step steps[] = {
      {true, false, "local"},    {false, true, "remote"},
      {true, true, "remote"},  // one more endpoint moves nobody
      {false, false, "refused"}, {true, false, "local"},
  };
  const std::set<api::ObjectKey> changed{{"default", "s8"}, {"default", "s9"}};
  NodeConfig node = table_.node;
  for (const auto& [local, remote, answer] : steps) {
    std::string yaml;
    for (const int number : {8, 9}) {
      yaml +=
          flow_lab::service(number, cat("sessionAffinity: ", number == 8 ? "ClientIP" : "None"));
      if (local) yaml += flow_lab::local_slices(number);
      if (remote) yaml += flow_lab::remote_slices(number);
    }
    apply(FlowLab::table(yaml, node), changed);
    for (const auto& talk : talks) EXPECT_EQ(talk->ask(), answer) << local << remote;
  }
  if (!can(GetParam().mode, Capability::unallocated_ips)) return;
  node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
  apply(FlowLab::table({}, node), changed);
  for (const auto& talk : talks) EXPECT_EQ(talk->ask(), "timeout");
}

TEST_P(PacketContract, NoNewConnectionFailsWhileTheTableChanges) {
  start(table_);
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    lab_->net().in("pod", [&] {
      while (!stop) {
        const std::string answer = ask({}, {*Ip::parse("10.96.0.1"), 80}, Protocol::tcp, 3000);
        if (answer.starts_with("local") || answer.starts_with("remote")) {
          ++good;
        } else {
          bad = answer;
        }
      }
    });
  });
  ServiceTable other = table_;
  auto& backends = other.services.at({"default", "s1"}).ports[0].backends;
  backends.erase(backends.begin());
  for (int i = 0; i < GetParam().changes; ++i) {
    const ServiceTable& next = i % 2 == 0 ? other : table_;
    if (i % 10 == 9) {  // other rules: everything is compared, and the rules are made again
      ServiceTable renamed = next;
      renamed.node.local_pod_cidrs.push_back(*Cidr::parse(cat("10.77.", i, ".0/24")));
      apply(renamed, {}, true);
    }
    apply(next, {{"default", "s1"}});
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_GT(good, 20);
}

}  // namespace fairlead::dataplane
