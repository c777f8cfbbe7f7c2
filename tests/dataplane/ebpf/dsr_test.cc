// Direct server return with real traffic: a client, the node that it dials and the backend's node
// around a fabric of routers. The node that is dialled has no route to the client, so whatever the
// client hears came past it.
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/text.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/service_sync.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::test {
namespace {

constexpr const char* nodes_a = R"(
node 198.51.100.1
node fd0a::1
pods 10.1.0.0/16
pods fd01::/48
)";
constexpr const char* nodes_b = R"(
node 198.51.101.1
node fd0b::1
pods 10.2.0.0/16
pods fd02::/48
)";

// What both nodes have; '@' becomes what marks a backend as local, on its own node.
constexpr const char* services = R"(
default/web TCP 10.96.0.10:80,node:30080,lb:192.0.2.10:80 -> 10.2.1.2:8080@ dsr
default/web6 TCP [fd96::10]:80,node6:30080,lb:[fd99::10]:80 -> [fd02::2]:8080@ dsr
default/dns UDP 10.96.0.10:53,node:30053,lb:192.0.2.10:53 -> 10.2.1.2:8080@ dsr
default/dns6 UDP [fd96::10]:53,node6:30053,lb:[fd99::10]:53 -> [fd02::2]:8080@ dsr
default/closed TCP 10.96.0.11:80,node:30081 -> 10.2.1.2:7@ dsr
default/closed6 TCP [fd96::11]:80,node6:30081 -> [fd02::2]:7@ dsr
default/closed-udp UDP 10.96.0.11:53,node:30054 -> 10.2.1.2:7@ dsr
default/closed-udp6 UDP [fd96::11]:53,node6:30054 -> [fd02::2]:7@ dsr
default/ranges TCP node:30082,lb:192.0.2.12:80 -> 10.2.1.2:8080@ from=203.0.113.8/32 dsr
default/sticky TCP 10.96.0.13:80,node:30083 -> 10.2.1.2:8080@,10.2.1.2:8081@ affinity=1000 dsr
default/nat TCP 10.96.0.14:80,node:30084 -> 10.2.1.2:8080@
)";

std::string on_node(std::string text, const char* mark) {
  for (size_t at; (at = text.find('@')) != text.npos;) text.replace(at, 1, mark);
  return text;
}

class DsrTest : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<Lab>();
    lab_b_ = std::make_unique<Lab>();
    lab_->link("fabric", "client", {"203.0.113.1/24", "fd0c::1/64"}, "client", "eth0",
               {"203.0.113.9/24", "fd0c::9/64"});
    lab_->link("fabric", "node-a", {"198.51.100.254/24", "fd0a::254/64"}, "a", "eth0",
               {"198.51.100.1/24", "fd0a::1/64"});
    lab_->link("fabric", "node-b", {"198.51.101.254/24", "fd0b::254/64"}, "b", "eth0",
               {"198.51.101.1/24", "fd0b::1/64"});
    lab_->link("b", "veth", {"10.2.1.1/24", "fd02::1/64"}, "pod", "eth0",
               {"10.2.1.2/24", "fd02::2/64"});
    lab_->link("a", "veth", {"10.1.1.1/24"}, "near", "eth0", {"10.1.1.2/24"});
    for (const char* router : {"fabric", "a", "b"}) {
      lab_->sysctl(router, "net/ipv4/ip_forward", "1");
      lab_->sysctl(router, "net/ipv6/conf/all/forwarding", "1");
      // The answer comes to the fabric from another node than the one that has its source.
      for (const char* key : {"all", "default"}) {
        lab_->sysctl(router, cat("net/ipv4/conf/", key, "/rp_filter"), "0");
      }
    }
    route();
    servers_.push_back(std::make_unique<Server>(lab_->netns("pod"), "web", "10.2.1.2", 8080));
    servers_.push_back(std::make_unique<Server>(lab_->netns("pod"), "two", "10.2.1.2", 8081));
    servers_.push_back(std::make_unique<Server>(lab_->netns("pod"), "web6", "fd02::2", 8080));
    servers_.push_back(std::make_unique<Server>(lab_->netns("near"), "near", "10.1.1.2", 8080));
    a_ = started(*lab_, "a");
    b_ = started(*lab_b_, "b");
    apply_a("");
    apply_b(on_node(services, "*"));
  }

  void TearDown() override {
    for (const auto& [name, driver] : {std::pair("a", &a_), std::pair("b", &b_)}) {
      if (!*driver) continue;
      auto scope = net::NetnsScope::enter(lab_->netns(name));
      EXPECT_TRUE((*driver)->cleanup());
      driver->reset();
    }
  }

  void route() {
    lab_->route("client", "0.0.0.0/0", "203.0.113.1");
    lab_->route("client", "::/0", "fd0c::1");
    lab_->route("pod", "0.0.0.0/0", "10.2.1.1");
    lab_->route("pod", "::/0", "fd02::1");
    lab_->route("near", "0.0.0.0/0", "10.1.1.1");
    lab_->route("b", "0.0.0.0/0", "198.51.101.254");
    lab_->route("b", "::/0", "fd0b::254");
    lab_->route("a", "10.2.0.0/16", "198.51.100.254");
    lab_->route("a", "fd02::/48", "fd0a::254");
    lab_->route("fabric", "10.2.0.0/16", "198.51.101.1");
    lab_->route("fabric", "fd02::/48", "fd0b::1");
    lab_->route("fabric", "192.0.2.0/24", "198.51.100.1");
    lab_->route("fabric", "fd99::/64", "fd0a::1");
  }
  void route_back() {
    lab_->route("a", "203.0.113.0/24", "198.51.100.254");
    lab_->route("a", "fd0c::/64", "fd0a::254");
  }

  std::unique_ptr<Driver> started(Lab& lab, const char* where) {
    auto scope = net::NetnsScope::enter(lab_->netns(where));
    auto driver = lab.driver();
    const Result<void> result = driver->start();
    EXPECT_TRUE(result) << result.error().message;
    return driver;
  }
  void apply_a(const std::string& more) {
    apply(*a_, "a", cat(nodes_a, on_node(services, ""), more));
  }
  void apply_b(const std::string& text) { apply(*b_, "b", cat(nodes_b, text)); }
  void apply(Driver& driver, const char* where, const std::string& text) {
    auto scope = net::NetnsScope::enter(lab_->netns(where));
    const ApplyReport report = driver.apply(table_of(text), {}, true);
    ASSERT_TRUE(report.ok()) << report.errors.at(0);
  }

  std::string client(const Dial& request) {
    return run_in(lab_->netns("client"), "", [&] { return dial(request); });
  }

  std::unique_ptr<Lab> lab_, lab_b_;  // the second only for its bpffs
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<Driver> a_, b_;
};

