// Connections through the forwarder, on loopback and without capture: what is dialled is the
// listener itself.
#include "dataplane/userspace/tcp_forwarder.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <ctime>

#include "net/socket.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr size_t long_transfer = 24 << 20;

class TcpForwarding : public testing::Test {
 protected:
  ~TcpForwarding() override {
    if (!thread_.joinable()) return;
    loop_.stop();
    thread_.join();
  }

  void begin(const std::vector<SocketAddress>& backends) {
    listener_ = *net::listen_tcp({Ip::v4(0x7f000001), 0});
    address_ = *net::local_address(listener_.get());
    publish(backends);
    thread_ = std::thread([this] {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      Balancer balancer(clock_, 100);
      const Forwarding with{loop_, table_, balancer, clock_, limits_, metrics_};
      TcpForwarder forwarder(with, listener_.get());
      loop_.run();
    });
  }

  void publish(const std::vector<SocketAddress>& backends) {
    NamedRule rule{"default/web:p/TCP4", {}};
    for (const SocketAddress& to : backends) rule.rule.backends.push_back({to.ip, to.port, false});
    const Frontend frontend{FrontendKind::cluster_ip, address_.ip, address_.port};
    rule.rule.frontends = {frontend};
    rule.rule.affinity_timeout_s = affinity_s_;
    const Route route{std::make_shared<const NamedRule>(rule), frontend};
    table_.store(std::make_shared<const RoutingTable>(RoutingTable().with(
        std::make_shared<const NodeConfig>(), {{{address_, Protocol::tcp}, route}})));
  }

  // "reset", "end", or what came.
  std::string greeting() {
    const net::Fd fd = dial(address_);
    if (!fd) return "refused";
    char buffer[64];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got < 0) return errno == ECONNRESET ? "reset" : "timeout";
    return got == 0 ? "end" : std::string(buffer, static_cast<size_t>(got));
  }

  bool idle() {
    return eventually([&] { return metrics_.connections.value() == 0; });
  }

  RealClock clock_;
  Registry registry_;
  ForwardingMetrics metrics_{registry_};
  ForwardingLimits limits_;
  uint32_t affinity_s_ = 0;
  PublishedTable table_;
  net::EventLoop loop_;
  net::Fd listener_;
  SocketAddress address_;
  std::thread thread_;
};

LoopbackServer::Handler says(const std::string& text) {
  return [text](int fd) {
    send_all(fd, text);
    receive_all(fd);
  };
}

TEST_F(TcpForwarding, LongTransfersBothWaysAtOnceArriveWhole) {
  const std::string there = pattern(long_transfer, 1), back = pattern(long_transfer, 2);
  std::atomic<bool> right = false;
  LoopbackServer server([&](int fd) {
    std::thread sender([&] {
      send_all(fd, back);
      ::shutdown(fd, SHUT_WR);
    });
    right = receive_all(fd) == there;
    sender.join();
  });
  begin({server.address()});
  const net::Fd fd = dial(address_);
  ASSERT_TRUE(fd);
  std::thread sender([&] {
    EXPECT_TRUE(send_all(fd.get(), there));
    ::shutdown(fd.get(), SHUT_WR);
  });
  EXPECT_TRUE(receive_all(fd.get()) == back);
  sender.join();
  EXPECT_TRUE(idle());
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_EQ(metrics_.bytes.value(), 2 * long_transfer);
}

