// The handover over doors in memory: what is asked of them, and what happens when they refuse.
#include "dataplane/userspace/handover.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/nftables/fake_runner.h"
#include "dataplane/userspace/driver.h"
#include "dataplane/userspace/fake_kernel.h"

namespace fairlead::dataplane::userspace {
namespace {

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() {
    auto rules = std::make_unique<FakeNft>();
    auto conntrack = std::make_unique<net::FakeConntrack>();
    rules_ = rules.get();
    conntrack_ = conntrack.get();
    handover_ = std::make_unique<Handover>(std::move(rules), std::move(conntrack));
  }
  bool tracks() { return (*rules_->read_table(std::string(Handover::table))).has_value(); }
  Result<Handover::Begun> begin(CarriedConnections carried = {}) {
    return handover_->begin(serves, [&] { return carried; });
  }
  // How many of them the tracker had not known as open and untranslated.
  size_t adopted(std::vector<ConnectionSide> clients, std::vector<ConnectionSide> backends = {}) {
    return begin({std::move(clients), std::move(backends)})->adopted;
  }
  static bool serves(const SocketAddress& to) { return to.port == 80; }

  FakeNft* rules_;
  net::FakeConntrack* conntrack_;
  std::unique_ptr<Handover> handover_;
};

ConnectionSide connection(std::string_view client, std::string_view dialled) {
  return {*SocketAddress::parse(client), *SocketAddress::parse(dialled)};
}

TEST_F(HandoverTest, ATableStandsFromBeginningToEnd) {
  EXPECT_TRUE(handover_->end());
  EXPECT_EQ(rules_->transactions(), 0u) << "nothing to end";
  ASSERT_TRUE(begin());
  EXPECT_TRUE(tracks());
  EXPECT_TRUE(begin()) << "a second time is none";
  EXPECT_EQ((*rules_->read_table(std::string(Handover::table)))->chains.at("tracked"), 1u);
  ASSERT_TRUE(handover_->end());
  EXPECT_FALSE(tracks());
}

TEST_F(HandoverTest, ConnectionsAreTakenUpOnceAndUntranslated) {
  const std::vector<ConnectionSide> open = {connection("10.1.0.2:4000", "10.96.0.1:80"),
                                            connection("[fd00::2]:4000", "[fd96::1]:80")};
  EXPECT_EQ(adopted(open), 2u);
  EXPECT_EQ(adopted(open), 0u) << "the tracker knows them";
  for (const TrackedFlow& flow : conntrack_->all()) {
    EXPECT_EQ(flow.protocol, Protocol::tcp);
    EXPECT_EQ(flow.reply_source, flow.destination);
    EXPECT_EQ(flow.reply_destination, flow.source);
  }
}

TrackedFlow flow(std::string_view client, std::string_view dialled, std::string_view answers,
                 FlowStage stage = FlowStage::open) {
  const auto source = *SocketAddress::parse(client);
  return {Protocol::tcp,
          source,
          *SocketAddress::parse(dialled),
          *SocketAddress::parse(answers),
          source,
          0,
          stage};
}

// A client's port from an earlier life, when somebody translated.
TEST_F(HandoverTest, WhatATranslatorRemembersOfAnOpenConnectionsPortsGivesWay) {
  const TrackedFlow earlier =
      flow("10.1.0.2:4000", "10.96.0.1:80", "10.2.0.2:8080", FlowStage::ended);
  conntrack_->add(earlier);
  EXPECT_EQ(adopted({connection("10.1.0.2:4000", "10.96.0.1:80")}), 1u);
  ASSERT_EQ(conntrack_->all().size(), 1u);
  EXPECT_FALSE(conntrack_->all().begin()->translated());
}

TEST_F(HandoverTest, WhoeverHadThePortOfAConnectionToABackendGivesWay) {
  const auto node = *SocketAddress::parse("192.0.2.1:5000");
  TrackedFlow earlier = flow("192.0.2.9:4000", "192.0.2.1:30080", "10.2.0.2:8080");
  earlier.reply_destination = node;
  conntrack_->add(earlier);
  const std::vector ours{connection("192.0.2.1:5000", "10.2.0.2:8080")};
  EXPECT_EQ(adopted({}, ours), 1u);
  ASSERT_EQ(conntrack_->all().size(), 1u);
  EXPECT_EQ(conntrack_->all().begin()->source, node);
  EXPECT_EQ(adopted({}, ours), 0u);
}

TEST_F(HandoverTest, AnEndedOneOfTheSamePortsGivesWay) {
  for (const TrackedFlow& earlier :
       {flow("10.1.0.2:4000", "10.96.0.1:80", "10.96.0.1:80", FlowStage::ended),
        flow("10.96.0.1:80", "10.1.0.2:4000", "10.1.0.2:4000", FlowStage::ended)}) {
    conntrack_->add(earlier);
    EXPECT_EQ(adopted({connection("10.1.0.2:4000", "10.96.0.1:80")}), 1u);
    const TrackedFlow now = flow("10.1.0.2:4000", "10.96.0.1:80", "10.96.0.1:80");
    EXPECT_EQ(conntrack_->all(), std::set{now});
    EXPECT_TRUE(*conntrack_->remove(now));
  }
}

TEST_F(HandoverTest, WhatTheTrackerKnowsOfAnOpenConnectionStays) {
  TrackedFlow another_port = flow("192.0.2.1:5000", "10.2.0.2:8080", "10.2.0.2:8080");
  another_port.reply_destination.port = 1024;
  const TrackedFlow backwards = flow("10.96.0.1:80", "10.1.0.2:4000", "10.1.0.2:4000");
  for (const TrackedFlow& one : {another_port, backwards}) conntrack_->add(one);
  EXPECT_EQ(adopted({connection("10.1.0.2:4000", "10.96.0.1:80")},
                    {connection("192.0.2.1:5000", "10.2.0.2:8080")}),
            0u);
  EXPECT_EQ(conntrack_->all(), (std::set{another_port, backwards}));
}

TEST_F(HandoverTest, OnlyWhatNobodyTranslatesAndNobodyCarriesIsForgotten) {
  const std::set<SocketAddress> served = {*SocketAddress::parse("10.96.0.1:80"),
                                          *SocketAddress::parse("[fd96::1]:80")};
  constexpr const char *here = "10.96.0.1:80", *backend = "10.2.0.2:8080";
  TrackedFlow datagrams = flow("10.1.0.2:1", here, here);
  datagrams.protocol = Protocol::udp;
  struct Case {
    const char* what;
    TrackedFlow flow;
    bool forgotten;
  };
  const Case cases[] = {
      {"its end was not seen", flow("10.1.0.2:1", here, here), true},
      {"IPv6", flow("[fd01::2]:1", "[fd96::1]:80", "[fd96::1]:80"), true},
      {"ended", flow("10.1.0.2:2", here, here, FlowStage::ended), true},
      {"opening", flow("10.1.0.2:3", here, here, FlowStage::opening), false},
      {"carried", flow("10.1.0.2:4", here, here), false},
      {"translated", flow("10.1.0.2:5", here, backend), false},
      {"seen from its answer on", flow(here, "10.1.0.2:7", "10.1.0.2:7"), true},
      {"carried, seen from its answer on", flow(here, "10.1.0.2:8", "10.1.0.2:8"), false},
      {"another port", flow("10.1.0.2:1", "10.96.0.1:81", "10.96.0.1:81"), false},
      {"UDP", datagrams, false},
  };
  const auto serves = [&](const SocketAddress& to) { return served.contains(to); };
  // In no order.
  const auto carried = [] {
    return CarriedConnections{{connection("10.1.0.2:8", here), connection("10.1.0.2:4", here)}, {}};
  };
  size_t forgotten = 0;
  for (const Case& c : cases) {
    conntrack_->add(c.flow);
    forgotten += c.forgotten;
  }
  const TrackedFlow former = flow("10.1.0.2:6", here, backend, FlowStage::ended);
  conntrack_->add(former);
  EXPECT_EQ(*handover_->forget_ended(serves, carried), forgotten);
  for (const Case& c : cases) {
    EXPECT_EQ(conntrack_->all().contains(c.flow), !c.forgotten) << c.what;
  }
  EXPECT_EQ(*handover_->forget_ended(serves, carried), 0u);
  EXPECT_TRUE(conntrack_->all().contains(former));
  EXPECT_EQ(handover_->begin(serves, carried)->forgotten, 1u) << "nobody translates yet";
  EXPECT_FALSE(conntrack_->all().contains(former));
}

TEST_F(HandoverTest, AConnectionThatBeganWhileTheTrackerWasReadIsCarried) {
  const TrackedFlow seen = flow("10.1.0.2:1", "10.96.0.1:80", "10.96.0.1:80");
  conntrack_->add(seen);
  const auto asked_late = [&] {
    EXPECT_EQ(conntrack_->reads(), 1u);
    return CarriedConnections{{connection("10.1.0.2:1", "10.96.0.1:80")}, {}};
  };
  EXPECT_EQ(*handover_->forget_ended(serves, asked_late), 0u);
}

// What the tracker is to know before it sees a packet, and what only after.
TEST_F(HandoverTest, TheOpenOnesAreKnownBeforeTheTrackerIsAtWorkAndAfter) {
  constexpr const char* here = "10.96.0.1:80";
  const TrackedFlow former = flow("10.1.0.2:1", here, "10.2.0.2:8080", FlowStage::ended);
  conntrack_->add(former);
  CarriedConnections open{{connection("10.1.0.2:2", here)}, {}};
  std::vector<bool> tracking;
  const auto carried = [&] {
    EXPECT_FALSE(conntrack_->all().contains(former) && conntrack_->all().size() > 1)
        << "it goes first";
    tracking.push_back(tracks());
    if (tracks()) open.clients.push_back(connection("10.1.0.2:3", here));
    return open;
  };
  const auto begun = handover_->begin(serves, carried);
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->forgotten, 1u);
  EXPECT_EQ(begun->adopted, 2u);
  EXPECT_EQ(tracking, (std::vector{false, false, true}));
}