TEST_F(DsrTest, TheClientKeepsItsAddressAndTheAnswerComesPastTheNode) {
  const Protocol udp = Protocol::udp;
  struct Case {
    const char* name;
    Dial dial;
    const char* expected;  // which server, whom it saw, whom the client sees
  };
  const Case cases[] = {
      {"node port", {"198.51.100.1", 30080}, "web 203.0.113.9 from 198.51.100.1:30080"},
      {"node port, IPv6", {"fd0a::1", 30080}, "web6 [fd0c::9] from [fd0a::1]:30080"},
      {"load balancer", {"192.0.2.10", 80}, "web 203.0.113.9 from 192.0.2.10:80"},
      {"load balancer, IPv6", {"fd99::10", 80}, "web6 [fd0c::9] from [fd99::10]:80"},
      {"node port, UDP", {"198.51.100.1", 30053, udp}, "web 203.0.113.9 from 198.51.100.1:30053"},
      {"node port, UDP, IPv6", {"fd0a::1", 30053, udp}, "web6 [fd0c::9] from [fd0a::1]:30053"},
      {"load balancer, UDP", {"192.0.2.10", 53, udp}, "web 203.0.113.9 from 192.0.2.10:53"},
      {"load balancer, UDP, IPv6", {"fd99::10", 53, udp}, "web6 [fd0c::9] from [fd99::10]:53"},
      {"refused by the pod", {"198.51.100.1", 30081}, "ECONNREFUSED"},
      {"refused by the pod, IPv6", {"fd0a::1", 30081}, "ECONNREFUSED"},
      {"refused by the pod, UDP", {"198.51.100.1", 30054, udp}, "ECONNREFUSED"},
      {"refused by the pod, UDP, IPv6", {"fd0a::1", 30054, udp}, "ECONNREFUSED"},
      {"the source ranges say no", {"192.0.2.12", 80}, "timeout"},
      {"and are the load balancer's only",
       {"198.51.100.1", 30082},
       "web 203.0.113.9 from 198.51.100.1:30082"},
  };
  for (const Case& c : cases) EXPECT_EQ(client(c.dial), c.expected) << c.name;
}

