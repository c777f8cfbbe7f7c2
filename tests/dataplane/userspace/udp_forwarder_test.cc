// The forwarder of datagrams in one thread, without capture: what is dialled is its own socket.
// What it says when a datagram goes nowhere.
#include "dataplane/userspace/udp_forwarder.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "dataplane/userspace/sockets.h"

namespace fairlead::dataplane::userspace {
namespace {

const Ip loopback = Ip::v4(0x7f000001);

class UdpForwarding : public testing::Test {
 protected:
  UdpForwarding()
      : captured_(*open_captured_udp()),
        dialled_{loopback, net::local_address(captured_.get())->port},
        client_(*net::bind_udp({loopback, 0})),
        forwarder_(with_, captured_.get()) {}

  void publish(const std::vector<Backend>& backends) {
    NamedRule rule{"default/web:p/UDP4", {}};
    rule.rule.protocol = Protocol::udp;
    rule.rule.backends = backends;
    const Frontend frontend{FrontendKind::cluster_ip, dialled_.ip, dialled_.port};
    rule.rule.frontends = {frontend};
    const Route route{std::make_shared<const NamedRule>(rule), frontend};
    table_.store(std::make_shared<const RoutingTable>(RoutingTable().with(
        std::make_shared<const NodeConfig>(), {{{dialled_, Protocol::udp}, route}})));
  }
  void say(std::string_view data) {
    const net::RawAddress to = net::to_raw(dialled_);
    ASSERT_EQ(::sendto(client_.get(), data.data(), data.size(), 0, to.get(), to.size),
              static_cast<ssize_t>(data.size()));
    const uint64_t before = metrics_.datagrams.value();
    for (int i = 0; i < 100 && metrics_.datagrams.value() == before; ++i) {
      loop_.run_once(std::chrono::milliseconds(100));
    }
    EXPECT_EQ(metrics_.datagrams.value(), before + 1);
    EXPECT_EQ(metrics_.udp_flows.value(), 0);
  }

  FakeClock clock_;
  Registry registry_;
  ForwardingMetrics metrics_{registry_};
  ForwardingLimits limits_;
  PublishedTable table_;
  net::EventLoop loop_;
  Balancer balancer_{clock_, 10};
  const Forwarding with_{loop_, table_, balancer_, clock_, limits_, metrics_};
  net::Fd captured_;
  SocketAddress dialled_;
  net::Fd client_;
  UdpForwarder forwarder_;
};

// The kernel goes on to capture for a moment after the table has lost a Service.
TEST_F(UdpForwarding, WhatNobodyServesAnyMoreIsRefused) {
  say("to nobody");
  EXPECT_EQ(metrics_.refused_policy.value(), 1u);
  publish({});
  say("to a Service without endpoints");
  EXPECT_EQ(metrics_.refused_policy.value(), 2u);
  EXPECT_EQ(metrics_.refused_limit.value() + metrics_.refused_backend.value(), 0u);
}

// The captured socket itself has the address here, and shares it with nobody.
TEST_F(UdpForwarding, AFlowThatCouldNotBeAnsweredIsNone) {
  publish({{loopback, 9, false}});
  for (uint64_t i = 1; i <= 3; ++i) {
    say("hello");
    EXPECT_EQ(metrics_.refused_limit.value(), i);
  }
  EXPECT_EQ(metrics_.flows_evicted.value() + metrics_.datagrams_lost.value(), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