TEST_F(HandoverTest, RefusalsAreNamed) {
  rules_->fail_next(1);
  const auto untracked = begin();
  ASSERT_FALSE(untracked);
  EXPECT_NE(untracked.error().message.find("cannot be tracked"), std::string::npos);
  ASSERT_TRUE(begin());
  rules_->fail_next(1);
  const auto refused = handover_->end();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("fairlead-userspace"), std::string::npos);
  EXPECT_TRUE(handover_->end());
  conntrack_->fail_with("no memory");
  const auto unread = begin({{connection("10.1.0.2:1", "10.96.0.1:80")}, {}});
  ASSERT_FALSE(unread);
  EXPECT_EQ(unread.error().message, "no memory");
  EXPECT_FALSE(tracks()) << "half a handover is none";
  EXPECT_FALSE(handover_->forget_ended(serves, [] { return CarriedConnections(); }));
}

TEST(HandoverWithoutDoors, DoesNothing) {
  Handover handover(nullptr, nullptr);
  const auto begun = handover.begin(
      [](const SocketAddress&) { return true; },
      [] { return CarriedConnections{{connection("10.1.0.2:1", "10.96.0.1:80")}, {}}; });
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->adopted, 0u);
  EXPECT_TRUE(handover.end());
}

// The driver over doors in memory.
class DriverHandover : public testing::Test {
 protected:
  DriverHandover() {
    auto rules = std::make_unique<FakeNft>();
    auto conntrack = std::make_unique<net::FakeConntrack>();
    rules_ = rules.get();
    conntrack_ = conntrack.get();
    driver_ = make_userspace_driver(
        {}, Log(sink_), registry_,
        {make_fake_capture(kernel_), make_fake_routes(kernel_), std::make_unique<RealClock>(),
         std::move(rules), std::move(conntrack)});
  }
  bool tracks() { return (*rules_->read_table(std::string(Handover::table))).has_value(); }

