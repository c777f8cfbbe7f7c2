// An HTTP/1.1 client for one server, over TCP, TLS or a unix socket, with streamed answers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/tls.h"

namespace fairlead::net {

struct HttpTarget {
  std::string unix_path;  // set: a unix socket; else host and port
  std::string host;       // name or IP; also the Host header
  uint16_t port = 0;
  std::shared_ptr<const TlsContext> tls;  // null: plain

  // "https://host:port", "http://...", "unix:///run/x.sock". `tls` is used for https.
  static Result<HttpTarget> parse(std::string_view url, std::shared_ptr<const TlsContext> tls);
};

struct HttpHead {
  int status = 0;
  Headers headers;
};

// All run on the client's loop; on_done exactly once, last, unless the request is destroyed first.
struct HttpCallbacks {
  std::function<void(const HttpHead& head)> on_head;
  std::function<void(std::string_view bytes)> on_data;  // the body as it arrives, de-chunked
  std::function<void(Result<void> outcome)> on_done;    // error: connect, TLS, framing, time-out
};

// Owns one request in flight; destruction cancels it, also from inside a callback.
class HttpCall {
 public:
  virtual ~HttpCall() = default;
};

class HttpClient {
 public:
  struct Options {
    Duration connect_timeout = std::chrono::seconds(5);
    Duration idle_timeout = std::chrono::seconds(30);  // no byte for that long: error
    size_t max_idle_connections = 8;
    size_t max_head_bytes = 64 * 1024;
  };

  // `loop` must outlive the client, the client its calls. Idle connections are reused; a request
  // whose reused connection was closed before any answer byte is sent again once on a new one.
  HttpClient(EventLoop& loop, HttpTarget target);
  HttpClient(EventLoop& loop, HttpTarget target, Options options);
  ~HttpClient();

  [[nodiscard]] std::unique_ptr<HttpCall> call(HttpRequest request, HttpCallbacks callbacks);
  // idle_timeout for this one call, for long watches.
  [[nodiscard]] std::unique_ptr<HttpCall> call(HttpRequest request, HttpCallbacks callbacks,
                                               Duration idle_timeout);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// One request from start to end on a loop of its own, for command-line tools and tests.
// The body is limited to max_body_bytes.
Result<HttpResponse> fetch(const HttpTarget& target, HttpRequest request,
                           Duration timeout = std::chrono::seconds(30),
                           size_t max_body_bytes = 64 * 1024 * 1024);

}  // namespace fairlead::net