TEST_F(DsrTest, ManyConnectionsAndSamePortsAgain) {
  const std::string seen = client({.ip = "198.51.100.1", .port = 30080, .tries = 200});
  for (std::string_view line : split(seen, '\n')) {
    EXPECT_EQ(line, "web 203.0.113.9 from 198.51.100.1:30080");
  }
  Dial same = {.ip = "198.51.100.1", .port = 30053, .protocol = Protocol::udp, .tries = 3};
  same.source_port = 40000;
  const std::string datagrams = client(same);
  for (std::string_view line : split(datagrams, '\n')) {
    EXPECT_EQ(line, "web 203.0.113.9 from 198.51.100.1:30053");
  }
  const std::string sticky = client({.ip = "198.51.100.1", .port = 30083, .tries = 20});
  for (std::string_view line : split(sticky, '\n')) EXPECT_EQ(line, sticky.substr(0, line.size()));
}

// Neither side has a word for these: they need the way back.
TEST_F(DsrTest, WhatIsNotDirectGoesThroughTheNode) {
  EXPECT_EQ(client({"198.51.100.1", 30084}), "timeout") << "there is no way back";
  route_back();
  EXPECT_EQ(client({"198.51.100.1", 30084}), "web 198.51.100.1 from 198.51.100.1:30084");
  apply_a("default/near TCP 10.96.0.15:80,node:30085 -> 10.1.1.2:8080* dsr\n");
  EXPECT_EQ(client({"198.51.100.1", 30085}), "near 198.51.100.1 from 198.51.100.1:30085");
}

TEST_F(DsrTest, ABackendsNodeThatDoesNotHaveItDropsTheFlow) {
  std::string other = on_node(services, "*");
  other.replace(other.find(" dsr"), 4, "");
  apply_b(other);
  EXPECT_EQ(client({"198.51.100.1", 30080}), "timeout");
  EXPECT_EQ(client({"fd0a::1", 30080}), "web6 [fd0c::9] from [fd0a::1]:30080");
  apply_b(on_node(services, "*"));
  EXPECT_EQ(client({"198.51.100.1", 30080}), "web 203.0.113.9 from 198.51.100.1:30080");
}

TEST_F(DsrTest, FlowsGoOnWhileNoAgentRuns) {
  for (const auto& [name, driver] : {std::pair("a", &a_), std::pair("b", &b_)}) {
    auto scope = net::NetnsScope::enter(lab_->netns(name));
    driver->reset();
  }
  EXPECT_EQ(client({"198.51.100.1", 30080}), "web 203.0.113.9 from 198.51.100.1:30080");
  a_ = started(*lab_, "a");
  b_ = started(*lab_b_, "b");
  EXPECT_EQ(client({"fd99::10", 53, Protocol::udp}), "web6 [fd0c::9] from [fd99::10]:53");
}

// A word is believed for backends of this node, those that only other nodes send to among them.
TEST(DsrMembers, SayWhichBackendsAreOnTheNode) {
  struct Case {
    const char* table;
    std::map<std::string, uint32_t> members;
  };
  const Case cases[] = {
      {"a/b TCP 10.96.0.1:80,node:30080 -> 10.1.0.1:80*,10.2.0.1:80 dsr",
       {{"10.1.0.1:80", FL_IN_CLUSTER | FL_ON_NODE}, {"10.2.0.1:80", FL_IN_CLUSTER}}},
      {"a/b TCP 10.96.0.1:80,node:30080 -> 10.1.0.1:80^,10.2.0.1:80 dsr",
       {{"10.1.0.1:80", FL_ON_NODE}, {"10.2.0.1:80", FL_IN_CLUSTER}}},
      {"a/b TCP 10.96.0.1:80 -> 10.1.0.1:80^,10.2.0.1:80 dsr", {{"10.2.0.1:80", FL_IN_CLUSTER}}},
      {"a/b TCP 10.96.0.1:80,node:30080! -> 10.1.0.1:80^,10.2.0.1:80 dsr",
       {{"10.1.0.1:80", FL_IN_LOCAL | FL_ON_NODE}, {"10.2.0.1:80", FL_IN_CLUSTER}}},
  };
  for (const Case& c : cases) {
    ebpf::FakeMaps maps;
    ebpf::ServiceSync sync(maps);
    for (const char* before : {"", cases[0].table, c.table}) {
      EXPECT_TRUE(sync.apply(table_of(before), {}, true).ok());
    }
    std::map<std::string, uint32_t> members;
    ebpf::each_entry<fl_member_key, uint32_t>(
        maps, ebpf::MapId::members, [&](const fl_member_key& key, uint32_t sets) {
          members[SocketAddress{ebpf::from_map(key.ip), ebpf::to_host(key.port)}.to_string()] =
              sets;
        });
    EXPECT_EQ(members, c.members) << c.table;
  }
}

