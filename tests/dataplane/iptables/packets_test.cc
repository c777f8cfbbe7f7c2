// Real packets through the iptables driver, both variants: what happens to each is what resolve()
// says.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "dataplane/iptables/driver.h"
#include "tests/dataplane/flow_lab.h"
#include "tests/dataplane/udp_talk.h"

namespace fairlead::dataplane {
namespace {

// Load balancers with source ranges, with and without endpoints, and a Service with affinity.
constexpr std::string_view guarded = R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s6}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [10.1.0.0/24, 10.9.0.1/32, "fd00:1::/64", "fd00:9::1/128"]
  clusterIP: 10.96.0.6
  clusterIPs: [10.96.0.6, "fd96::6"]
  ports:
  - {name: t, port: 80, nodePort: 30086}
  - {name: u, port: 80, nodePort: 30086, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.6}, {ip: "2001:db8:1::6"}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s7}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [10.9.0.0/24, "fd00:9::/64"]
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7, "fd96::7"]
  ports:
  - {name: t, port: 80, nodePort: 30087}
  - {name: u, port: 80, nodePort: 30087, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {ip: "2001:db8:1::7"}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s8}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [10.1.0.0/24, "fd00:1::/64"]
  clusterIP: 10.96.0.8
  clusterIPs: [10.96.0.8, "fd96::8"]
  ports:
  - {name: t, port: 80, nodePort: 30088}
  - {name: u, port: 80, nodePort: 30088, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.8}, {ip: "2001:db8:1::8"}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s9}
spec:
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}
  clusterIP: 10.96.0.9
  clusterIPs: [10.96.0.9, "fd96::9"]
  ports:
  - {name: t, port: 80}
  - {name: u, port: 80, protocol: UDP}
)";

std::string more_objects() {
  std::string out(guarded);
  for (const int number : {6, 7, 9}) {
    out += flow_lab::local_slices(number) + flow_lab::remote_slices(number);
  }
  return out;
}

struct Client {
  std::string name, v4, v6;
};
const Client clients[] = {{"pod", "10.1.0.2", "fd00:1::2"},
                          {"node", "10.9.0.1", "fd00:9::1"},
                          {"outside", "10.9.0.2", "fd00:9::2"}};

class IptablesPackets : public testing::TestWithParam<IptablesVariant> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>();
    table_ = FlowLab::table();
  }

  // A driver in the node's namespace, as a run of the agent would have.
  void apply(const ServiceTable& table) {
    lab_->net().in("node", [&] {
      IptablesOptions options;
      options.variant = GetParam();
      driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_);
      const auto started = driver_->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = driver_->apply(table, {}, true);
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

INSTANTIATE_TEST_SUITE_P(Variants, IptablesPackets,
                         testing::Values(IptablesVariant::nft, IptablesVariant::legacy),
                         [](const auto& suite) {
                           return suite.param == IptablesVariant::nft ? "Nft" : "Legacy";
                         });

TEST_P(IptablesPackets, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_P(IptablesPackets, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_P(IptablesPackets, SourceRangesAreAsResolved) {
  table_ = FlowLab::table(more_objects());
  apply(table_);
  for (const Client& client : clients) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
      for (const int number : {6, 7, 8}) {
        const auto check = [&](const std::string& from, const std::string& to, int port) {
          lab_->check_flow(table_, client.name, *Ip::parse(from),
                           {*Ip::parse(to), static_cast<uint16_t>(port)}, protocol);
        };
        check(client.v4, cat("198.51.100.", number), 80);
        check(client.v6, cat("2001:db8:1::", number), 80);
        check(client.v4, "10.9.0.1", 30080 + number);  // no ranges there
        check(client.v6, "fd00:9::1", 30080 + number);
      }
    }
  }
}

TEST_P(IptablesPackets, TheNodeReachesALoadBalancerAddressThatItHolds) {
  table_ = FlowLab::table(more_objects());
  apply(table_);
  lab_->net().in("node", [] { shell("ip addr add 198.51.100.6/32 dev lo"); });
  const Ip address = *Ip::parse("198.51.100.6");
  lab_->check_flow(table_, "node", address, {address, 80}, Protocol::tcp);
}

TEST_P(IptablesPackets, NodePortsOnLocalhostAreAsResolved) {
  apply(table_);
  const Ip localhost = *Ip::parse("127.0.0.1");
  for (uint16_t port = 30081; port <= 30085; ++port) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
      lab_->check_flow(table_, "node", localhost, {localhost, port}, protocol);
    }
  }
  // Neighbours do not reach 127.0.0.1 by route_localnet.
  lab_->net().in("node", [&] {
    const Responder secret("secret", 9999);
    lab_->net().in("outside", [&] {
      shell("sysctl -qw net.ipv4.conf.all.route_localnet=1");
      shell("ip addr del 127.0.0.1/8 dev lo && ip route add 127.0.0.0/8 via 10.9.0.1");
      EXPECT_EQ(ask(*Ip::parse("10.9.0.2"), {localhost, 9999}, Protocol::tcp, 300), "timeout");
    });
  });
}

