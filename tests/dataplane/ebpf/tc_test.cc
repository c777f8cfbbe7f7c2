// The tc programs with real traffic: a client outside the node, pods whose sockets the node does
// not see, and routing by the kernel in between.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "dataplane/ebpf/tc_filters.h"
#include "dataplane/ebpf/tcx_links.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::test {
namespace {

constexpr const char* services = R"(
node 192.0.2.1
node fd02::1
pods 10.1.0.0/16
pods fd01::/48
default/web TCP 10.96.0.10:80,node:30080 -> 10.1.1.2:8080*
default/web6 TCP [fd96::10]:80,node6:30080 -> [fd01:0:0:1::2]:8080*
default/dns UDP 10.96.0.10:53,node:30053 -> 10.1.1.2:8080*
default/dns6 UDP [fd96::10]:53,node6:30053 -> [fd01:0:0:1::2]:8080*
default/far TCP 10.96.0.20:80,node:30081 -> 198.51.100.9:9090
default/none TCP 10.96.0.11:80,node:30082 ->
default/none6 TCP [fd96::11]:80,node6:30082 ->
default/none-udp UDP 10.96.0.11:53,node:30054 ->
default/none-udp6 UDP [fd96::11]:53,node6:30054 ->
default/policy TCP 10.96.0.12:80,node:30083 -> drop
)";

class TcTest : public testing::TestWithParam<const char*> {
 protected:
  // client -- node -- pod a, pod b; and a host that is far behind the client's network.
  void SetUp() override {
    REQUIRE_BPF();
    if (by_tcx() && !probe_ebpf().tcx) GTEST_SKIP() << "NOT TESTED: this kernel has no tcx";
    lab_ = std::make_unique<Lab>();
    lab_->link("node", "eth0", {"192.0.2.1/24", "fd02::1/64"}, "client", "eth0",
               {"192.0.2.9/24", "fd02::9/64"});
    lab_->link("node", "veth-a", {"10.1.1.1/24", "fd01:0:0:1::1/64"}, "a", "eth0",
               {"10.1.1.2/24", "fd01:0:0:1::2/64"});
    lab_->link("node", "veth-b", {"10.1.2.1/24", "fd01:0:0:2::1/64"}, "b", "eth0",
               {"10.1.2.2/24", "fd01:0:0:2::2/64"});
    lab_->link("client", "far0", {"198.51.100.1/24"}, "far", "eth0", {"198.51.100.9/24"});
    for (const char* pod : {"a", "b"}) {
      bool a = *pod == 'a';
      lab_->route(pod, "0.0.0.0/0", a ? "10.1.1.1" : "10.1.2.1");
      lab_->route(pod, "::/0", a ? "fd01:0:0:1::1" : "fd01:0:0:2::1");
    }
    lab_->route("node", "198.51.100.0/24", "192.0.2.9");
    lab_->route("client", "10.96.0.0/16", "192.0.2.1");
    lab_->route("client", "10.1.0.0/16", "192.0.2.1");
    lab_->route("far", "0.0.0.0/0", "198.51.100.1");
    for (const char* router : {"node", "client"}) {
      lab_->sysctl(router, "net/ipv4/ip_forward", "1");
      lab_->sysctl(router, "net/ipv6/conf/all/forwarding", "1");
    }
    servers_.push_back(std::make_unique<Server>(lab_->netns("a"), "web", "10.1.1.2", 8080));
    servers_.push_back(std::make_unique<Server>(lab_->netns("a"), "web6", "fd01:0:0:1::2", 8080));
    servers_.push_back(std::make_unique<Server>(lab_->netns("far"), "far", "198.51.100.9", 9090));
    auto scope = net::NetnsScope::enter(lab_->netns("node"));
    ASSERT_TRUE(scope);
    driver_ = new_driver();
    Result<void> started = driver_->start();
    ASSERT_TRUE(started) << started.error().message;
    ApplyReport report = driver_->apply(table_of(services), {}, true);
    ASSERT_TRUE(report.ok()) << report.errors.at(0);
  }

  void TearDown() override {
    if (!driver_) return;
    auto scope = net::NetnsScope::enter(lab_->netns("node"));
    EXPECT_TRUE(driver_->cleanup());
  }