  FakeKernel kernel_;
  MemoryLogSink sink_;
  Registry registry_;
  FakeNft* rules_;
  net::FakeConntrack* conntrack_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(DriverHandover, LastsFromThePreparationToTheRetirement) {
  ASSERT_TRUE(driver_->prepare_retire("nftables"));
  EXPECT_FALSE(tracks()) << "it carries nothing before its start";
  ASSERT_TRUE(driver_->start());
  ASSERT_TRUE(driver_->prepare_retire("ebpf"));
  EXPECT_FALSE(tracks()) << "that mode does not translate by the tracker";
  ASSERT_TRUE(driver_->prepare_retire("iptables"));
  EXPECT_TRUE(tracks());
  ASSERT_TRUE(driver_->retire());
  EXPECT_FALSE(tracks());
}

TEST_F(DriverHandover, EndsWhenTheDriverStays) {
  ASSERT_TRUE(driver_->start());
  ASSERT_TRUE(driver_->prepare_retire("nftables"));
  driver_->stay();
  EXPECT_FALSE(tracks());
  rules_->fail_next(1);
  EXPECT_FALSE(driver_->prepare_retire("nftables"));
  EXPECT_FALSE(tracks());
}

// The next mode is in force by then: there is no way back.
TEST_F(DriverHandover, ATrackerThatDoesNotAnswerIsNamedAndKeepsNothingFromEnding) {
  ASSERT_TRUE(driver_->start());
  ASSERT_TRUE(driver_->prepare_retire("nftables"));
  conntrack_->fail_with("no memory");
  EXPECT_TRUE(driver_->retire());
  EXPECT_FALSE(tracks());
  EXPECT_NE(sink_.text().find("ended connections stay tracked: no memory"), std::string::npos)
      << sink_.text();
}

TEST_F(DriverHandover, WhatAKilledRunLeftGoesWithTheNextStartOrCleanup) {
  const std::string left = cat("add table inet ", Handover::table, "\n");
  ASSERT_TRUE(rules_->tamper(left));
  ASSERT_TRUE(driver_->start());
  EXPECT_FALSE(tracks());
  ASSERT_TRUE(rules_->tamper(left));
  ASSERT_TRUE(driver_->cleanup());
  EXPECT_FALSE(tracks());
  ASSERT_TRUE(rules_->tamper(left));
  rules_->fail_next(1);
  EXPECT_FALSE(driver_->cleanup()) << "it is still there";
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