TEST(FlowTimeout, IsByWhatTheFlowHasSaid) {
  constexpr uint16_t reply = FL_NAT_REPLY, replied = FL_NAT_REPLIED, fin = FL_NAT_FIN,
                     peer = FL_NAT_PEER_FIN, rst = FL_NAT_RST, dsr = FL_NAT_DSR;
  struct Case {
    bool tcp;
    int flags;
    uint32_t ticks;
  };
  const Case cases[] = {
      {false, 0, FL_TIMEOUT_UDP_OPENING},
      {false, replied, FL_TIMEOUT_UDP},
      {false, dsr | replied, FL_TIMEOUT_UDP},
      {true, 0, FL_TIMEOUT_TCP_OPENING},
      {true, dsr, FL_TIMEOUT_TCP_OPENING},
      {true, replied, FL_TIMEOUT_TCP},
      {true, reply | replied | dsr, FL_TIMEOUT_TCP},
      {true, replied | fin, FL_TIMEOUT_TCP},
      {true, replied | fin | dsr, FL_TIMEOUT_TCP_HALF},
      {true, replied | peer | dsr, FL_TIMEOUT_TCP_HALF},
      {true, fin | dsr, FL_TIMEOUT_TCP_OPENING},
      {true, replied | fin | peer, FL_TIMEOUT_TCP_CLOSED},
      {true, replied | fin | peer | dsr, FL_TIMEOUT_TCP_CLOSED},
      {true, rst, FL_TIMEOUT_TCP_CLOSED},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(fl_flow_timeout(c.tcp, static_cast<uint16_t>(c.flags)), c.ticks)
        << c.tcp << " " << c.flags;
  }
}

// Sends datagrams of this size until one is answered, four times at most: the answer, or the last
// error; and what the path takes then.
std::string exchange(const char* ip, uint16_t port, size_t size, int discover) {
  const Ip to = *Ip::parse(ip);
  const bool v4 = to.is_v4();
  net::Fd fd(socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const timeval patience{0, 500'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
             &discover, sizeof discover);
  sockaddr_in four{};
  sockaddr_in6 six{};
  four.sin_family = AF_INET;
  six.sin6_family = AF_INET6;
  four.sin_port = six.sin6_port = htons(port);
  four.sin_addr.s_addr = v4 ? htonl(to.to_v4()) : 0;
  std::copy(to.bytes.begin(), to.bytes.end(), six.sin6_addr.s6_addr);
  const auto* address = v4 ? reinterpret_cast<sockaddr*>(&four) : reinterpret_cast<sockaddr*>(&six);
  if (connect(fd.get(), address, v4 ? sizeof four : sizeof six) != 0) return "no connection";
  std::string result = "nothing";
  for (int i = 0; i < 4; ++i) {
    const std::string payload(size, 'x');
    char answer[100];
    ssize_t got = send(fd.get(), payload.data(), payload.size(), 0);
    if (got > 0) got = recv(fd.get(), answer, sizeof answer, 0);
    if (got > 0) result = std::string(answer, static_cast<size_t>(got));
    if (got > 0) break;
    result = errno == EMSGSIZE ? "too big" : "no answer";
  }
  int mtu = 0;
  socklen_t length = sizeof mtu;
  getsockopt(fd.get(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &length);
  return cat(result, ", path ", mtu);
}

TEST_F(DsrTest, DatagramsThatTheWordMakesTooBig) {
  route_back();  // for the ICMP errors
  struct Case {
    const char* name;
    const char* ip;
    size_t size;
    int discover;
    const char* expected;
  };
  const Case cases[] = {
      {"it fits with the word", "198.51.100.1", 1464, IP_PMTUDISC_DO,
       "web:1464 203.0.113.9, path 1500"},
      {"the node fragments it", "198.51.100.1", 1472, IP_PMTUDISC_DONT,
       "web:1472 203.0.113.9, path 1500"},
      {"it may not be fragmented", "198.51.100.1", 1472, IP_PMTUDISC_DO, "too big, path 1492"},
      {"fragments already", "198.51.100.1", 2000, IP_PMTUDISC_DONT,
       "web:2000 203.0.113.9, path 1492"},
      {"it fits with the word, IPv6", "fd0a::1", 1428, IPV6_PMTUDISC_DO,
       "web6:1428 [fd0c::9], path 1500"},
      {"the sender learns to fragment, IPv6", "fd0a::1", 1452, IPV6_PMTUDISC_WANT,
       "web6:1452 [fd0c::9], path 1476"},
      {"fragments already, IPv6", "fd0a::1", 2000, IPV6_PMTUDISC_WANT,
       "web6:2000 [fd0c::9], path 1476"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(run_in(lab_->netns("client"), "",
                     [&] { return exchange(c.ip, 30053, c.size, c.discover); }),
              c.expected)
        << c.name;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::test
