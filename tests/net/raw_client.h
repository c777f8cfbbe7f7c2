// A client that sends bytes instead of requests, for what no well-behaved client would send.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/text.h"
#include "net/socket.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
// Bytes in, bytes out, on the rig's loop.
class RawClient {
 public:
  explicit RawClient(HttpRig& rig) : rig_(rig) {
    auto fd = rig.target.unix_path.empty() ? start_connect(rig.address)
                                           : start_connect_unix(rig.target.unix_path);
    EXPECT_TRUE(fd.has_value());
    fd_ = std::move(*fd);
  }
  void send(std::string_view bytes) {
    size_t sent = 0;
    EXPECT_TRUE(rig_.run_until([&] {
      const ssize_t n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += static_cast<size_t>(n);
      return sent == bytes.size() || (n < 0 && errno != EAGAIN);
    }));
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }

  void read_some() {
    char buffer[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n > 0) {
        got.append(buffer, static_cast<size_t>(n));
        continue;
      }
      closed = n == 0 || errno != EAGAIN;
      reset = n < 0 && errno == ECONNRESET;
      return;
    }
  }
  bool wait_for(std::string_view part) {
    return rig_.run_until(
               [&] {
                 read_some();
                 return got.find(part) != std::string::npos || closed;
               },
               std::chrono::seconds(5)) &&
           got.find(part) != std::string::npos;
  }
  bool wait_closed() {
    return rig_.run_until([&] { return read_some(), closed; }, std::chrono::seconds(5));
  }

  std::string got;
  bool closed = false;
  bool reset = false;

 private:
  HttpRig& rig_;
  Fd fd_;
};
// "<METHOD TARGET BODY>" of every request.
inline void echo(HttpRequest request, std::unique_ptr<Responder> responder) {
  responder->send(HttpResponse::text(
      200, cat("<", request.method, " ", request.target, " ", request.body, ">")));
}
inline const std::string get_close = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

}  // namespace fairlead::net
