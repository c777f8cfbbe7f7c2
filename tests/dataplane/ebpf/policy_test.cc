// Who gets which backend, with real packets: the table of the traffic policies against resolve(),
// session affinity, source ranges, addresses and ports that nobody has.
#include <fstream>
#include <thread>

#include "base/text.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "tests/dataplane/ebpf/pods_lab.h"
#include "tests/dataplane/flow_lab.h"

namespace fairlead::dataplane::test {
namespace {

// This process in a cgroup until destruction.
class InCgroup {
 public:
  explicit InCgroup(const std::string& folder) {
    std::ifstream in("/proc/self/cgroup");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("0::")) home_ = cat(*ebpf::cgroup2_root(), line.substr(3));
    }
    enter(folder);
  }
  ~InCgroup() { enter(home_); }
  InCgroup(const InCgroup&) = delete;

 private:
  static void enter(const std::string& folder) {
    std::ofstream out(folder + "/cgroup.procs");
    out << "0" << std::flush;
    EXPECT_TRUE(out.good()) << folder;
  }
  std::string home_;
};

class PolicyMatrix : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<Lab>();
    flows_ = std::make_unique<FlowLab>();
    table_ = FlowLab::table();
    flows_->net().in("node", [&] {
      driver_ = lab_->driver();
      const Result<void> started = driver_->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = driver_->apply(table_, {}, true);
      ASSERT_TRUE(report.ok()) << report.errors[0];
    });
  }
  void TearDown() override {
    if (driver_) flows_->net().in("node", [&] { EXPECT_TRUE(driver_->cleanup()); });
    driver_.reset();
  }

  std::vector<SocketAddress> targets(bool ipv6) const {
    std::vector<SocketAddress> out;
    const Ip node = *Ip::parse(ipv6 ? "fd00:9::1" : "10.9.0.1");
    for (uint16_t number = 1; number <= 5; ++number) {
      const Ip cluster_ip = *Ip::parse(cat(ipv6 ? "fd96::" : "10.96.0.", number));
      out.push_back({cluster_ip, 80});
      out.push_back({cluster_ip, 81});
      out.push_back({*Ip::parse(cat(ipv6 ? "2001:db8::" : "203.0.113.", number)), 80});
      out.push_back({node, static_cast<uint16_t>(30080 + number)});
    }
    return out;
  }

  void check(const std::string& name, const char* v4, const char* v6) {
    for (const bool ipv6 : {false, true}) {
      for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        for (const SocketAddress& to : targets(ipv6)) {
          flows_->check_flow(table_, name, *Ip::parse(ipv6 ? v6 : v4), to, protocol);
        }
      }
    }
  }

  // A socket is told at once of what packets would only be dropped for. The node's own address is
  // what masquerading gives, so it says nothing.
  void check_sockets(const std::string& name, const char* v4, const char* v6) {
    for (const bool ipv6 : {false, true}) {
      const Ip from = *Ip::parse(ipv6 ? v6 : v4);
      for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        for (const SocketAddress& to : targets(ipv6)) {
          const FlowResult result = resolve(table_, from, to.ip, to.port, protocol);
          const std::set<std::string> want = plain(FlowLab::expected(result), name == "node");
          std::set<std::string> got;
          flows_->net().in(name, [&] {
            for (int i = 0; i < 60 && (got != want || i < 3); ++i) {
              const bool answer = result.outcome != FlowOutcome::drop;
              got.merge(plain({FlowLab::seen(from, to, protocol, answer)}, name == "node"));
            }
          });
          EXPECT_EQ(got, want) << from.to_string() << " -> " << to.to_string() << "/"
                               << to_string(protocol);
        }
      }
    }
  }

  static std::set<std::string> plain(const std::set<std::string>& seen, bool node) {
    std::set<std::string> out;
    for (const std::string& one : seen) {
      const size_t masquerade = node ? one.find(" (masquerade)") : one.npos;
      out.insert(one == "error: No route to host" ? "timeout" : one.substr(0, masquerade));
    }
    return out;
  }

  std::unique_ptr<Lab> lab_;
  std::unique_ptr<FlowLab> flows_;
  ServiceTable table_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(PolicyMatrix, PacketsMeetWhatTheTableSays) {
  check("pod", "10.1.0.2", "fd00:1::2");
  check("local", "10.2.0.2", "fd00:2::2");  // an endpoint: hairpin
  check("outside", "10.9.0.2", "fd00:9::2");
}

