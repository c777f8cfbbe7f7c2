// Real packets through the userspace driver.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "dataplane/userspace/driver.h"
#include "net/netlink.h"
#include "net/socket.h"
#include "tests/dataplane/packet_contract.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane {
namespace {

using userspace::eventually;

PacketCase packet_case() {
  PacketCase out{"Userspace", Mode::userspace,
                 [](net::EventLoop&, const Log& log, Registry& registry) {
                   return make_userspace_driver({}, log, registry);
                 }};
  out.guards_empty = false;           // the kernel refuses before anybody looks at the source
  out.flows_need_no_service = false;  // the address is not the node's meanwhile
  return out;
}
const PacketCase in_userspace = packet_case();
INSTANTIATE_TEST_SUITE_P(Userspace, PacketContract, testing::Values(in_userspace),
                         packet_case_name);

// What is this mode's alone.
class UserspacePackets : public PacketContract {
 protected:
  std::string from(const std::string& where, const SocketAddress& to, Protocol protocol,
                   int timeout_ms = 3000) {
    std::string answer;
    lab_->net().in(where, [&] { answer = ask({}, to, protocol, timeout_ms); });
    return answer;
  }

  UserspaceOptions options_;  // of the drivers that are not the contract's
};
INSTANTIATE_TEST_SUITE_P(Userspace, UserspacePackets, testing::Values(in_userspace),
                         packet_case_name);

SocketAddress at(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

TEST_P(UserspacePackets, NodePortsAnswerOnLocalhostForTheNodeItself) {
  start(table_);
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    const std::string answer = from("node", at("127.0.0.1", 30081), protocol);
    EXPECT_TRUE(answer.starts_with("local ") || answer.starts_with("remote ")) << answer;
    EXPECT_EQ(from("node", at("127.0.0.1", 30099), protocol), "refused");
  }
}

TEST_P(UserspacePackets, NoProcessOfTheNodeIsReachedThroughAVip) {
  start(table_);
  std::unique_ptr<Responder> process;
  lab_->net().in("node", [&] { process = std::make_unique<Responder>("node", 8888); });
  EXPECT_EQ(from("pod", at("10.9.0.1", 8888), Protocol::tcp), "node 10.1.0.2");
  for (const std::string_view vip : {"10.96.0.1", "203.0.113.1", "fd96::1", "2001:db8::5"}) {
    for (const char* where : {"pod", "node", "outside"}) {
      EXPECT_EQ(from(where, at(vip, 8888), Protocol::tcp), "refused") << where << " " << vip;
      EXPECT_EQ(from(where, at(vip, 8888), Protocol::udp), "refused") << where << " " << vip;
    }
  }
}

TEST_P(UserspacePackets, ConnectionsDoNotKeepOthersFromTheirPort) {
  start(table_);
  lab_->net().in("pod", [&] {
    Conversation talk(at("10.96.0.1", 80));
    ASSERT_NE(talk.greeting().find(' '), std::string::npos);
    for (const Ip& any : {Ip{}, Ip::v4(0)}) {
      lab_->net().in("node", [&] {
        const auto server = net::listen_tcp({any, 80});
        EXPECT_TRUE(server) << server.error().message;
      });
    }
    EXPECT_EQ(talk.say("one"), "one");
  });
}

TEST_P(UserspacePackets, AFullMapIsNamedAndTheRestIsServed) {
  options_.max_captured = 40;
  lab_->net().in("node", [&] {
    driver_ = make_userspace_driver(options_, Log(sink_), registry_);
    ASSERT_TRUE(driver_->start());
    const ApplyReport report = driver_->apply(table_, {}, true);
    ASSERT_FALSE(report.ok());
    EXPECT_NE(report.errors[0].find("the captured map is full (40 entries)"), std::string::npos)
        << report.errors[0];
    EXPECT_FALSE(driver_->retry().ok());
    // Less is asked for: everything fits.
    ServiceTable fewer = table_;
    fewer.services = {*table_.services.begin()};
    ASSERT_TRUE(driver_->apply(fewer, {}, true).ok());
    EXPECT_TRUE(driver_->verify(false)->empty());
  });
  EXPECT_NE(from("pod", at("10.96.0.1", 80), Protocol::tcp).find(' '), std::string::npos);
}

TEST_P(UserspacePackets, SourceRangesLetInWhomTheySay) {
  table_.node.node_ips = {*Ip::parse("10.9.0.1")};
  PortRule& rule = table_.services.at({"default", "s1"}).ports[0];
  const Ip vip = *Ip::parse("203.0.113.200");
  rule.frontends.push_back({FrontendKind::load_balancer, vip, 80});
  rule.source_ranges = {*Cidr::parse("10.1.0.0/24")};
  const Protocol protocol = rule.protocol;
  start(table_);
  EXPECT_TRUE(from("pod", {vip, 80}, protocol).find('.') != std::string::npos);
  const std::string outside = from("outside", {vip, 80}, protocol, 300);
  EXPECT_EQ(outside, protocol == Protocol::tcp ? flow_lab::reset_later : "timeout");
}

TEST_P(UserspacePackets, AffinityHoldsForTcpAndUdpApart) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) rule.affinity_timeout_s = 60;
  start(table_);
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    const std::string first = from("pod", at("10.96.0.1", 80), protocol);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(from("pod", at("10.9.0.1", 30081), protocol), first);
  }
}