TEST_F(TcpForwarding, TheEndOfOneDirectionLeavesTheOther) {
  LoopbackServer server([](int fd) {
    const std::string request = receive_all(fd);  // only the client's end makes this return
    send_all(fd, "answer to ");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    send_all(fd, request);
  });
  begin({server.address()});
  const net::Fd fd = dial(address_);
  ASSERT_TRUE(send_all(fd.get(), "question"));
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(receive_all(fd.get()), "answer to question");
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, ASlowReaderHoldsItsSenderBackAndNobodyElse) {
  const std::string back = pattern(long_transfer, 3);
  std::atomic<size_t> sent = 0;
  LoopbackServer server([&](int fd) {
    for (size_t at = 0; at < back.size(); at += 1 << 16) {
      if (!send_all(fd, std::string_view(back).substr(at, 1 << 16))) return;
      sent = at + (1 << 16);
    }
  });
  begin({server.address()});
  const net::Fd slow = dial(address_);
  const int small = 1 << 16;
  ::setsockopt(slow.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  size_t before = 1;
  ASSERT_TRUE(eventually([&] {  // until the sender stands still
    const size_t was = std::exchange(before, sent.load());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return was == sent && sent != 0;
  }));
  EXPECT_LT(sent, long_transfer);
  LoopbackServer other(says("hello"));
  publish({other.address()});
  EXPECT_EQ(greeting(), "hello");
  EXPECT_TRUE(receive_all(slow.get()) == back);
}

TEST_F(TcpForwarding, WaitingForASlowBackendCostsNoTime) {
  const std::string there = pattern(long_transfer, 4);
  std::atomic<bool> go = false, right = false;
  LoopbackServer server([&](int fd) {
    ::shutdown(fd, SHUT_WR);  // has nothing to say
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    right = receive_all(fd) == there;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    EXPECT_EQ(receive_all(fd.get()), "");
    const timeval briefly{0, 200'000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &briefly, sizeof briefly);
    size_t sent = 0;
    for (ssize_t n = 1; n > 0 && sent < there.size(); sent += static_cast<size_t>(n)) {
      n = std::max<ssize_t>(
          0, ::send(fd.get(), there.data() + sent, there.size() - sent, MSG_NOSIGNAL));
    }
    ASSERT_LT(sent, there.size()) << "everything fits into buffers: nobody waits";
    const timeval long_enough{20, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &long_enough, sizeof long_enough);
    std::thread rest([&] { send_all(fd.get(), std::string_view(there).substr(sent)); });
    const clock_t before = ::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_LT(::clock() - before, CLOCKS_PER_SEC / 4);
    go = true;
    rest.join();
  }
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, ABackendThatReadsLateGetsAllOfAClientThatHasGone) {
  const std::string there = pattern(200'000, 5);
  std::atomic<bool> go = false, right = false;
  LoopbackServer server([&](int fd) {
    const int small = 4096;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ::shutdown(fd, SHUT_WR);
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    right = receive_all(fd) == there;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    EXPECT_EQ(receive_all(fd.get()), "");
    EXPECT_TRUE(send_all(fd.get(), there));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const clock_t before = ::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(::clock() - before, CLOCKS_PER_SEC / 4);
  go = true;
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, TakesBackendsInTurn) {
  LoopbackServer a(says("a")), b(says("b")), c(says("c"));
  begin({a.address(), b.address(), c.address()});
  std::string seen;
  for (int i = 0; i < 7; ++i) seen += greeting();
  EXPECT_EQ(seen, "abcabca");
}

TEST_F(TcpForwarding, GoesOnToTheNextBackendWhenOneRefuses) {
  LoopbackServer good(says("good"));
  affinity_s_ = 60;
  begin({refusing_address(), good.address()});
  EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
  // Affinity follows the one that answered.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
}

TEST_F(TcpForwarding, GoesOnToTheNextBackendWhenOneDoesNotAnswer) {
  // A full backlog: SYNs go unanswered.
  const net::Fd full = net::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const net::RawAddress any = net::to_raw({Ip::v4(0x7f000001), 0});
  ASSERT_EQ(::bind(full.get(), any.get(), any.size), 0);
  ASSERT_EQ(::listen(full.get(), 0), 0);
  const SocketAddress silent = *net::local_address(full.get());
  const net::Fd filler = dial(silent);
  LoopbackServer good(says("good"));
  limits_.connect_timeout = std::chrono::milliseconds(200);
  begin({silent, good.address()});
  EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
}

TEST_F(TcpForwarding, ResetsTheClientWhenNobodyCanBeReached) {
  limits_.connect_attempts = 2;
  begin({refusing_address(), refusing_address(), refusing_address()});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.connect_failures.value(), 2u);
  EXPECT_EQ(metrics_.refused_backend.value(), 1u);
  publish({});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_policy.value(), 1u);
  table_.store(std::make_shared<const RoutingTable>());
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_policy.value(), 2u);
}

TEST_F(TcpForwarding, PassesAResetOnToTheOtherSide) {
  std::atomic<bool> was_reset = false;
  LoopbackServer server([&](int fd) {
    send_all(fd, "hello");
    char byte;
    was_reset = ::recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    char buffer[8];
    ASSERT_EQ(::recv(fd.get(), buffer, sizeof buffer, 0), 5);
    const linger now{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  EXPECT_TRUE(eventually([&] { return was_reset.load(); }));
  LoopbackServer resetting([](int fd) {
    const linger now{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  });
  publish({resetting.address()});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, WhatABackendSaidBeforeItsResetArrives) {
  LoopbackServer server([](int fd) {
    send_all(fd, "answer");
    const linger now{1, 0};  // like a server that does not read its request
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  });
  begin({server.address()});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(greeting(), "answer");
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, CarriesSoManyConnectionsAndNoMore) {
  LoopbackServer server(says("hello"));
  limits_.max_connections = 3;
  begin({server.address()});
  std::vector<net::Fd> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(dial(address_));
    char buffer[8];
    ASSERT_EQ(::recv(held.back().get(), buffer, sizeof buffer, 0), 5);
  }
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_limit.value(), 1u);
  held.pop_back();
  EXPECT_TRUE(eventually([&] { return metrics_.connections.value() == 2; }));
  EXPECT_EQ(greeting(), "hello");
}

TEST_F(TcpForwarding, TenThousandShortConnectionsLeaveNothingOpen) {
  std::atomic<bool> stop = false;
  // One thread that answers each connection and closes: handlers by thread would be the slow part.
  net::Fd listener = *net::listen_tcp({Ip::v4(0x7f000001), 0});
  std::thread server([&] {
    while (!stop) {
      pollfd ready{listener.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const net::Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fd) ::send(fd.get(), "x", 1, MSG_NOSIGNAL);
    }
  });
  begin({*net::local_address(listener.get())});
  EXPECT_EQ(greeting(), "x");
  EXPECT_TRUE(idle());
  const size_t before = open_files();
  int good = 0;
  for (int i = 0; i < 10'000; ++i) good += greeting() == "x";
  stop = true;
  server.join();
  EXPECT_EQ(good, 10'000);
  EXPECT_TRUE(idle());
  EXPECT_EQ(open_files(), before);
  EXPECT_EQ(metrics_.accepted.value(), 10'001u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