// Pods in the cgroup too: what has to leave as the node's is left to tc.
TEST_F(PolicyMatrix, SocketsMeetWhatTheTableSays) {
  const InCgroup inside(lab_->cgroup());
  check_sockets("pod", "10.1.0.2", "fd00:1::2");
  check_sockets("node", "10.9.0.1", "fd00:9::1");
}

using Policy = PodsTest;

constexpr const char* both = "10.1.1.2:8001,10.1.1.2:8002";

TEST_F(Policy, ClientsKeepTheirBackend) {
  apply(cat("a/b TCP 10.96.0.1:80,node:30080 -> ", both, " affinity=1000"));
  const Dial many = {.ip = "10.96.0.1", .port = 80, .tries = 20};
  const Dial port = {.ip = "192.0.2.1", .port = 30080, .tries = 20};
  const auto by_packets = servers_in(packets("client", port));
  EXPECT_EQ(by_packets.size(), 1u);
  EXPECT_EQ(servers_in(packets("client", many)), by_packets) << "one memory for all frontends";
  const auto by_sockets = servers_in(sockets("b", many));
  EXPECT_EQ(by_sockets.size(), 1u);
  EXPECT_EQ(servers_in(sockets("node", many)).size(), 1u);

  const char* other = by_packets.contains("x") ? "10.1.1.2:8002" : "10.1.1.2:8001";
  apply(cat("a/b TCP 10.96.0.1:80,node:30080 -> ", other, " affinity=1000"));
  const auto moved = servers_in(packets("client", many));
  EXPECT_NE(moved, by_packets) << "it is gone";
  apply(cat("a/b TCP 10.96.0.1:80,node:30080 -> ", both, " affinity=1000"));
  EXPECT_EQ(servers_in(packets("client", many)), moved);
  apply(cat("a/b TCP 10.96.0.1:80,node:30080 -> ", both));
  EXPECT_EQ(servers_in(packets("client", many)).size(), 2u);
}

TEST_F(Policy, AffinityEnds) {
  apply(cat("a/b TCP 10.96.0.1:80 -> ", both, " affinity=1"));
  std::set<std::string> all;
  for (int i = 0; i < 12 && all.size() < 2; ++i) {
    all.merge(servers_in(packets("b", {.ip = "10.96.0.1", .port = 80})));
    std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  }
  EXPECT_EQ(all.size(), 2u);
}

TEST_F(Policy, SourceRangesAreForLoadBalancersOnly) {
  const auto table = [](const char* range) {
    return cat("a/b TCP 10.96.0.1:80,lb:203.0.113.1:80,node:30080 -> 10.1.1.2:8001 from=", range);
  };
  const Dial lb = {"203.0.113.1", 80}, ip = {"10.96.0.1", 80}, port = {"192.0.2.1", 30080};
  struct Case {
    const char* range;
    bool client, pod, node;  // may dial the load balancer
  };
  const Case cases[] = {
      {"192.0.2.9/32", true, false, false},
      {"10.1.2.0/24", false, true, false},
      {"192.0.2.1/32", false, false, true},
      {"192.0.2.0/24", true, false, true},
  };
  for (const Case& c : cases) {
    apply(table(c.range));
    EXPECT_EQ(packets("client", lb) != "timeout", c.client) << c.range;
    EXPECT_EQ(packets("b", lb) != "timeout", c.pod) << c.range;
    EXPECT_EQ(sockets("b", lb) != "timeout", c.pod) << c.range << " in the cgroup";
    EXPECT_EQ(sockets("node", lb) != "EHOSTUNREACH", c.node) << c.range;
    EXPECT_EQ(servers_in(packets("client", ip)), std::set<std::string>{"x"}) << c.range;
    EXPECT_EQ(servers_in(packets("client", port)), std::set<std::string>{"x"}) << c.range;
    EXPECT_EQ(servers_in(sockets("node", ip)), std::set<std::string>{"x"}) << c.range;
  }
}