  std::unique_ptr<Driver> new_driver() {
    EbpfOptions options = lab_->options();
    options.tcx = by_tcx();
    return lab_->driver(options);
  }
  static bool by_tcx() { return std::string(GetParam()) == "tcx"; }

  std::string from(const std::string& where, const Dial& request) {
    return run_in(lab_->netns(where), "", [&] { return dial(request); });
  }

  std::unique_ptr<Lab> lab_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<Driver> driver_;
};

TEST_P(TcTest, TranslatesWhatTheKernelRoutes) {
  const Protocol udp = Protocol::udp;
  struct Case {
    const char* name;
    const char* where;
    Dial dial;
    const char* expected;  // which server, whom it saw, whom the client sees
  };
  const Case cases[] = {
      {"node port", "client", {"192.0.2.1", 30080}, "web 192.0.2.1 from 192.0.2.1:30080"},
      {"node port, IPv6", "client", {"fd02::1", 30080}, "web6 [fd02::1] from [fd02::1]:30080"},
      {"node port, UDP", "client", {"192.0.2.1", 30053, udp}, "web 192.0.2.1 from 192.0.2.1:30053"},
      {"node port, UDP, IPv6",
       "client",
       {"fd02::1", 30053, udp},
       "web6 [fd02::1] from [fd02::1]:30053"},
      {"node port, remote backend",
       "client",
       {"192.0.2.1", 30081},
       "far 192.0.2.1 from 192.0.2.1:30081"},
      {"pod to ClusterIP", "b", {"10.96.0.10", 80}, "web 10.1.2.2 from 10.96.0.10:80"},
      {"pod to ClusterIP, IPv6", "b", {"fd96::10", 80}, "web6 [fd01:0:0:2::2] from [fd96::10]:80"},
      {"pod to ClusterIP, UDP",
       "b",
       {"10.96.0.10", 53, udp, false},
       "web 10.1.2.2 from 10.96.0.10:53"},
      {"pod to ClusterIP, UDP, IPv6",
       "b",
       {"fd96::10", 53, udp, false},
       "web6 [fd01:0:0:2::2] from [fd96::10]:53"},
      {"pod to node port", "b", {"192.0.2.1", 30080}, "web 192.0.2.1 from 192.0.2.1:30080"},
      {"pod to far backend", "b", {"10.96.0.20", 80}, "far 10.1.2.2 from 10.96.0.20:80"},
      {"hairpin", "a", {"10.96.0.10", 80}, "web 192.0.2.1 from 10.96.0.10:80"},
      {"hairpin, UDP, IPv6", "a", {"fd96::10", 53, udp}, "web6 [fd02::1] from [fd96::10]:53"},
      {"outside to ClusterIP", "client", {"10.96.0.10", 80}, "web 192.0.2.1 from 10.96.0.10:80"},
      {"refused", "client", {"192.0.2.1", 30082}, "ECONNREFUSED"},
      {"refused, IPv6", "client", {"fd02::1", 30082}, "ECONNREFUSED"},
      {"refused, UDP", "client", {"192.0.2.1", 30054, udp}, "ECONNREFUSED"},
      {"refused, UDP, IPv6", "client", {"fd02::1", 30054, udp}, "ECONNREFUSED"},
      {"refused to a pod", "b", {"10.96.0.11", 80}, "ECONNREFUSED"},
      {"refused to a pod, UDP", "b", {"10.96.0.11", 53, udp}, "ECONNREFUSED"},
      {"dropped by policy", "client", {"192.0.2.1", 30083}, "timeout"},
      {"past every service", "b", {"10.1.1.2", 8080}, "web 10.1.2.2 from 10.1.1.2:8080"},
  };
  for (const Case& c : cases) EXPECT_EQ(from(c.where, c.dial), c.expected) << c.name;
}

TEST_P(TcTest, ManyConnectionsAndSamePortsAgain) {
  std::string seen = from("client", {.ip = "192.0.2.1", .port = 30080, .tries = 200});
  for (std::string_view line : split(seen, '\n')) {
    EXPECT_EQ(line, "web 192.0.2.1 from 192.0.2.1:30080");
  }
  const Dial same = {.ip = "192.0.2.1",
                     .port = 30053,
                     .protocol = Protocol::udp,
                     .tries = 5,
                     .source_port = 40000};
  seen = from("client", same);
  for (std::string_view line : split(seen, '\n')) {
    EXPECT_EQ(line, "web 192.0.2.1 from 192.0.2.1:30053");
  }
}

