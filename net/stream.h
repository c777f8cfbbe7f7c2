// One byte stream, TCP or unix, plain or TLS, with a read buffer and a write queue on a loop.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "net/fd.h"
#include "net/http.h"
#include "net/tls.h"

namespace fairlead::net {

// Belongs to one loop. May be destroyed inside any callback of its handler. Callbacks come from the
// loop only, never from inside a call to the stream.
class Stream {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_open() = 0;   // connected, TLS handshake done
    virtual void on_input() = 0;  // there is more in input()
    virtual void on_sent() = 0;   // the kernel has taken everything that was written
    virtual void on_eof() = 0;    // the peer sends no more; writing may still work
    virtual void on_failed(const Error& error) = 0;  // nothing works any more; the last callback
  };
  enum class Role { client, server };
  static constexpr size_t max_input_bytes = 256 * 1024;  // reading pauses above

  // `fd` is non-blocking: accepted (server), or connecting (client). A null `tls` is plain. A TLS
  // client sends and verifies `server_name`, unless its context names another.
  Stream(EventLoop& loop, Fd fd, Role role, std::shared_ptr<const TlsContext> tls, Handler& handler,
         const std::string& server_name = {});
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  std::string_view input() const;  // valid until consume() or the next callback
  void consume(size_t bytes);

  void write(std::string_view bytes);  // queued; sent as far as possible at once
  size_t unsent_bytes() const;
  void shutdown_write();  // after all that is queued: close_notify, FIN
  void abort_on_close();  // destruction sends RST: the peer must not see a clean end

  // Total bytes that came from or went to the kernel: progress, for idle time-outs.
  uint64_t moved_bytes() const;
  // Who is there. Certificate fields are filled once on_open() has come.
  Peer peer() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::net
