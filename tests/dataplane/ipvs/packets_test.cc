// Real packets through IPVS: what happens to each is what resolve() says, where IPVS can.
// ipvsadm, ip and nft are outside witnesses.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <set>

#include "net/netns.h"
#include "tests/dataplane/flow_lab.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "error: no pipe";
  std::array<char, 4096> buffer;
  while (const size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    out.append(buffer.data(), size);
  }
  return ::pclose(pipe) == 0 ? out : cat("error: ", out);
}

std::set<std::string> lines_of(const std::string& text, std::string_view start) {
  std::set<std::string> out;
  for (const std::string_view line : split(text, '\n')) {
    if (line.starts_with(start)) out.insert(std::string(trim(line)));
  }
  return out;
}

class IpvsPackets : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_IPVS();
    lab_ = std::make_unique<FlowLab>();
    table_ = FlowLab::table();
  }

  void apply(const ServiceTable& table, IpvsOptions options = {}) {
    lab_->net().in("node", [&] {
      driver_ = make_ipvs_driver(std::move(options), loop_, Log(sink_), registry_);
      const auto started = driver_->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  // Pods and the node get the local endpoints of policy Local, too: the mode's one difference.
  static std::set<std::string> expected(const ServiceTable& table, const Ip& source,
                                        FlowResult want) {
    const bool by_source = want.frontend.local_only &&
                           want.frontend.kind != FrontendKind::cluster_ip &&
                           classify_source(table.node, source) != SourceClass::outside;
    const auto is_local = [](const FlowCandidate& one) { return one.backend.local; };
    if (by_source && std::any_of(want.candidates.begin(), want.candidates.end(), is_local)) {
      std::erase_if(want.candidates, std::not_fn(is_local));
    }
    return FlowLab::expected(want);
  }

  void check_flow(const ServiceTable& table, const std::string& from, const Ip& source,
                  const SocketAddress& to, Protocol protocol) {
    const auto want = expected(table, source, resolve(table, source, to.ip, to.port, protocol));
    const bool answer = !want.contains("timeout");
    std::set<std::string> got;
    lab_->net().in(from, [&] {
      for (int i = 0; i < 12 && (got != want || i < 2) && (answer || i < 1); ++i) {
        const std::string one = FlowLab::seen(source, to, protocol, answer);
        got.insert(one);
        if (!want.contains(one)) break;
      }
    });
    EXPECT_EQ(got, want) << source.to_string() << " -> " << to.to_string() << "/"
                         << to_string(protocol);
  }

  void check_matrix(const ServiceTable& table, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
      for (const bool ipv6 : {false, true}) {
        const std::string_view at = name == "pod"       ? (ipv6 ? "fd00:1::2" : "10.1.0.2")
                                    : name == "local"   ? (ipv6 ? "fd00:2::2" : "10.2.0.2")
                                    : name == "outside" ? (ipv6 ? "fd00:9::2" : "10.9.0.2")
                                                        : (ipv6 ? "fd00:9::1" : "10.9.0.1");
        const Ip from = *Ip::parse(at);
        const Ip node = *Ip::parse(ipv6 ? "fd00:9::1" : "10.9.0.1");
        for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
          for (uint16_t number = 1; number <= 5; ++number) {
            const Ip cluster_ip = *Ip::parse(cat(ipv6 ? "fd96::" : "10.96.0.", number));
            const Ip external_ip = *Ip::parse(cat(ipv6 ? "2001:db8::" : "203.0.113.", number));
            check_flow(table, std::string(name), from, {cluster_ip, 80}, protocol);
            check_flow(table, std::string(name), from, {external_ip, 80}, protocol);
            check_flow(table, std::string(name), from,
                       {node, static_cast<uint16_t>(30080 + number)}, protocol);
          }
        }
      }
    }
  }

  std::string ask_from(const std::string& where, std::string_view to,
                       Protocol protocol = Protocol::tcp, int timeout_ms = 3000) {
    std::string answer;
    lab_->net().in(where,
                   [&] { answer = ask({}, *SocketAddress::parse(to), protocol, timeout_ms); });
    return answer;
  }

  MemoryLogSink sink_;
  Registry registry_;
  net::EventLoop loop_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

TEST_F(IpvsPackets, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  apply(table_);
  check_matrix(table_, {"pod", "local", "node", "outside"});
}

TEST_F(IpvsPackets, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  apply(table_);
  check_matrix(table_, {"pod", "node", "outside"});
}

TEST_F(IpvsPackets, MasqueradeAllIsAsResolved) {
  table_.node.masquerade_all = true;
  apply(table_);
  check_matrix(table_, {"pod"});
}

TEST_F(IpvsPackets, OtherTools) {
  apply(table_);
  lab_->net().in("node", [&] {
    const std::string dump = driver_->dump();
    const std::string seen = output_of("ipvsadm -S -n");
    EXPECT_EQ(lines_of(seen, "-A"), lines_of(dump, "-A"));
    EXPECT_EQ(lines_of(seen, "-a"), lines_of(dump, "-a"));
    EXPECT_GT(lines_of(seen, "-A").size(), 50u);
    const std::string link = output_of("ip -o -d link show kube-ipvs0");
    EXPECT_NE(link.find("dummy"), link.npos) << link;
    const std::string addresses = output_of("ip -o addr show dev kube-ipvs0");
    EXPECT_NE(addresses.find("10.96.0.1/32"), addresses.npos) << addresses;
    EXPECT_NE(addresses.find("fd96::1/128"), addresses.npos) << addresses;
    EXPECT_EQ(addresses.find("10.9.0.1"), addresses.npos) << addresses;
    EXPECT_EQ(output_of("cat /proc/sys/net/ipv4/vs/conntrack"), "1\n");
    const std::string table = output_of("nft list table inet fairlead-ipvs");
    EXPECT_NE(table.find("10.96.0.1 . tcp . 80 : goto open"), table.npos) << table;
    ASSERT_TRUE(driver_->cleanup());
    EXPECT_EQ(output_of("ipvsadm -S -n"), "");
    EXPECT_EQ(output_of("nft list tables"), "");
    EXPECT_EQ(output_of("ip -o link show type dummy"), "");
  });
}

TEST_F(IpvsPackets, OtherTrafficPasses) {
  apply(table_);
  EXPECT_EQ(ask_from("pod", "10.3.0.2:8080"), "remote 10.1.0.2");
  EXPECT_EQ(ask_from("pod", "[fd00:2::2]:8080", Protocol::udp), "local fd00:1::2");
  EXPECT_EQ(ask_from("pod", "10.9.0.1:8080"), "refused");
}

TEST_F(IpvsPackets, PortsAndAddressesOfNobody) {
  table_.node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
  apply(table_);
  // What the node listens on is not reached through a service address.
  std::unique_ptr<Responder> listening;
  lab_->net().in("node", [&] { listening = std::make_unique<Responder>("node", 7777); });
  EXPECT_EQ(ask_from("pod", "10.9.0.1:7777"), "node 10.1.0.2");
  for (const std::string_view to : {"10.96.0.1:7777", "[fd96::1]:7777", "203.0.113.1:7777"}) {
    EXPECT_EQ(ask_from("pod", to), "refused") << to;
    EXPECT_EQ(ask_from("pod", to, Protocol::udp), "refused") << to;
  }
  EXPECT_EQ(ask_from("node", "10.96.0.1:7777"), "refused");
  for (const std::string_view to : {"10.96.0.200:80", "[fd96::200]:80"}) {
    EXPECT_EQ(ask_from("pod", to, Protocol::tcp, 300), "timeout") << to;
  }
}

TEST_F(IpvsPackets, SourceRangesKeepOthersOut) {
  ServiceTable table = table_;
  PortRule& rule = table.services.at({"default", "s1"}).ports[0];
  ASSERT_EQ(rule.protocol, Protocol::tcp);
  ASSERT_FALSE(rule.ipv6);
  const Ip vip = *Ip::parse("198.51.100.9");
  rule.frontends.push_back({FrontendKind::load_balancer, vip, 80, false});
  for (const std::string_view range :
       {"10.1.0.0/24", "10.9.0.1/32", "0.0.0.0/0", "172.16.0.0/12"}) {
    rule.source_ranges = {*Cidr::parse(range)};
    apply(table);
    for (const auto& [name, at] : {std::pair("pod", "10.1.0.2"), std::pair("local", "10.2.0.2"),
                                   std::pair("outside", "10.9.0.2"), std::pair("node", "10.9.0.1"),
                                   std::pair("node", "198.51.100.9")}) {
      check_flow(table, name, *Ip::parse(at), {vip, 80}, Protocol::tcp);
    }
  }
}

TEST_F(IpvsPackets, AClientKeepsItsEndpoint) {
  ServiceTable table = table_;
  for (PortRule& rule : table.services.at({"default", "s1"}).ports) rule.affinity_timeout_s = 60;
  apply(table);
  std::set<std::string> answers;
  for (int i = 0; i < 8; ++i) answers.insert(ask_from("pod", "10.96.0.1:80"));
  EXPECT_EQ(answers.size(), 1u);
}

TEST_F(IpvsPackets, OpenConnectionsOutliveEveryKindOfChange) {
  apply(table_, {.drain_interval = std::chrono::milliseconds(20)});
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  ServiceTable next = table_;
  lab_->net().in("pod", [&] {
    Conversation talk(cluster_ip);
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    // The endpoint leaves: new connections see it, this one does not.
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    lab_->net().in("node", [&] {
      ASSERT_TRUE(driver_->apply(next, {{"default", "s3"}}, false).ok());
      const std::string held = output_of("ipvsadm -S -n");
      EXPECT_NE(held.find("-a -t 10.96.0.3:80 -r 10.2.0.2:8080 -m -w 0"), held.npos) << held;
    });
    EXPECT_EQ(ask({}, cluster_ip, Protocol::tcp, 500), "timeout");
    EXPECT_EQ(talk.say("one"), "one");
    // The whole service goes, and another run of the agent comes.
    next.services.erase({"default", "s3"});
    lab_->net().in("node",
                   [&] { ASSERT_TRUE(driver_->apply(next, {{"default", "s3"}}, false).ok()); });
    EXPECT_EQ(talk.say("two"), "two");
    apply(next, {.drain_interval = std::chrono::milliseconds(20)});
    EXPECT_EQ(talk.say("three"), "three");
    // Retired: another mode would take what is new.
    lab_->net().in("node", [&] {
      ASSERT_TRUE(driver_->retire());
      EXPECT_FALSE(driver_->drained());
    });
    EXPECT_EQ(talk.say("four"), "four");
  });
}

TEST_F(IpvsPackets, NoNewConnectionFailsWhileTheTableChanges) {
  apply(table_);
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    while (!stop) {
      const std::string answer = ask_from("pod", "10.96.0.1:80");
      if (answer.starts_with("local") || answer.starts_with("remote")) {
        ++good;
      } else {
        bad = answer;
      }
    }
  });
  ServiceTable other = table_;
  auto& backends = other.services.at({"default", "s1"}).ports[0].backends;
  backends.erase(backends.begin());
  for (int i = 0; i < 40; ++i) {
    const ServiceTable& next = i % 2 == 0 ? other : table_;
    lab_->net().in(
        "node", [&] { ASSERT_TRUE(driver_->apply(next, {{"default", "s1"}}, i % 10 == 9).ok()); });
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_GT(good, 20);
}

TEST_F(IpvsPackets, StrictArpAnswersForNoServiceAddress) {
  apply(table_, {.strict_arp = true});
  lab_->net().in("node", [] {
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_ignore"), "1");
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_announce"), "2");
  });
}

}  // namespace
}  // namespace fairlead::dataplane
