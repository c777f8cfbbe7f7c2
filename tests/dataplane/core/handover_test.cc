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

// The tracker was not at work when these connections ended, or saw of them nothing but the last
// segment: it takes them for open, and whoever has their ports for them.
TEST_P(HandoverTo, PortsOfConnectionsWhoseEndNobodySawReachTheNewMode) {
  constexpr uint16_t ports[] = {40001, 40002, 40003};
  const SocketAddress dialled = at("10.96.0.1", 80);
  const auto tracker = [&](auto body) { on_node([&] { body(*net::make_conntrack()); }); };
  const auto leave = [&](uint16_t port) {
    tracker([&](net::Conntrack& all) { EXPECT_TRUE(*all.adopt(at("10.1.0.2", port), dialled)); });
  };
  leave(ports[0]);
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  leave(ports[1]);
  tracker([&](net::Conntrack& all) { EXPECT_TRUE(*all.adopt(dialled, at("10.1.0.2", ports[2]))); });
  put_successor();
  on_node([&] { ASSERT_TRUE(old_->retire()); });
  const auto open = old_registry_.gauge("fairlead_userspace_connections", "").value();
  for (const uint16_t port : ports) {
    lab_->net().in("pod", [&] {
      const std::string answer = ask_from(at("10.1.0.2", port), dialled, Protocol::tcp, 3000);
      EXPECT_NE(answer.find(' '), std::string::npos) << port << " " << answer;
    });
  }
  EXPECT_EQ(old_registry_.gauge("fairlead_userspace_connections", "").value(), open);
  leave(40004);
  on_node([&] { EXPECT_TRUE(old_->cleanup()); });
  tracker([&](net::Conntrack& all) {
    EXPECT_FALSE(*all.find({Protocol::tcp, at("10.1.0.2", 40004), dialled}));
  });
}

// The port of an open connection had another life when somebody translated.
TEST_P(HandoverTo, WhatATranslatorRemembersOfAPortDoesNotBreakAnOpenConnection) {
  on_node([&] {
    ASSERT_EQ(system("nft 'add table ip t; add chain ip t p { type nat hook prerouting priority "
                     "-100; }; add rule ip t p ip daddr 10.96.0.1 tcp dport 80 dnat to "
                     "10.3.0.2:8080'"),
              0);
  });
  const SocketAddress client = at("10.1.0.2", 40005);
  lab_->net().in("pod", [&] {
    const auto answer = ask_from(client, at("10.96.0.1", 80), Protocol::tcp, 3000);
    EXPECT_TRUE(answer.starts_with("remote")) << answer;
  });
  on_node([&] { ASSERT_EQ(system("nft delete table ip t"), 0); });
  lab_->net().in("pod", [&] {
    talks_.push_back(std::make_unique<Conversation>(at("10.96.0.1", 80), client));
  });
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  put_successor();
  EXPECT_EQ(broken("one"), 0u);
}

// A port of this node that a client's masqueraded connection had, as long as somebody translated.
TEST_P(HandoverTo, WhatATranslatorRemembersOfAPortDoesNotBreakAConnectionToABackend) {
  on_node([&] {
    ASSERT_EQ(system("nft 'add table ip t; "
                     "add chain ip t p { type nat hook prerouting priority -100; }; "
                     "add chain ip t q { type nat hook postrouting priority 100; }; "
                     "add rule ip t p tcp dport 40090 dnat to 10.2.0.2:8080; "
                     "add rule ip t p tcp dport 40091 dnat to 10.3.0.2:8080; "
                     "add rule ip t q ip daddr 10.2.0.2 tcp dport 8080 snat to 10.2.0.1:45000; "
                     "add rule ip t q ip daddr 10.3.0.2 tcp dport 8080 snat to 10.3.0.1:45000'"),
              0);
  });
  lab_->net().in("outside", [&] {
    for (const uint16_t port : {40090, 40091}) {
      const auto answer = ask({}, at("10.9.0.1", port), Protocol::tcp, 3000);
      EXPECT_TRUE(answer.ends_with(".0.1")) << answer;
    }
  });
  on_node([&] {
    ASSERT_EQ(system("nft delete table ip t && "
                     "sysctl -qw net.ipv4.ip_local_port_range='45000 45000'"),
              0);
  });
  lab_->net().in("pod", [&] {
    talks_.push_back(std::make_unique<Conversation>(at("10.96.0.1", 80)));
    EXPECT_NE(talks_.back()->greeting().find(' '), std::string::npos) << talks_.back()->greeting();
  });
  on_node([&] {
    ASSERT_EQ(system("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'"), 0);
    ASSERT_TRUE(old_->prepare_retire(GetParam().mode));
  });
  put_successor();
  EXPECT_EQ(broken("one"), 0u);
  on_node([&] { ASSERT_TRUE(old_->retire()); });
  EXPECT_EQ(broken("two"), 0u);
}

// The tracker changes the port of a connection of this node that a client's has already; without
// the rules that keep it at work it would go out as it is, and break.
TEST_P(HandoverTo, TheModeStaysForConnectionsWhosePortItChanged) {
  on_node([&] { ASSERT_TRUE(old_->prepare_retire(GetParam().mode)); });
  put_successor();
  on_node([&] { ASSERT_TRUE(old_->retire()); });
  lab_->net().in("outside",
                 [&] { talks_.push_back(std::make_unique<Conversation>(at("10.9.0.1", 30081))); });
  const auto to_clients = [&](const TrackedFlow& flow) {
    return flow.translated() && flow.destination == at("10.9.0.1", 30081);
  };
  std::vector<TrackedFlow> clients;
  on_node([&] {
    clients = *net::make_conntrack()->flows(Protocol::tcp);
    std::erase_if(clients, std::not_fn(to_clients));
  });
  ASSERT_EQ(clients.size(), 1u);
  on_node([&] {
    talks_.push_back(
        std::make_unique<Conversation>(clients[0].reply_source, clients[0].reply_destination));
    EXPECT_EQ(talks_.back()->say("own"), "own");
  });
  on_node([&] { ASSERT_TRUE(next_->retire()); });
  EXPECT_EQ(broken("retired"), 0u);
  const auto drained = [&] {
    bool out = false;
    on_node([&] { out = next_->drained(); });
    return out;
  };
  talks_.erase(talks_.begin());
  on_node([&] { EXPECT_TRUE(*net::make_conntrack()->remove(clients[0])); });
  EXPECT_EQ(broken("alone"), 0u);
  EXPECT_FALSE(drained());
  talks_.clear();
  bool over = false;
  for (int i = 0; i < 100 && !over; ++i) {
    over = drained();
    if (!over) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(over);
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
