// An HTTP/1.1 server for APIs: whole requests in, whole or streamed responses out. (The ingress
// has an engine of its own, which streams both ways.)
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/log.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/tls.h"

namespace fairlead::net {

// The answer to one request. Belongs to the server's loop. Destroying it unanswered sends 500;
// destroying it in the middle of a stream closes the connection without a final chunk.
class Responder {
 public:
  virtual ~Responder() = default;

  // The whole answer. At most one of send() and start() may be called, once.
  virtual void send(HttpResponse response) = 0;

  // A streamed answer (chunked): start(), write() any number of times, finish().
  // head.body is ignored.
  virtual void start(HttpResponse head) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void finish() = 0;
  virtual size_t unsent_bytes() const = 0;  // queued here, not yet taken by the kernel

  // `gone` runs once if the peer goes away before the answer is complete; afterwards every call
  // above does nothing. It may destroy this Responder.
  virtual void on_gone(std::move_only_function<void()> gone) = 0;
};

class HttpServer {
 public:
  struct Options {
    size_t max_head_bytes = 64 * 1024;
    size_t max_body_bytes = 3 * 1024 * 1024;  // 413 above
    Duration head_timeout = std::chrono::seconds(10);
    Duration idle_timeout = std::chrono::seconds(120);
    size_t max_connections = 10'000;
  };
  using Handler = std::function<void(HttpRequest request, std::unique_ptr<Responder> responder)>;

  // Handler runs on the loop. A server's destruction closes all its connections and silences their
  // Responders (no on_gone). It must not happen inside the handler or an on_gone.
  HttpServer(EventLoop& loop, Log log, Handler handler);
  HttpServer(EventLoop& loop, Log log, Handler handler, Options options);
  ~HttpServer();

  // Any number of listeners. Port 0 picks a free one; the bound address comes back.
  Result<SocketAddress> listen(const SocketAddress& address,
                               std::shared_ptr<const TlsContext> tls = nullptr);
  // Replaces a stale socket file. `mode` as chmod.
  Result<void> listen_unix(const std::string& path, int mode = 0600);

  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::net
