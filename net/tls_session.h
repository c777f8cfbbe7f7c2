// TLS on one non-blocking socket: the part of net/stream.cc that knows OpenSSL.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"
#include "net/openssl_handles.h"
#include "net/tls.h"

namespace fairlead::net {

// What a read, write or handshake step came to.
struct Io {
  enum class Status { done, want_read, want_write, eof, failed };
  Status status = Status::done;
  size_t bytes = 0;
  std::string error;  // failed
};

// Does not own the descriptor, which must stay open. Never raises SIGPIPE.
class TlsSession {
 public:
  TlsSession(std::shared_ptr<const TlsContext> context, int fd, bool is_server,
             const std::string& server_name);

  Io handshake();
  Io read(char* buffer, size_t size);
  Io write(std::string_view bytes);
  void send_close_notify();
  bool has_pending() const;  // bytes that were taken from the socket and not yet read
  void describe(Peer& peer) const;

 private:
  Io outcome(int result);
  std::string failure() const;

  std::shared_ptr<const TlsContext> context_;
  SslPtr ssl_;
  std::string setup_error_;
};

}  // namespace fairlead::net