TEST_P(IptablesPackets, UndefinedPortsAndAddressesAreAsResolved) {
  for (const bool with_range : {false, true}) {
    table_.node.service_cidrs.clear();
    if (with_range) {
      table_.node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
    }
    apply(table_);
    for (const Client& client : clients) {
      for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const Ip v4 = *Ip::parse(client.v4), v6 = *Ip::parse(client.v6);
        lab_->check_flow(table_, client.name, v4, {*Ip::parse("10.96.0.1"), 81}, protocol);
        lab_->check_flow(table_, client.name, v6, {*Ip::parse("fd96::1"), 81}, protocol);
        if (!with_range) continue;
        lab_->check_flow(table_, client.name, v4, {*Ip::parse("10.96.0.77"), 80}, protocol);
        lab_->check_flow(table_, client.name, v6, {*Ip::parse("fd96::77"), 80}, protocol);
      }
    }
  }
}

TEST_P(IptablesPackets, AClientKeepsItsEndpointUntilItWasAwayForTheTimeout) {
  table_ = FlowLab::table(more_objects());
  apply(table_);
  lab_->net().in("pod", [] {
    for (const char* address : {"10.96.0.9", "fd96::9"}) {
      for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const SocketAddress to{*Ip::parse(address), 80};
        const std::string first = ask({}, to, protocol, 3000);
        EXPECT_NE(first.find(' '), first.npos) << first;
        for (int i = 0; i < 12; ++i) EXPECT_EQ(ask({}, to, protocol, 3000), first);
      }
    }
    // Away for three seconds: sooner or later it is the other one.
    std::set<std::string> seen;
    for (int i = 0; i < 8 && seen.size() < 2; ++i) {
      seen.insert(ask({}, {*Ip::parse("10.96.0.9"), 80}, Protocol::tcp, 3000));
      if (seen.size() < 2) std::this_thread::sleep_for(std::chrono::seconds(3));
    }
    EXPECT_EQ(seen.size(), 2u);
  });
}

TEST_P(IptablesPackets, OtherTrafficPasses) {
  apply(table_);
  lab_->net().in("pod", [] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.3.0.2"), 8080}, Protocol::tcp, 3000), "remote 10.1.0.2");
    EXPECT_EQ(ask({}, {*Ip::parse("fd00:2::2"), 8080}, Protocol::udp, 3000), "local fd00:1::2");
    EXPECT_EQ(ask({}, {*Ip::parse("10.9.0.1"), 8080}, Protocol::tcp, 3000), "refused");
  });
}

