// Real packets through the iptables driver, both variants.
#include <set>
#include <thread>

#include "dataplane/iptables/driver.h"
#include "tests/dataplane/packet_contract.h"

namespace fairlead::dataplane {
namespace {

PacketCase packet_case(std::string name, IptablesVariant variant, bool large = false) {
  PacketCase out{std::move(name), Mode::iptables,
                 [variant, large](net::EventLoop& loop, const Log& log, Registry& registry) {
                   IptablesOptions options;
                   options.variant = variant;
                   if (large) options.brief_above = options.tree_above = 0;
                   return make_iptables_driver(options, loop, log, registry);
                 }};
  out.changes = 30;
  return out;
}

const auto variants = testing::Values(packet_case("Nft", IptablesVariant::nft),
                                      packet_case("Legacy", IptablesVariant::legacy));
INSTANTIATE_TEST_SUITE_P(Variants, PacketContract, variants, packet_case_name);
// As for large clusters.
INSTANTIATE_TEST_SUITE_P(Large, PacketContract,
                         testing::Values(packet_case("Nft", IptablesVariant::nft, true),
                                         packet_case("Legacy", IptablesVariant::legacy, true)),
                         packet_case_name);

// What is this mode's alone.
class IptablesPackets : public PacketContract {};
INSTANTIATE_TEST_SUITE_P(Variants, IptablesPackets, variants, packet_case_name);

TEST_P(IptablesPackets, NodePortsOnLocalhostAreAsResolved) {
  start(table_);
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

TEST_P(IptablesPackets, AClientKeepsItsEndpointUntilItWasAwayForTheTimeout) {
  table_ = FlowLab::table(
      cat(flow_lab::service(9,
                            "sessionAffinity: ClientIP\n"
                            "  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}"),
          flow_lab::local_slices(9), flow_lab::remote_slices(9)));
  start(table_);
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
    for (int i = 0; i < 16 && seen.size() < 2; ++i) {
      seen.insert(ask({}, {*Ip::parse("10.96.0.9"), 80}, Protocol::tcp, 3000));
      if (seen.size() < 2) std::this_thread::sleep_for(std::chrono::seconds(3));
    }
    EXPECT_EQ(seen.size(), 2u);
  });
}

TEST_P(IptablesPackets, OpenConnectionsOutliveRetirementAndCleanup) {
  start(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->net().in("pod", [&] {
    auto talking = std::make_unique<Conversation>(cluster_ip);
    Conversation& talk = *talking;
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    ServiceTable next = table_;
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    apply(next, {{"default", "s3"}});
    next.node.local_pod_cidrs.clear();
    start(next);  // a new run with other settings
    EXPECT_EQ(talk.say("one"), "one");
    lab_->net().in("node", [&] { ASSERT_TRUE(driver_->retire()); });
    // What the old rules held in the kernel goes some time after them.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_EQ(talk.say("two"), "two");
    EXPECT_NE(ask({}, {*Ip::parse("10.96.0.1"), 80}, Protocol::tcp, 200).substr(0, 5), "local");
    EXPECT_FALSE(driver_->drained());
    EXPECT_EQ(talk.say("three"), "three");
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

}  // namespace
}  // namespace fairlead::dataplane
