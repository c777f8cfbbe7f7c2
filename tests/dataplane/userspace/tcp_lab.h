// A TcpForwarder on a thread of its own, on loopback and without capture: what is dialled is the
// listener itself.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <csignal>

#include "dataplane/userspace/tcp_forwarder.h"
#include "net/socket.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane::userspace {

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

// Closing it sends RST.
inline void reset_at_close(int fd) {
  const linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

inline LoopbackServer::Handler says(const std::string& text) {
  return [text](int fd) {
    send_all(fd, text);
    receive_all(fd);
  };
}

}  // namespace fairlead::dataplane::userspace