TEST_P(IptablesPackets, OpenConnectionsOutliveChangesRestartAndCleanup) {
  apply(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->net().in("pod", [&] {
    auto talking = std::make_unique<Conversation>(cluster_ip);
    Conversation& talk = *talking;
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    ServiceTable next = table_;
    // The endpoint leaves: new connections see it, this one does not.
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    lab_->net().in("node", [&] { driver_->apply(next, {{"default", "s3"}}, false); });
    EXPECT_EQ(ask({}, cluster_ip, Protocol::tcp, 200), "timeout");
    EXPECT_EQ(talk.say("one"), "one");
    next.node.local_pod_cidrs.clear();
    apply(next);  // a new run with other settings
    EXPECT_EQ(talk.say("two"), "two");
    lab_->net().in("node", [&] { ASSERT_TRUE(driver_->retire()); });
    // What the old rules held in the kernel goes some time after them.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_EQ(talk.say("three"), "three");
    EXPECT_NE(ask({}, {*Ip::parse("10.96.0.1"), 80}, Protocol::tcp, 200).substr(0, 5), "local");
    EXPECT_FALSE(driver_->drained());
    EXPECT_EQ(talk.say("four"), "four");
    lab_->net().in("node", [] {
      // The tracker remembers for minutes what has ended.
      for (const char* state : {"fin_wait", "close_wait", "last_ack", "time_wait", "close"}) {
        shell(cat("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_", state, "=1"));
      }
    });
    talking.reset();
  });
  lab_->net().in("node", [&] {
    for (int i = 0; i < 100 && !driver_->drained(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    EXPECT_TRUE(driver_->drained());
    EXPECT_TRUE(driver_->cleanup());
    for (const char* save : {"iptables-nft-save", "iptables-legacy-save"}) {
      shell(cat("! ", save, " | grep -q KUBE-"));
    }
  });
}

TEST_P(IptablesPackets, DatagramsMoveOnWhenTheirBackendHasLeft) {
  apply(table_);
  for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
    std::unique_ptr<UdpTalk> talk;
    lab_->net().in("pod",
                   [&] { talk = std::make_unique<UdpTalk>(SocketAddress{*Ip::parse(vip), 80}); });
    const std::string first = talk->ask();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(talk->ask(), first);
    ServiceTable next = table_;
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      std::erase_if(rule.backends,
                    [&](const Backend& one) { return one.local == (first == "local"); });
    }
    const std::set<api::ObjectKey> changed{{"default", "s1"}};
    lab_->net().in("node", [&] { ASSERT_TRUE(driver_->apply(next, changed, false).ok()); });
    EXPECT_EQ(talk->ask(), first == "local" ? "remote" : "local");
    lab_->net().in("node", [&] { ASSERT_TRUE(driver_->apply(table_, changed, false).ok()); });
  }
}

TEST_P(IptablesPackets, DatagramsThatAreOlderThanTheServiceFindIt) {
  const SocketAddress to{*Ip::parse("10.96.0.1"), 80};
  lab_->net().in("node", [] {
    shell(
        "nft 'add table ip seen; add chain ip seen c { type filter hook forward priority 0; }; "
        "add rule ip seen c ct state new accept'");
  });
  std::unique_ptr<UdpTalk> talk;
  lab_->net().in("pod", [&] { talk = std::make_unique<UdpTalk>(to); });
  EXPECT_EQ(talk->ask(50), "timeout");
  apply(table_);
  const std::string answer = talk->ask();
  EXPECT_TRUE(answer == "local" || answer == "remote") << answer;
}

TEST_P(IptablesPackets, NoNewConnectionFailsWhileTheTableChanges) {
  apply(table_);
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
  for (int i = 0; i < 30; ++i) {
    const ServiceTable& next = i % 2 == 0 ? other : table_;
    lab_->net().in("node", [&] {
      if (i % 10 == 9) {  // everything is compared, and some of it written
        ServiceTable renamed = next;
        renamed.node.local_pod_cidrs.push_back(*Cidr::parse(cat("10.77.", i, ".0/24")));
        ASSERT_TRUE(driver_->apply(renamed, {}, true).ok());
      }
      ASSERT_TRUE(driver_->apply(next, {{"default", "s1"}}, false).ok());
    });
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_GT(good, 20);
}

TEST_P(IptablesPackets, MasqueradeAllIsAsResolved) {
  table_.node.masquerade_all = true;
  apply(table_);
  lab_->check_matrix(table_);
}

}  // namespace
}  // namespace fairlead::dataplane
