// UDP flows through the userspace driver: real packets, and a clock that only the test moves.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <thread>

#include "dataplane/userspace/driver.h"
#include "net/socket.h"
#include "tests/dataplane/flow_lab.h"
#include "tests/dataplane/udp_talk.h"
#include "tests/dataplane/userspace/loopback_peers.h"
#include "tests/dataplane/userspace/sanitizer.h"

namespace fairlead::dataplane {
namespace {

using userspace::eventually;

SocketAddress at(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

class SharedClock final : public Clock {
 public:
  explicit SharedClock(const FakeClock& clock) : clock_(clock) {}
  MonoTime now() const override { return clock_.now(); }
  WallTime wall() const override { return clock_.wall(); }

 private:
  const FakeClock& clock_;
};

class UserspaceUdp : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>(Mode::userspace);
    table_ = FlowLab::table();
  }
  void start(const ServiceTable& table) {
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
  void apply(const ServiceTable& table) {
    lab_->net().in("node",
                   [&] { ASSERT_TRUE(driver_->apply(table, {{"default", "s1"}}, false).ok()); });
  }
  int64_t flows() { return registry_.gauge("fairlead_userspace_udp_flows", "").value(); }
  uint64_t counted(const std::string& name) {
    return registry_.counter(cat("fairlead_userspace_", name), "").value();
  }

  FakeClock clock_;
  UserspaceOptions options_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

TEST_F(UserspaceUdp, AFlowKeepsItsBackendAndEndsWhenItIdles) {
  start(table_);
  lab_->net().in("pod", [&] {
    for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
      UdpTalk a(at(vip, 80)), b(at(vip, 80));
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

TEST_F(UserspaceUdp, AFlowWhoseBackendIsGoneMovesOn) {
  start(table_);
  lab_->net().in("pod", [&] {
    UdpTalk client(at("10.96.0.1", 80));
    const std::string first = client.ask();
    ServiceTable next = table_;
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      std::erase_if(rule.backends,
                    [&](const Backend& backend) { return backend.local == (first == "local"); });
    }
    apply(next);
    const std::string second = client.ask();
    EXPECT_EQ(second, first == "local" ? "remote" : "local");
    apply(table_);
    EXPECT_EQ(client.ask(), second) << "its backend is still there";
  });
}

TEST_F(UserspaceUdp, AFlowWhoseBackendRefusesMovesOn) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) {
    if (rule.protocol != Protocol::udp || rule.ipv6) continue;
    rule.backends = {{*Ip::parse("10.2.0.2"), 7777, true}, {*Ip::parse("10.3.0.2"), 8080, false}};
  }
  start(table_);
  lab_->net().in("pod", [&] {
    UdpTalk client(at("10.96.0.1", 80));
    EXPECT_EQ(client.ask(), "timeout") << "the first datagram finds out";
    for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ask(), "remote");
  });
}

// More than one datagram may meet the refusal before the forwarder is told of it; a client that is
// remembered must not be given the same backend again.
TEST_F(UserspaceUdp, ABurstToABackendThatRefusesMovesOnInSpiteOfAffinity) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) {
    if (rule.protocol != Protocol::udp || rule.ipv6) continue;
    rule.backends = {{*Ip::parse("10.2.0.2"), 7777, true}, {*Ip::parse("10.3.0.2"), 8080, false}};
    rule.affinity_timeout_s = 60;
  }
  start(table_);
  lab_->net().in("pod", [&] {
    const net::Fd client = *net::bind_udp({*Ip::parse("10.1.0.2"), 0});
    const net::RawAddress to = net::to_raw(at("10.96.0.1", 80));
    ASSERT_EQ(::connect(client.get(), to.get(), to.size), 0);
    for (int i = 0; i < 12; ++i) ::send(client.get(), "?", 1, MSG_DONTWAIT);
    char buffer[256];
    int answers = 0;
    EXPECT_TRUE(eventually([&] {
      const ssize_t got = ::recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      answers +=
          got > 0 && std::string_view(buffer, static_cast<size_t>(got)).starts_with("remote");
      return answers >= 10;
    })) << answers
        << " of 12";
    // One attempt told of the refusal; whoever is remembered is the one that answers.
    UdpTalk later(at("10.96.0.1", 80));
    EXPECT_EQ(later.ask(), "remote");
  });
}

TEST_F(UserspaceUdp, TheFlowUsedLongestAgoMakesRoom) {
  options_.limits.max_udp_flows = 4;
  start(table_);
  lab_->net().in("pod", [&] {
    std::vector<std::unique_ptr<UdpTalk>> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<UdpTalk>(at("10.96.0.1", 80)));
      EXPECT_NE(clients.back()->ask(), "timeout");
    }
    for (const auto& client : clients) EXPECT_NE(client->ask(), "timeout");
    EXPECT_TRUE(eventually([&] { return flows() == 4; }));
    EXPECT_EQ(counted("udp_flows_evicted_total"), 12u);
  });
}

TEST_F(UserspaceUdp, DatagramsOfEverySizeGoBothWays) {
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
  start(table_);
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

TEST_F(UserspaceUdp, WithoutFileDescriptorsDatagramsAreLostAndTheNextFlowIsServed) {
  NEEDS_NO_FILES();
  start(table_);
  lab_->net().in("pod", [&] {
    UdpTalk a(at("10.96.0.1", 80)), b(at("10.96.0.1", 80));
    EXPECT_NE(a.ask(), "timeout");
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{static_cast<rlim_t>(net::Fd(::dup(0)).get()), before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    EXPECT_EQ(b.ask(), "timeout");
    EXPECT_NE(a.ask(), "timeout") << "its sockets are there";
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(counted("connect_failures_total"), 1u);
    EXPECT_NE(b.ask(), "timeout");
    EXPECT_TRUE(eventually([&] { return flows() == 2; }));
  });
}

// docs/userspace.md, "What is not there": without SO_REUSEPORT the dialled address is its alone.
TEST_F(UserspaceUdp, AServerThatSharesThePortWithNobodyIsInTheWayUntilItGoes) {
  start(table_);
  net::Fd server;
  lab_->net().in("node", [&] { server = *net::bind_udp({Ip{}, 80}); });
  lab_->net().in("pod", [&] {
    UdpTalk client(at("10.96.0.1", 80));
    EXPECT_EQ(client.ask(), "timeout");
    EXPECT_EQ(flows(), 0);
    server.reset();
    EXPECT_NE(client.ask(), "timeout");
    EXPECT_TRUE(eventually([&] { return flows() == 1; }));
  });
}

TEST_F(UserspaceUdp, PolicyHoldsForFlowsThatAreUnderWay) {
  start(table_);
  lab_->net().in("pod", [&] {
    UdpTalk client(at("10.96.0.1", 80));
    EXPECT_NE(client.ask(), "timeout");
    ServiceTable next = table_;
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      rule.backends.clear();
      rule.if_empty = NoBackend::drop;
    }
    apply(next);
    EXPECT_EQ(client.ask(), "timeout");
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      rule.if_empty = NoBackend::reject;
    }
    apply(next);
    EXPECT_EQ(client.ask(), "refused");
    apply(table_);
    EXPECT_NE(client.ask(), "timeout");
  });
}

}  // namespace
}  // namespace fairlead::dataplane