TEST_P(UserspacePackets, OpenConnectionsOutliveChangesOfTheTable) {
  start(table_);
  lab_->net().in("pod", [&] {
    Conversation talk(at("10.96.0.3", 80));
    ASSERT_EQ(talk.greeting().substr(0, 6), "local ");
    ServiceTable next = table_;
    next.services.erase({"default", "s3"});
    apply(next, {{"default", "s3"}});
    EXPECT_FALSE(driver_->drained());
    // The VIP is no address of the node any more: nothing of it comes back.
    EXPECT_NE(ask({}, at("10.96.0.3", 80), Protocol::tcp, 200).substr(0, 5), "local");
    apply(table_, {{"default", "s3"}});
    EXPECT_EQ(talk.say("one"), "one");
  });
}

TEST_P(UserspacePackets, ARetiredDriverCarriesItsConnectionsToTheirEnd) {
  start(table_);
  lab_->net().in("pod", [&] {
    auto talk = std::make_unique<Conversation>(at("fd96::1", 80));
    EXPECT_NE(talk->greeting().find(' '), std::string::npos) << talk->greeting();
    lab_->net().in("node", [&] { EXPECT_TRUE(driver_->retire()); });
    EXPECT_EQ(talk->say("one"), "one");
    EXPECT_FALSE(driver_->drained());
    EXPECT_EQ(ask({}, at("10.96.0.1", 80), Protocol::tcp, 1000), "refused");
    EXPECT_EQ(talk->say("two"), "two");
    talk.reset();
    EXPECT_TRUE(eventually([&] { return driver_->drained(); }));
    lab_->net().in("node", [&] { EXPECT_TRUE(driver_->cleanup()); });
    EXPECT_EQ(driver_->dump(), "");
  });
}

// Flows that idle are counted by a clock that only the test moves.
class SharedClock final : public Clock {
 public:
  explicit SharedClock(const FakeClock& clock) : clock_(clock) {}
  MonoTime now() const override { return clock_.now(); }
  WallTime wall() const override { return clock_.wall(); }

 private:
  const FakeClock& clock_;
};

class UserspaceUdp : public UserspacePackets {
 protected:
  void apply_with_clock(const ServiceTable& table) {
    options_.limits.sweep = std::chrono::milliseconds(5);
    lab_->net().in("node", [&] {
      driver_ = make_userspace_driver(
          options_, Log(sink_), registry_,
          {userspace::make_kernel_capture(options_.max_captured), userspace::make_kernel_routes(),
           std::make_unique<const SharedClock>(clock_)});
      ASSERT_TRUE(driver_->start());
      ASSERT_TRUE(driver_->apply(table, {}, true).ok());
    });
  }
  int64_t flows() { return registry_.gauge("fairlead_userspace_udp_flows", "").value(); }

  FakeClock clock_;
};
INSTANTIATE_TEST_SUITE_P(Userspace, UserspaceUdp, testing::Values(in_userspace), packet_case_name);

// A UDP client with one source port for all it asks.
class UdpClient {
 public:
  explicit UdpClient(const SocketAddress& to) {
    fd_ = *net::bind_udp({to.ip.is_v4() ? Ip::v4(0) : Ip{}, 0});
    const net::RawAddress raw = net::to_raw(to);
    EXPECT_EQ(::connect(fd_.get(), raw.get(), raw.size), 0);
  }
  std::string ask(std::string_view text = "?") {
    ::send(fd_.get(), text.data(), text.size(), 0);
    char buffer[256];
    for (int i = 0; i < 300; ++i) {
      const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (size >= 0) return {buffer, std::min<size_t>(static_cast<size_t>(size), 5)};
      if (errno == ECONNREFUSED) return "refused";
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return "timeout";
  }

 private:
  net::Fd fd_;
};

TEST_P(UserspaceUdp, AFlowKeepsItsBackendAndEndsWhenItIdles) {
  apply_with_clock(table_);
  lab_->net().in("pod", [&] {
    for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
      UdpClient a(at(vip, 80)), b(at(vip, 80));
      const std::string first = a.ask();
      EXPECT_NE(b.ask(), first) << "in turn";
      for (int i = 0; i < 4; ++i) EXPECT_EQ(a.ask(), first);
      EXPECT_TRUE(eventually([&] { return flows() == 2; }));
      clock_.advance(std::chrono::seconds(50));
      EXPECT_EQ(a.ask(), first);
      clock_.advance(std::chrono::seconds(20));
      EXPECT_TRUE(eventually([&] { return flows() == 1; })) << "the other one was used";
      EXPECT_FALSE(driver_->drained());
      clock_.advance(std::chrono::seconds(60));
      EXPECT_TRUE(eventually([&] { return driver_->drained(); }));
    }
  });
}

