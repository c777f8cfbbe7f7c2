// A UDP client with one source port for all that it asks of a Responder.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <string>

#include "base/ip.h"
#include "net/socket.h"

namespace fairlead::dataplane {

class UdpTalk {
 public:
  explicit UdpTalk(const SocketAddress& to) : fd_(*net::bind_udp({any(to.ip), 0})) {
    const net::RawAddress raw = net::to_raw(to);
    connected_ = ::connect(fd_.get(), raw.get(), raw.size) == 0;
  }

  // Who answered one datagram: "local"; else "refused", "timeout".
  std::string ask(int timeout_ms = 300) {
    if (!connected_) return "not connected";
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    if (::send(fd_.get(), "?", 1, 0) < 0 && errno == ECONNREFUSED) return "refused";
    while (std::chrono::steady_clock::now() < end) {
      pollfd ready{fd_.get(), POLLIN, 0};
      ::poll(&ready, 1, 10);
      char buffer[256];
      const ssize_t size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (size < 0 && errno == ECONNREFUSED) return "refused";
      if (size < 0) continue;
      const std::string answer(buffer, static_cast<size_t>(size));
      return answer.substr(0, answer.find(' '));
    }
    return "timeout";
  }

 private:
  static Ip any(const Ip& like) { return like.is_v4() ? Ip::v4(0) : Ip{}; }

  net::Fd fd_;
  bool connected_ = false;
};

}  // namespace fairlead::dataplane
