// UDP flows that the connection tracker would keep on the wrong way: when the driver forgets them,
// over a kernel and a tracker in memory.
#include <gtest/gtest.h>

#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

const api::ObjectKey service{"default", "s0"};
const SocketAddress vip{Ip::v4(0x0a600000), 80}, client{Ip::v4(0x0a010009), 4000};
const SocketAddress first{Ip::v4(0x0a800000), 8080}, second{Ip::v4(0x0a800001), 8080};

ServiceTable udp_table(uint32_t endpoints) {
  ServiceTable table = big_table(1, endpoints);
  table.services.at(service).ports[0].protocol = Protocol::udp;
  return table;
}

class IpvsFlows : public testing::Test {
 protected:
  void SetUp() override {
    start();
    ASSERT_TRUE(driver_->apply(udp_table(2), {}, true).ok());
    flow(first);
    flow(second);
    flow(vip);  // from before there was a Service
  }

  // A new run of the agent; what the tracker knows goes with the old one.
  void start() {
    auto conntrack = std::make_unique<net::FakeConntrack>();
    conntrack_ = conntrack.get();
    driver_ = kernel_.make_driver({}, std::move(conntrack));
    ASSERT_TRUE(driver_->start());
  }
  void flow(const SocketAddress& answers) {
    conntrack_->add({Protocol::udp, client, vip, answers, client, 0});
  }
  std::set<SocketAddress> answering() const {
    std::set<SocketAddress> out;
    for (const TrackedFlow& one : conntrack_->all()) out.insert(one.reply_source);
    return out;
  }

  IpvsKernel kernel_{false};
  net::FakeConntrack* conntrack_ = nullptr;
  std::unique_ptr<Driver> driver_;
};

TEST_F(IpvsFlows, GoWithTheirEndpointAndWhenTheyNeverHadOne) {
  ASSERT_TRUE(driver_->apply(udp_table(1), {service}, false).ok());
  EXPECT_EQ(answering(), std::set<SocketAddress>{first});
  EXPECT_EQ(kernel_.registry().counter("fairlead_ipvs_stale_flows_removed_total", "").value(), 2u);
  // Nothing that makes flows stale: nothing is read.
  const size_t reads = conntrack_->reads();
  ASSERT_TRUE(driver_->apply(udp_table(2), {service}, false).ok());
  ASSERT_TRUE(driver_->verify(true));
  EXPECT_EQ(conntrack_->reads(), reads);
}

TEST_F(IpvsFlows, GoWithAServiceThatLeftWhileNobodyRan) {
  ServiceTable none;
  none.node = random_node();
  for (const bool udp_left : {true, false}) {
    start();
    flow(first);
    ASSERT_TRUE(driver_->apply(udp_left ? udp_table(2) : none, {}, true).ok());
    EXPECT_EQ(answering().size(), udp_left ? 1u : 0u);
  }
}

TEST_F(IpvsFlows, StayUntilTheKernelChoosesNoEndpointThatLeft) {
  kernel_.fakes().table->fail_after(0);
  EXPECT_FALSE(driver_->apply(udp_table(1), {service}, false).ok());
  EXPECT_EQ(answering().size(), 3u);
  EXPECT_TRUE(driver_->retry().ok());
  EXPECT_EQ(answering(), std::set<SocketAddress>{first});
}

TEST_F(IpvsFlows, AreTriedAgainWhenTheTrackerFails) {
  conntrack_->fail_with("no memory");
  EXPECT_EQ(driver_->apply(udp_table(1), {service}, false).errors,
            std::vector<std::string>{"ipvs: stale UDP flows stay: no memory"});
  EXPECT_FALSE(driver_->retry().ok());
  conntrack_->fail_with("");
  const size_t writes = kernel_.fakes().table->writes();
  EXPECT_TRUE(driver_->retry().ok());
  EXPECT_EQ(answering(), std::set<SocketAddress>{first});
  EXPECT_EQ(kernel_.fakes().table->writes(), writes);
}

TEST_F(IpvsFlows, AreLookedAtAfterOthersChangedTheKernel) {
  ASSERT_TRUE(driver_->apply(udp_table(1), {service}, false).ok());
  const ServiceKey key{vip.ip, Protocol::udp, vip.port};
  ASSERT_TRUE(
      kernel_.table().write({.verb = Verb::add_destination, .key = key, .address = second}));
  flow(second);
  EXPECT_EQ(driver_->verify(true)->size(), 1u);
  EXPECT_EQ(answering(), std::set<SocketAddress>{first});
}

}  // namespace
}  // namespace fairlead::dataplane
