// A DNS server of a few fixed behaviours, and a resolver that asks it, for the tests of this room.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>

#include "base/text.h"
#include "net/resolver.h"
#include "net/socket.h"

namespace fairlead::net {

inline std::string u16(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}
inline size_t u16_at(std::string_view text, size_t at) {
  return static_cast<size_t>(static_cast<unsigned char>(text[at])) * 256 +
         static_cast<unsigned char>(text[at + 1]);
}

inline std::string wire_name(std::string_view name) {
  std::string out;
  for (const std::string_view label : split(name, '.')) {
    out += static_cast<char>(label.size());
    out += label;
  }
  return out + '\0';
}

// A query for (name, type) with the given id and RD.
inline std::string query(size_t id, std::string_view name, size_t type) {
  return u16(id) + std::string("\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10) + wire_name(name) +
         u16(type) + u16(1);
}

// A DNS server of a few fixed behaviours, by the first label of the name; UDP and TCP on one port.
class FakeDns {
 public:
  explicit FakeDns(EventLoop& loop, std::string_view host = "127.0.0.1") : loop_(loop) {
    for (int i = 0; i < 20 && !tcp_; ++i) {
      udp_ = bind_udp({*Ip::parse(host), 0}).value();
      address = local_address(udp_.get()).value();
      if (auto fd = listen_tcp(address)) tcp_ = std::move(*fd);
    }
    udp_watch_ = loop.watch(udp_.get(), EPOLLIN, [this](uint32_t) { on_udp(); });
    tcp_watch_ = loop.watch(tcp_.get(), EPOLLIN, [this](uint32_t) { on_accept(); });
  }

  SocketAddress address;
  bool closes_after_answer = false;  // of TCP
  int udp_queries = 0;
  int tcp_queries = 0;
  std::set<size_t> ids;

 private:
  struct Connection {
    Fd fd;
    Watch watch;
    std::string input;
  };

  // The answer, or "" for silence.
  std::string answer(const std::string& message, bool tcp) {
    ids.insert(u16_at(message, 0));
    const size_t label_size = static_cast<unsigned char>(message[12]);
    const std::string label = message.substr(13, label_size);
    size_t end = 12;
    while (message[end] != 0) end += 1 + static_cast<unsigned char>(message[end]);
    const size_t type = u16_at(message, end + 1);
    const std::string question = message.substr(12, end + 5 - 12);
    const auto reply = [&](char flags2, char rcode, size_t count, const std::string& records) {
      return message.substr(0, 2) +
             std::string{static_cast<char>(0x80 | flags2), static_cast<char>(0x80 | rcode)} +
             u16(1) + u16(count) + u16(0) + u16(0) + question + records;
    };
    const std::string a_record =
        std::string("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04", 12);
    const std::string aaaa_record =
        std::string("\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10", 12);
    if (label == "silent") return "";
    if (label == "missing") return reply(1, 3, 0, "");
    if (label == "broken") return reply(1, 2, 0, "");
    if (label == "refused") return reply(1, 5, 0, "");
    if (label == "garbage") return message.substr(0, 2) + "zz";
    if (label == "otherid") return "\x01\x02" + reply(1, 0, 0, "").substr(2);
    if (label == "cut" && !tcp) return reply(1 | 2, 0, 0, "");
    if (label == "large" || label == "cut") {
      std::string records;
      const size_t count = label == "cut" ? 3000 : 60;
      for (size_t i = 0; i < count; ++i) {
        records += a_record + std::string{10, 0, static_cast<char>(i >> 8), static_cast<char>(i)};
      }
      return reply(1, 0, count, records);
    }
    if (type == 28) {
      if (label != "both") return reply(1, 0, 0, "");
      return reply(1, 0, 1, aaaa_record + std::string(15, '\0') + '\x09');
    }
    return reply(1, 0, 2,
                 a_record + std::string("\x0a\x00\x00\x07", 4) + a_record +
                     std::string("\x0a\x00\x00\x08", 4));
  }

  void on_udp() {
    char buffer[65536];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t n =
        ::recvfrom(udp_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 17) return;
    ++udp_queries;
    const std::string reply = answer(std::string(buffer, static_cast<size_t>(n)), false);
    if (reply.empty()) return;
    ::sendto(udp_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  void on_accept() {
    Fd fd(::accept4(tcp_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    connections_.push_back(std::make_unique<Connection>());
    Connection* connection = connections_.back().get();
    connection->fd = std::move(fd);
    connection->watch = loop_.watch(connection->fd.get(), EPOLLIN, [this, connection](uint32_t) {
      char buffer[65536];
      const ssize_t n = ::recv(connection->fd.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return connection->watch.reset();
      std::string& input = connection->input;
      input.append(buffer, static_cast<size_t>(n));
      while (input.size() >= 2 && input.size() >= 2 + u16_at(input, 0)) {
        ++tcp_queries;
        const std::string reply = answer(input.substr(2, u16_at(input, 0)), true);
        input.erase(0, 2 + u16_at(input, 0));
        if (reply.empty()) continue;
        const std::string framed = u16(reply.size()) + reply;
        ::send(connection->fd.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
        if (!closes_after_answer) continue;
        connection->watch.reset();
        connection->fd.reset();
        return;
      }
    });
  }

  EventLoop& loop_;
  Fd udp_, tcp_;
  Watch udp_watch_, tcp_watch_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// Long time-outs where an answer comes, so that a busy machine changes nothing; short ones where
// silence is what is tested.
inline Resolver::Options patience_for(std::string_view name) {
  for (const std::string_view silent : {"silent", "garbage", "otherid"}) {
    if (name.starts_with(silent)) return {.timeout = std::chrono::milliseconds(30), .tries = 2};
  }
  return {.timeout = std::chrono::seconds(3)};
}

struct ResolverRig {
  explicit ResolverRig(Resolver::Options options = {}, std::string_view host = "127.0.0.1")
      : dns(loop, host) {
    options.servers = {dns.address};
    resolver = std::make_unique<Resolver>(loop, options);
  }
  bool run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 1'000 && !done(); ++i) loop.run_once(std::chrono::milliseconds(5));
    return done();
  }
  // "10.0.0.7 10.0.0.8", or the error
  std::string resolve(std::string_view host) {
    std::string text;
    int calls = 0;
    resolver->resolve(host, [&](Result<std::vector<Ip>> addresses) {
      ++calls;
      if (!addresses) {
        text = addresses.error().message;
        return;
      }
      std::vector<std::string> parts;
      for (const Ip& ip : *addresses) parts.push_back(ip.to_string());
      std::ranges::sort(parts);
      text = join(parts, " ");
    });
    EXPECT_EQ(calls, 0) << "never inside resolve()";
    EXPECT_TRUE(run_until([&] { return calls > 0; }));
    EXPECT_EQ(calls, 1);
    return text;
  }
  Result<std::string> ask(std::string_view wire) {
    Result<std::string> got;
    int calls = 0;
    resolver->query_raw(wire, [&](Result<std::string> answer) {
      ++calls;
      got = std::move(answer);
    });
    EXPECT_EQ(calls, 0) << "never inside query_raw()";
    EXPECT_TRUE(run_until([&] { return calls > 0; }));
    EXPECT_EQ(calls, 1);
    return got;
  }

  EventLoop loop;
  FakeDns dns;
  std::unique_ptr<Resolver> resolver;
};

}  // namespace fairlead::net
