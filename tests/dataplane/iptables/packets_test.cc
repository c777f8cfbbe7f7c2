// Real packets through the iptables driver, both variants.
#include <set>
#include <thread>

#include "dataplane/flow.h"
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

// every_kind_table() with everybody that it names: two pods here, one of them an endpoint, two
// endpoints elsewhere, and clients inside and outside of the source ranges.
class EveryKindPackets : public testing::TestWithParam<IptablesVariant> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<NetnsLab>();
    lab_->add("pod", 1, {5});
    lab_->add("remote", 2, {5, 6});
    lab_->add("outside", 9);
    lab_->in("node", [] {
      FlowLab::answer_every_packet();
      shell("ip addr add 192.168.0.1/32 dev lo && ip addr add fd01::1/128 dev lo");
      shell("ip route add default via 10.9.0.2 && ip -6 route add default via fd00:9::2");
      shell("ip -6 route add fd00::b05/128 via fd00:2::2");
    });
    lab_->in("remote", [] { shell("ip addr add fd00::b05/128 dev lo"); });
    lab_->in("outside", [] { shell("ip addr add 203.0.113.9/32 dev lo"); });
    lab_->add("client", 3);
    lab_->in("client", [] { shell("ip addr add 10.1.7.2/32 dev lo"); });
    lab_->in("node", [] { shell("ip route add 10.1.7.2/32 via 10.3.0.2"); });
    for (const std::string name : {"pod", "remote"}) {
      lab_->in(name, [&] {
        for (const uint16_t port : {8080, 53}) {
          responders_.push_back(std::make_unique<Responder>(name, port));
        }
      });
    }
  }

  static IptablesOptions options(size_t limit) {
    IptablesOptions out;
    out.variant = GetParam();
    out.brief_above = out.tree_above = limit;
    return out;
  }
  void start(IptablesOptions options) {
    lab_->in("node", [&] {
      driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_);
      ASSERT_TRUE(driver_->start());
    });
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full) {
    lab_->in("node", [&] {
      const ApplyReport report = driver_->apply(table, changed, full);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }
  // The table with so many other Services.
  static ServiceTable with_others(uint32_t services) {
    ServiceTable table = every_kind_table(), others = big_table(services, 3);
    for (const char* same_address : {"s1", "s2"}) others.services.erase({"default", same_address});
    table.services.merge(others.services);
    return table;
  }

  // What may be seen of one flow: "pod", "remote (masquerade)", "refused", "timeout".
  static std::set<std::string> expected(const FlowResult& result) {
    if (result.outcome == FlowOutcome::reject) return {"refused"};
    if (result.outcome == FlowOutcome::drop) return {"timeout"};
    std::set<std::string> out;
    for (const FlowCandidate& one : result.candidates) {
      const bool here = one.backend.ip == *Ip::parse("10.1.0.5");
      out.insert(cat(here ? "pod" : "remote", one.masquerade ? " (masquerade)" : ""));
    }
    return out;
  }
  // Clients are remembered: each of the fates is right, and the next one is the same.
  void check(const ServiceTable& table) {
    constexpr std::pair<const char*, const char*> sources[] = {
        {"node", "192.168.0.1"}, {"node", "fd01::1"},        {"client", "10.1.7.2"},
        {"pod", "10.1.0.5"},     {"outside", "203.0.113.9"}, {"outside", "10.9.0.2"},
        {"remote", "10.2.0.5"},  {"outside", "fd00:9::2"}};
    struct To {
      const char* ip;
      uint16_t port;
      Protocol protocol = Protocol::tcp;
    };
    const To destinations[] = {{"10.96.0.1", 80},
                               {"10.96.0.1", 53, Protocol::udp},
                               {"10.96.0.1", 81},
                               {"203.0.113.80", 80},
                               {"203.0.113.80", 53, Protocol::udp},
                               {"198.51.100.1", 80},
                               {"192.168.0.1", 30080},
                               {"192.168.0.1", 30053, Protocol::udp},
                               {"192.168.0.1", 30081},
                               {"10.96.0.2", 80},
                               {"198.51.100.2", 80},
                               {"10.96.0.99", 80},
                               {"fd96::1", 80},
                               {"2001:db8::80", 80},
                               {"2001:db8:1::1", 80},
                               {"fd01::1", 30080},
                               {"fd01::1", 30053, Protocol::udp},
                               {"fd96::77", 80}};
    for (const auto& [name, address] : sources) {
      const Ip from = *Ip::parse(address);
      for (const To& to : destinations) {
        const SocketAddress dialled{*Ip::parse(to.ip), to.port};
        if (dialled.ip.is_v4() != from.is_v4()) continue;
        const auto want = expected(resolve(table, from, dialled.ip, to.port, to.protocol));
        lab_->in(name, [&] {
          const auto ask_once = [&] {
            return FlowLab::seen(from, dialled, to.protocol, !want.contains("timeout"));
          };
          const std::string got = ask_once();
          EXPECT_TRUE(want.contains(got)) << address << " -> " << dialled.to_string() << "/"
                                          << to_string(to.protocol) << ": " << got;
          EXPECT_TRUE(want.size() < 2 || ask_once() == got)
              << address << " " << dialled.to_string();
        });
      }
    }
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<NetnsLab> lab_;
  std::vector<std::unique_ptr<Responder>> responders_;
  std::unique_ptr<Driver> driver_;
};
INSTANTIATE_TEST_SUITE_P(Variants, EveryKindPackets,
                         testing::Values(IptablesVariant::nft, IptablesVariant::legacy),
                         [](const auto& suite) { return std::string(to_string(suite.param)); });

TEST_P(EveryKindPackets, AreAsResolvedInEveryStyle) {
  for (const size_t limit : {size_t{SIZE_MAX}, size_t{0}}) {
    SCOPED_TRACE(limit == 0 ? "large" : "small");
    start(options(limit));
    apply(every_kind_table(), {}, true);
    check(every_kind_table());
  }
}

// New connections all the while, from one client: served by its endpoint, refused, dropped.
TEST_P(EveryKindPackets, NothingIsSeenOfAClusterThatGrowsAndShrinks) {
  start(options(8));
  apply(with_others(0), {}, true);
  struct Flow {
    const char *name, *from, *to;
    uint16_t port;
    std::string answer;
  };
  std::vector<Flow> flows = {{"client", "10.1.7.2", "10.96.0.1", 80, ""},
                             {"outside", "203.0.113.9", "192.168.0.1", 30080, "pod"},
                             {"client", "10.1.7.2", "10.96.0.2", 80, "refused"},
                             {"client", "10.1.7.2", "10.96.0.1", 81, "refused"},
                             {"outside", "10.9.0.2", "198.51.100.1", 80, "timeout"}};
  std::atomic<bool> stop = false;
  std::atomic<int> rounds = 0;
  std::string bad;
  std::thread client([&] {
    while (!stop) {
      for (Flow& flow : flows) {
        lab_->in(flow.name, [&] {
          const std::string got =
              FlowLab::seen(*Ip::parse(flow.from), {*Ip::parse(flow.to), flow.port}, Protocol::tcp,
                            flow.answer != "timeout");
          if (flow.answer.empty()) flow.answer = got;
          if (got != flow.answer) bad += cat(flow.to, ":", flow.port, " ", got, "; ");
        });
      }
      ++rounds;
    }
  });
  std::set<api::ObjectKey> changed;
  for (int i = 0; i < 40; ++i) changed.insert({"default", cat("s", i)});
  for (const uint32_t others : {40u, 0u, 9u, 30u, 1u, 20u, 0u}) {
    apply(with_others(others), changed, false);
    const int before = rounds;
    for (int i = 0; i < 400 && rounds < before + 2; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    lab_->in("node", [&] {
      EXPECT_EQ(driver_->verify(false)->size(), 0u);
      const bool tree = driver_->dump().find("KUBE-NODEPORTS-tcp-7 ") != std::string::npos;
      EXPECT_EQ(tree, others > 6) << others;
    });
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_NE(flows[0].answer.find_first_of("pr"), std::string::npos) << flows[0].answer;
}

}  // namespace
}  // namespace fairlead::dataplane
