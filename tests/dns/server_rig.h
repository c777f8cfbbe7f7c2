// A whole server on loopback for the tests of server.h: how to start it and how to ask it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "base/text.h"
#include "dns/server.h"
#include "harness.h"
#include "net/fd.h"
#include "net/socket.h"

namespace fairlead::dns::testing {
inline constexpr std::string_view one_service = R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
)";

inline const SocketAddress loopback{*Ip::parse("127.0.0.1"), 0};

// A port that is free for UDP and TCP right now.
inline uint16_t free_port() {
  for (int i = 0; i < 50; ++i) {
    auto tcp = net::listen_tcp(loopback);
    const uint16_t port = net::local_address(tcp->get())->port;
    if (net::bind_udp({loopback.ip, port})) return port;
  }
  ADD_FAILURE() << "no free port";
  return 0;
}

inline void set_timeout(int fd, int ms) {
  const timeval wait{.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}
class ServerTest : public ::testing::Test {
 protected:
  void start(const std::string& corefile, unsigned workers = 2, bool publish = true) {
    auto parsed = parse_corefile(corefile, "Corefile");
    ASSERT_TRUE(parsed) << parsed.error().message;
    auto server =
        Server::create(*parsed, {.workers = workers, .bind = {loopback.ip}}, log_, registry_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
    if (publish) publish_cluster();
  }
  void publish_cluster(std::string_view yaml = one_service) {
    put_yaml(builder_, yaml, "cluster.yaml");
    const auto tick = builder_.take();
    server_->publish(tick.snapshot, tick.changes);
  }
  net::Fd connect(int type) const {
    net::Fd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    const auto raw = net::to_raw({loopback.ip, port_});
    EXPECT_EQ(::connect(fd.get(), raw.get(), raw.size), 0);
    set_timeout(fd.get(), 8000);
    return fd;
  }
  std::string udp(const std::string& query) const {
    const net::Fd fd = connect(SOCK_DGRAM);
    EXPECT_EQ(::send(fd.get(), query.data(), query.size(), 0), static_cast<ssize_t>(query.size()));
    char buffer[65536];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    return got < 0 ? "" : std::string(buffer, static_cast<size_t>(got));
  }
  static std::string framed(const std::string& query) {
    return cat(static_cast<char>(query.size() >> 8), static_cast<char>(query.size() & 255), query);
  }
  static std::string read_framed(int fd) {
    const auto read_all = [fd](size_t size) {
      std::string out;
      while (out.size() < size) {
        char buffer[4096];
        const ssize_t got = ::recv(fd, buffer, std::min(sizeof buffer, size - out.size()), 0);
        if (got <= 0) return std::string();
        out.append(buffer, static_cast<size_t>(got));
      }
      return out;
    };
    const std::string length = read_all(2);
    if (length.empty()) return {};
    return read_all(read16(reinterpret_cast<const uint8_t*>(length.data())));
  }

  uint16_t port_ = free_port();
  MemoryLogSink sink_;
  Log log_{sink_};
  Registry registry_;
  api::SnapshotBuilder builder_;
  std::unique_ptr<Server> server_;
};
inline const std::string web_name = "web.default.svc.cluster.local.";

}  // namespace fairlead::dns::testing
