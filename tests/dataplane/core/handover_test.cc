// A switch from userspace mode to modes that translate: what is open lives on, new flows are the
// new mode's, and nothing stays behind.
#include <gtest/gtest.h>

#include <functional>

#include "dataplane/iptables/driver.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/nftables/runner.h"
#include "dataplane/userspace/driver.h"
#include "dataplane/userspace/handover.h"
#include "tests/dataplane/flow_lab.h"
#include "tests/dataplane/udp_talk.h"

namespace fairlead::dataplane {
namespace {

struct Successor {
  std::string name, mode;
  std::function<std::unique_ptr<Driver>(net::EventLoop&, const Log&, Registry&)> make;
};

std::unique_ptr<Driver> iptables(IptablesVariant variant, net::EventLoop& loop, const Log& log,
                                 Registry& registry) {
  IptablesOptions options;
  options.variant = variant;
  return make_iptables_driver(options, loop, log, registry);
}

std::vector<Successor> successors() {
  return {
      {"Nftables", "nftables",
       [](net::EventLoop&, const Log& log, Registry& registry) {
         return make_nftables_driver({}, log, registry);
       }},
      {"IptablesNft", "iptables",
       [](net::EventLoop& loop, const Log& log, Registry& registry) {
         return iptables(IptablesVariant::nft, loop, log, registry);
       }},
      {"IptablesLegacy", "iptables", [](net::EventLoop& loop, const Log& log, Registry& registry) {
         return iptables(IptablesVariant::legacy, loop, log, registry);
       }}};
}

SocketAddress at(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

class HandoverTo : public testing::TestWithParam<Successor> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>(Mode::userspace);
    table_ = FlowLab::table();
    on_node([&] {
      old_ = make_userspace_driver({}, Log(sink_), old_registry_);
      start(*old_);
    });
  }

  template <class Body>
  void on_node(Body body) {
    lab_->net().in("node", body);
  }

  void start(Driver& driver) {
    const auto started = driver.start();
    ASSERT_TRUE(started) << started.error().message;
    const ApplyReport report = driver.apply(table_, {}, true);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
  }

  void put_successor() {
    on_node([&] {
      next_ = GetParam().make(loop_, Log(sink_), registry_);
      start(*next_);
    });
  }

  // From everywhere, in both families, to every kind of frontend.
  void open_talks() {
    const std::pair<std::string, SocketAddress> ways[] = {
        {"pod", at("10.96.0.1", 80)},    {"pod", at("fd96::1", 80)},
        {"node", at("10.96.0.1", 80)},   {"node", at("fd96::2", 80)},
        {"pod", at("203.0.113.1", 80)},  {"outside", at("10.9.0.1", 30081)},
        {"local", at("10.96.0.1", 80)},  {"outside", at("fd00:9::1", 30083)},
        {"node", at("127.0.0.1", 30081)}};
    for (const auto& [from, to] : ways) {
      lab_->net().in(from, [&] { talks_.push_back(std::make_unique<Conversation>(to)); });
      const std::string& greeting = talks_.back()->greeting();
      EXPECT_NE(greeting.find(' '), std::string::npos) << from << " " << to.to_string();
    }
  }

  size_t broken(const std::string& word) {
    size_t count = 0;
    for (const auto& talk : talks_) count += talk->say(word) != word;
    return count;
  }

  // The table that keeps the tracker at work.
  bool tracked() {
    bool there = false;
    on_node([&] {
      const auto table = make_nft_runner()->read_table(std::string(userspace::Handover::table));
      there = table && *table;
    });
    return there;
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_, old_registry_;
  std::unique_ptr<FlowLab> lab_;
  ServiceTable table_;
  std::unique_ptr<Driver> old_, next_;
  std::vector<std::unique_ptr<Conversation>> talks_;
};

INSTANTIATE_TEST_SUITE_P(Modes, HandoverTo, testing::ValuesIn(successors()),
                         [](const auto& suite) { return suite.param.name; });

TEST_P(HandoverTo, OpenConnectionsLiveOn) {
  open_talks();
  EXPECT_FALSE(tracked()) << "only a switch needs it";
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  open_talks();  // they begin while the new mode is made
  put_successor();
  EXPECT_EQ(broken("one"), 0u);
  on_node([&] { ASSERT_TRUE(old_->retire()); });
  EXPECT_FALSE(tracked());
  EXPECT_EQ(broken("two"), 0u);
  EXPECT_FALSE(old_->drained());

  const int64_t carried = old_registry_.gauge("fairlead_userspace_connections", "").value();
  lab_->check_flow(table_, "outside", *Ip::parse("10.9.0.2"), at("10.96.0.3", 80), Protocol::tcp);
  lab_->net().in("pod", [&] {
    Conversation talk(at("10.96.0.1", 80));
    EXPECT_EQ(talk.say("new"), "new");
  });
  EXPECT_EQ(old_registry_.gauge("fairlead_userspace_connections", "").value(), carried);

  talks_.clear();
  for (int i = 0; i < 1000 && !old_->drained(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(old_->drained());
  on_node([&] { EXPECT_TRUE(old_->cleanup()); });
}

TEST_P(HandoverTo, WithoutPreparationTheyWouldBreak) {
  open_talks();
  put_successor();
  EXPECT_GT(broken("one"), 0u);
}

TEST_P(HandoverTo, ASwitchThatCameToNothingLeavesNothing) {
  open_talks();
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  EXPECT_TRUE(tracked());
  on_node([&] { old_->stay(); });
  EXPECT_FALSE(tracked());
  EXPECT_EQ(broken("one"), 0u);
  lab_->check_flow(table_, "pod", *Ip::parse("10.1.0.2"), at("10.96.0.3", 80), Protocol::udp);
}

TEST_P(HandoverTo, TheNextRunTakesAwayWhatAKilledOneLeft) {
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  on_node([&] {
    const auto other = make_userspace_driver({}, Log(sink_), registry_);
    EXPECT_TRUE(other->cleanup());
  });
  EXPECT_FALSE(tracked());
}

TEST_P(HandoverTo, DatagramsAreTheNewModesAtOnce) {
  for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
    std::unique_ptr<UdpTalk> talk;
    lab_->net().in("pod", [&] { talk = std::make_unique<UdpTalk>(at(vip, 80)); });
    const std::string first = talk->ask();
    EXPECT_TRUE(first == "local" || first == "remote") << first;
    on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
    EXPECT_EQ(talk->ask(), first);
    put_successor();
    on_node([&] { ASSERT_TRUE(old_->retire()); });
    const std::string second = talk->ask();
    EXPECT_TRUE(second == "local" || second == "remote") << second;
    on_node([&] {
      EXPECT_TRUE(next_->cleanup());
      EXPECT_TRUE(old_->cleanup());
      start(*old_);
    });
  }
}

}  // namespace
}  // namespace fairlead::dataplane