TEST_F(Policy, PortsAndAddressesThatNobodyHas) {
  apply("services 10.96.0.0/16\na/b TCP 10.96.0.1:80 -> 10.1.1.2:8001");
  const Protocol udp = Protocol::udp;
  for (const Protocol protocol : {Protocol::tcp, udp}) {
    const Dial port = {"10.96.0.1", 81, protocol}, address = {"10.96.0.9", 80, protocol};
    EXPECT_EQ(packets("b", port), "ECONNREFUSED");
    EXPECT_EQ(sockets("b", port), "ECONNREFUSED");
    EXPECT_EQ(sockets("node", port), "ECONNREFUSED");
    EXPECT_EQ(packets("b", address), "timeout");
    EXPECT_EQ(sockets("b", address), "EHOSTUNREACH");
  }
  EXPECT_EQ(sockets("node", {"10.96.0.9", 80, udp, false}), "EHOSTUNREACH");
  EXPECT_EQ(sockets("node", {"10.96.0.1", 53, udp, false}), "ECONNREFUSED");
  apply("a/c TCP 10.96.0.9:80 -> 10.1.1.2:8001");
  EXPECT_EQ(servers_in(packets("b", {"10.96.0.9", 80})), std::set<std::string>{"x"});
}

TEST_F(Policy, NodePortsAnswerWhereTheyAreToldTo) {
  const char* service = "a/b TCP 10.96.0.1:80,node:30080 -> 10.1.1.2:8001\n";
  const Dial local = {"127.0.0.1", 30080}, outer = {"192.0.2.1", 30080},
             inner = {"10.1.2.1", 30080};
  const std::set<std::string> served = {"x"};
  apply(cat("node 10.1.2.1\nports-on 192.0.2.1\n", service));
  EXPECT_EQ(servers_in(sockets("node", local)), served);
  EXPECT_EQ(servers_in(packets("client", outer)), served);
  EXPECT_EQ(packets("b", inner), "ECONNREFUSED") << "by the node's own stack";
  EXPECT_EQ(sockets("node", inner), "ECONNREFUSED");
  apply(cat("node 10.1.2.1\nno-localhost\n", service));
  EXPECT_EQ(sockets("node", local), "ECONNREFUSED");
  EXPECT_EQ(servers_in(packets("b", inner)), served);
}

TEST_F(Policy, PodsInTheCgroupAreMasqueradedWhereTheTableSaysSo) {
  const char* service = "a/b TCP 10.96.0.1:80,node:30080,ext:203.0.113.1:80 -> 10.1.1.2:8001\n";
  apply(service);
  EXPECT_EQ(sockets("b", {"10.96.0.1", 80}), "x 10.1.2.2 from 10.96.0.1:80");
  EXPECT_EQ(sockets("b", {"192.0.2.1", 30080}), "x 192.0.2.1 from 192.0.2.1:30080");
  EXPECT_EQ(sockets("b", {"203.0.113.1", 80}), "x 192.0.2.1 from 203.0.113.1:80");
  apply(cat("masquerade-all\n", service));
  EXPECT_EQ(sockets("b", {"10.96.0.1", 80}), "x 192.0.2.1 from 10.96.0.1:80");
  EXPECT_EQ(packets("b", {"10.96.0.1", 80}), "x 192.0.2.1 from 10.96.0.1:80");
}

}  // namespace
}  // namespace fairlead::dataplane::test