TEST_P(TcTest, DatagramsLargerThanTheLink) {
  // 4000 bytes leave the client in three fragments; later ones carry no ports.
  for (const char* ip : {"192.0.2.1", "fd02::1"}) {
    std::string seen = run_in(lab_->netns("client"), "", [&] {
      bool v6 = !Ip::parse(ip)->is_v4();
      net::Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
      timeval patience{2, 0};
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      sockaddr_in6 six{};
      sockaddr_in four{};
      Ip parsed = *Ip::parse(ip);
      six.sin6_family = AF_INET6;
      four.sin_family = AF_INET;
      six.sin6_port = four.sin_port = htons(30053);
      std::copy(parsed.bytes.begin(), parsed.bytes.end(), six.sin6_addr.s6_addr);
      if (!v6) four.sin_addr.s_addr = htonl(parsed.to_v4());
      auto* to = v6 ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
      std::string payload(1900, 'x');
      int mtu = 1280;
      setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? 24 : 10, &mtu, sizeof mtu);
      if (connect(fd.get(), to, v6 ? sizeof six : sizeof four) != 0) return std::string("connect");
      if (send(fd.get(), payload.data(), payload.size(), 0) < 0) return std::string("send");
      char answer[100];
      ssize_t got = recv(fd.get(), answer, sizeof answer, 0);
      return got < 0 ? std::string("timeout") : std::string(answer, static_cast<size_t>(got));
    });
    EXPECT_TRUE(seen.find(":1900 ") != std::string::npos) << ip << ": " << seen;
  }
}

TEST_P(TcTest, LinksThatComeLaterAreServed) {
  lab_->link("node", "veth-c", {"10.1.3.1/24"}, "c", "eth0", {"10.1.3.2/24"});
  lab_->route("c", "0.0.0.0/0", "10.1.3.1");
  {
    auto scope = net::NetnsScope::enter(lab_->netns("node"));
    for (int i = 0; i < 20; ++i) lab_->loop().run_once(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(from("c", {"10.96.0.10", 80}), "web 10.1.3.2 from 10.96.0.10:80");
}

TEST_P(TcTest, FlowsGoOnWithoutTheDriverAndAfterItsReturn) {
  const Dial web = {"192.0.2.1", 30080};
  driver_.reset();
  EXPECT_EQ(from("client", web), "web 192.0.2.1 from 192.0.2.1:30080");
  auto scope = net::NetnsScope::enter(lab_->netns("node"));
  driver_ = new_driver();
  ASSERT_TRUE(driver_->start());
  EXPECT_EQ(from("client", web), "web 192.0.2.1 from 192.0.2.1:30080");
}

TEST_P(TcTest, CleanupTakesFiltersAndQdiscsAway) {
  auto scope = net::NetnsScope::enter(lab_->netns("node"));
  const int eth0 = net::Netlink::open()->link("eth0")->index;
  EXPECT_EQ(ebpf::has_tc(eth0), !by_tcx());
  EXPECT_EQ(ebpf::count_tcx(eth0, true, "tc_ingress"), by_tcx() ? 1 : 0);
  EXPECT_NE(driver_->dump().find(cat("tc by ", GetParam(), " on 3 links\n")), std::string::npos);
  ASSERT_TRUE(driver_->cleanup());
  EXPECT_EQ(ebpf::count_tcx(eth0, true, "tc_ingress"), 0);
  EXPECT_EQ(ebpf::count_tcx(eth0, false, "tc_egress"), 0);
  FILE* pipe = popen("tc qdisc show | grep -c clsact; tc filter show dev eth0 ingress", "r");
  char text[100] = {};
  size_t length = fread(text, 1, sizeof text - 1, pipe);
  pclose(pipe);
  EXPECT_EQ(std::string(text, length), "0\n");
  driver_.reset();
}

INSTANTIATE_TEST_SUITE_P(By, TcTest, testing::Values("clsact", "tcx"),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace
}  // namespace fairlead::dataplane::test