TEST_P(UserspaceUdp, AFlowWhoseBackendIsGoneMovesOn) {
  apply_with_clock(table_);
  lab_->net().in("pod", [&] {
    UdpClient client(at("10.96.0.1", 80));
    const std::string first = client.ask();
    ServiceTable next = table_;
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      std::erase_if(rule.backends,
                    [&](const Backend& backend) { return backend.local == (first == "local"); });
    }
    const std::set<api::ObjectKey> changed{{"default", "s1"}};
    apply(next, changed);
    const std::string second = client.ask();
    EXPECT_EQ(second, first == "local" ? "remot" : "local");
    apply(table_, changed);
    EXPECT_EQ(client.ask(), second) << "its backend is still there";
  });
}

TEST_P(UserspaceUdp, AFlowWhoseBackendRefusesMovesOn) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) {
    if (rule.protocol != Protocol::udp || rule.ipv6) continue;
    rule.backends = {{*Ip::parse("10.2.0.2"), 7777, true}, {*Ip::parse("10.3.0.2"), 8080, false}};
  }
  apply_with_clock(table_);
  lab_->net().in("pod", [&] {
    UdpClient client(at("10.96.0.1", 80));
    EXPECT_EQ(client.ask(), "timeout") << "the first datagram finds out";
    for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ask(), "remot");
  });
}

TEST_P(UserspaceUdp, TheFlowUsedLongestAgoMakesRoom) {
  options_.limits.max_udp_flows = 4;
  apply_with_clock(table_);
  lab_->net().in("pod", [&] {
    std::vector<std::unique_ptr<UdpClient>> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<UdpClient>(at("10.96.0.1", 80)));
      EXPECT_NE(clients.back()->ask(), "timeout");
    }
    for (const auto& client : clients) EXPECT_NE(client->ask(), "timeout");
    EXPECT_TRUE(eventually([&] { return flows() == 4; }));
    EXPECT_EQ(registry_.counter("fairlead_userspace_udp_flows_evicted_total", "").value(), 12u);
  });
}

TEST_P(UserspaceUdp, DatagramsOfEverySizeGoBothWays) {
  std::atomic<bool> stop = false;
  net::Fd fd;
  lab_->net().in("remote", [&] { fd = *net::bind_udp(at("10.3.0.2", 9000)); });
  std::thread server([&] {
    std::vector<char> buffer(65536);
    while (!stop) {
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      auto* name = reinterpret_cast<sockaddr*>(&peer);
      const ssize_t size = ::recvfrom(fd.get(), buffer.data(), buffer.size(), 0, name, &length);
      if (size >= 0) {
        ::sendto(fd.get(), buffer.data(), static_cast<size_t>(size), 0, name, length);
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  });
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) {
    if (rule.protocol == Protocol::udp && !rule.ipv6) {
      rule.backends = {{*Ip::parse("10.3.0.2"), 9000, false}};
    }
  }
  apply_with_clock(table_);
  lab_->net().in("pod", [&] {
    const net::Fd client = *net::bind_udp({Ip::v4(0), 0});
    const net::RawAddress raw = net::to_raw(at("10.96.0.1", 80));
    ASSERT_EQ(::connect(client.get(), raw.get(), raw.size), 0);
    std::vector<char> buffer(65536);
    uint32_t seed = 0;
    for (const size_t size : {0, 1, 512, 1472, 9000, 65507}) {
      const std::string data = userspace::pattern(size, ++seed);
      ::send(client.get(), data.data(), data.size(), 0);
      ssize_t got = -1;
      EXPECT_TRUE(eventually([&] {
        got = ::recv(client.get(), buffer.data(), buffer.size(), 0);
        return got >= 0;
      })) << size;
      EXPECT_TRUE(std::string(buffer.data(), static_cast<size_t>(got)) == data) << size;
    }
  });
  stop = true;
  server.join();
}

TEST_P(UserspacePackets, AKilledRunLeavesNothingThatTheNextOneDoesNotPutRight) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    start(table_);
    const char ok = driver_ && driver_->dump().find("local 10.96.0.1") != std::string::npos;
    [[maybe_unused]] const ssize_t written = ::write(ready[1], &ok, 1);
    ::pause();
    ::_exit(0);
  }
  char ok = 0;
  ASSERT_EQ(::read(ready[0], &ok, 1), 1);
  EXPECT_EQ(ok, 1);
  const auto served = [](const std::string& answer) {
    return answer.starts_with("local ") || answer.starts_with("remote ");
  };
  EXPECT_TRUE(served(from("pod", at("10.96.0.1", 80), Protocol::tcp)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  // The capture ended with the process, the addresses did not.
  EXPECT_EQ(from("pod", at("10.96.0.1", 80), Protocol::tcp), "refused");
  lab_->net().in("node", [&] {
    auto netlink = net::Netlink::open();
    EXPECT_FALSE(netlink->locals(userspace::route_protocol)->empty());
  });
  start(table_);
  EXPECT_NE(sink_.text().find("earlier run"), std::string::npos);
  EXPECT_TRUE(served(from("pod", at("10.96.0.1", 80), Protocol::tcp)));
  EXPECT_TRUE(served(from("pod", at("fd96::1", 80), Protocol::udp)));
}

}  // namespace
}  // namespace fairlead::dataplane
