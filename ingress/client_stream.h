// The client's side of a connection: a non-blocking socket, plain or with TLS on top.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <string_view>

#include "net/fd.h"

struct ssl_st;

namespace fairlead::ingress {

struct Io {
  enum class State { ok, again, end, error };
  State state = State::again;
  size_t bytes = 0;  // ok: at least one
};

// Two pieces that go out in one write; empty ones are left out.
class Gather {
 public:
  Gather(std::string_view first, std::string_view second);
  bool empty() const { return count_ == 0; }
  const iovec* parts() const { return parts_; }
  int count() const { return count_; }

 private:
  iovec parts_[2];
  int count_ = 0;
};

// recv and sendmsg with the errno that matter told apart; used for both sides.
Io read_socket(int fd, std::span<char> into);
Io write_socket(int fd, const iovec* parts, int count);

struct SslFree {
  void operator()(ssl_st* session) const;
};
using SslPtr = std::unique_ptr<ssl_st, SslFree>;

// The handshake happens inside the first reads. No SIGPIPE: the worker's thread blocks it.
class ClientStream {
 public:
  ClientStream(net::Fd fd, SslPtr session) : fd_(std::move(fd)), session_(std::move(session)) {}

  int fd() const { return fd_.get(); }
  bool tls() const { return session_ != nullptr; }

  // TLS: call again until it says `again`; bytes may wait here that epoll does not know of.
  Io read(std::span<char> into);
  // After `again`, the same bytes must come again, with more behind them if there are.
  Io write(const iovec* parts, int count);
  // TLS: reading waits for the socket to become writable.
  bool read_wants_write() const { return read_wants_write_; }

  void shutdown_write();  // close_notify, as far as it goes, and FIN
  void reset_on_close();  // the peer must not take what it has for the whole
  void close();
  explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  Io tls_result(int result);

  net::Fd fd_;
  SslPtr session_;
  bool read_wants_write_ = false;
};

}  // namespace fairlead::ingress
