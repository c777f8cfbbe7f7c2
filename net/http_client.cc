#include "net/http_client.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/text.h"
#include "net/http_client_connection.h"
#include "net/http_writer.h"
#include "net/resolver.h"
#include "net/socket.h"

namespace fairlead::net {
namespace {

std::string host_field(const HttpTarget& target) {
  if (!target.unix_path.empty()) return "localhost";
  const bool ip6 = target.host.find(':') != std::string::npos;
  const std::string host = ip6 ? cat("[", target.host, "]") : target.host;
  const uint16_t usual = target.tls ? 443 : 80;
  return target.port == usual ? host : cat(host, ":", target.port);
}

std::string describe(const HttpTarget& target) {
  if (!target.unix_path.empty()) return target.unix_path;
  return host_field(target);
}

}  // namespace

// Owns the connections and moves them between three places: active (with a call), idle (reusable),
// and dead (closed inside one of their own callbacks, freed by the reaper). Calls are known to it
// only while they are in flight.
struct HttpClient::Impl final : ClientOwner, std::enable_shared_from_this<Impl> {
  Impl(EventLoop& event_loop, HttpTarget the_target, Options the_options)
      : loop_(event_loop), target_(std::move(the_target)), options_(the_options) {}

  EventLoop& loop() override { return loop_; }
  size_t max_head_bytes() const override { return options_.max_head_bytes; }
  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }

  // Takes an idle connection or starts towards a new one. Never calls back at once.
  void begin(const std::shared_ptr<CallState>& call) {
    if (!idle_.empty() && !call->retried) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      attach(call, std::move(connection));
      call->reused = true;
      call->connection->send();
      return;
    }
    call->reused = false;
    call->timer = loop_.after(options_.connect_timeout, [this, call_ptr = std::weak_ptr(call)] {
      if (const auto live = call_ptr.lock()) {
        fail_call(
            live,
            cat("no connection within ",
                std::chrono::duration_cast<std::chrono::milliseconds>(options_.connect_timeout)
                    .count(),
                " ms"));
      }
    });
    if (!target_.unix_path.empty()) {
      connect(call, start_connect_unix(target_.unix_path));
    } else if (const auto ip = Ip::parse(target_.host)) {
      call->candidates = {*ip};
      connect_next(call, "no address");
    } else {
      resolve(call);
    }
  }

  void resolve(const std::shared_ptr<CallState>& call) {
    if (!resolver_) resolver_ = std::make_unique<Resolver>(loop_);
    resolver_->resolve(target_.host,
                       [this, call_ptr = std::weak_ptr(call)](Result<std::vector<Ip>> addresses) {
                         const auto live = call_ptr.lock();
                         if (!live || live->finished) return;
                         const auto keep = shared_from_this();
                         if (!addresses) return fail_call(live, addresses.error().message);
                         live->candidates.assign(addresses->begin(), addresses->end());
                         connect_next(live, "no address");
                       });
  }

  // Addresses are tried one after the other; the connect time-out is for all of them together.
  void connect_next(const std::shared_ptr<CallState>& call, const std::string& last_error) {
    if (call->candidates.empty()) return fail_soon(call, last_error);
    const Ip ip = call->candidates.front();
    call->candidates.pop_front();
    connect(call, start_connect({ip, target_.port}));
  }

  void connect(const std::shared_ptr<CallState>& call, Result<Fd> fd) {
    if (!fd) {
      if (!call->candidates.empty()) return connect_next(call, fd.error().message);
      return fail_soon(call, fd.error().message);
    }
    attach(call,
           std::make_unique<ClientConnection>(*this, *std::move(fd), target_.tls, target_.host));
  }

  void attach(const std::shared_ptr<CallState>& call,
              std::unique_ptr<ClientConnection> connection) {
    call->connection = connection.get();
    connection->assign(call);
    active_.emplace(connection.get(), std::move(connection));
  }

  void discard(ClientConnection& connection) override {
    connection.close();
    const auto found = active_.find(&connection);
    if (found != active_.end()) {
      dead_.push_back(std::move(found->second));
      active_.erase(found);
    } else {
      const auto idle =
          std::ranges::find_if(idle_, [&](const auto& held) { return held.get() == &connection; });
      if (idle == idle_.end()) return;
      dead_.push_back(std::move(*idle));
      idle_.erase(idle);
    }
    if (!reaper_) reaper_ = loop_.after(Duration::zero(), [this] { dead_.clear(); });
  }

  void on_connected(const std::shared_ptr<CallState>& call) override {
    arm_idle(call, call->idle_timeout);
    call->connection->send();
  }

  // A connection failed, or ended where an answer was expected.
  void on_broken(const std::shared_ptr<CallState>& call, std::string message,
                 bool was_open) override {
    discard(*std::exchange(call->connection, nullptr));
    if (!was_open && !call->candidates.empty()) return connect_next(call, message);
    if (call->reused && !call->answered && !call->retried) {
      call->retried = true;
      return begin(call);
    }
    fail_call(call, std::move(message));
  }

  void on_answered(const std::shared_ptr<CallState>& call, bool reusable) override {
    ClientConnection& connection = *std::exchange(call->connection, nullptr);
    if (reusable && idle_.size() < options_.max_idle_connections) {
      const auto found = active_.find(&connection);
      idle_.push_back(std::move(found->second));
      active_.erase(found);
    } else {
      discard(connection);
    }
    finish(call, {});
  }

  // For errors that are known inside call(): callbacks come from the loop only.
  void fail_soon(const std::shared_ptr<CallState>& call, std::string message) {
    call->timer = loop_.after(Duration::zero(), [this, message, call_ptr = std::weak_ptr(call)] {
      if (const auto live = call_ptr.lock()) fail_call(live, message);
    });
  }

  void fail_call(const std::shared_ptr<CallState>& call, std::string message) override {
    const auto keep = shared_from_this();
    if (call->connection != nullptr) discard(*std::exchange(call->connection, nullptr));
    finish(call, fail(cat(call->request.method, " ", describe(target_), call->request.target, ": ",
                          message)));
  }

  void finish(const std::shared_ptr<CallState>& call, Result<void> outcome) {
    if (call->finished) return;
    call->finished = true;
    call->timer.reset();
    if (call->callbacks.on_done) call->callbacks.on_done(std::move(outcome));
  }

  // Progress is only looked at when the timer fires, so that bytes cost no timer operations.
  void arm_idle(const std::shared_ptr<CallState>& call, Duration wait) {
    call->timer = loop_.after(wait, [this, call_ptr = std::weak_ptr(call)] {
      if (const auto live = call_ptr.lock()) on_idle_timer(live);
    });
  }

  void on_idle_timer(const std::shared_ptr<CallState>& call) {
    if (call->connection == nullptr) return;
    call->connection->note_progress();
    const Duration quiet = loop_.now() - call->last_progress;
    if (quiet < call->idle_timeout) return arm_idle(call, call->idle_timeout - quiet);
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(call->idle_timeout);
    fail_call(call, cat("no byte came for ", ms.count(), " ms"));
  }

  void cancel(const std::shared_ptr<CallState>& call) {
    call->finished = true;
    call->timer.reset();
    if (call->connection != nullptr) discard(*std::exchange(call->connection, nullptr));
  }

  EventLoop& loop_;
  HttpTarget target_;
  Options options_;
  std::unique_ptr<Resolver> resolver_;
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> active_;
  std::vector<std::unique_ptr<ClientConnection>> idle_;  // the last one used is at the end
  std::vector<std::unique_ptr<ClientConnection>> dead_;  // closed; freed outside their callbacks
  Timer reaper_;
};

namespace {

// The caller's handle. A template because the client's Impl is private to it.
template <class Impl>
class Call final : public HttpCall {
 public:
  Call(const std::shared_ptr<Impl>& client, std::shared_ptr<CallState> state)
      : client_(client), state_(std::move(state)) {}
  ~Call() override {
    if (const auto client = client_.lock()) client->cancel(state_);
  }

 private:
  std::weak_ptr<Impl> client_;
  std::shared_ptr<CallState> state_;
};

}  // namespace

HttpClient::HttpClient(EventLoop& loop, HttpTarget target)
    : HttpClient(loop, std::move(target), Options{}) {}

HttpClient::HttpClient(EventLoop& loop, HttpTarget target, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(target), options)) {}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpCall> HttpClient::call(HttpRequest request, HttpCallbacks callbacks) {
  return call(std::move(request), std::move(callbacks), impl_->options_.idle_timeout);
}

std::unique_ptr<HttpCall> HttpClient::call(HttpRequest request, HttpCallbacks callbacks,
                                           Duration idle_timeout) {
  auto state = std::make_shared<CallState>();
  state->callbacks = std::move(callbacks);
  state->idle_timeout = idle_timeout;
  state->last_progress = impl_->loop_.now();
  auto bytes = request_bytes(request, host_field(impl_->target_));
  state->request = std::move(request);
  state->request.body = {};
  if (bytes) {
    state->bytes = *std::move(bytes);
    impl_->begin(state);
    if (state->reused) impl_->arm_idle(state, idle_timeout);
  } else {
    impl_->fail_soon(state, bytes.error().message);
  }
  return std::make_unique<Call<Impl>>(impl_, std::move(state));
}

Result<HttpTarget> HttpTarget::parse(std::string_view url, std::shared_ptr<const TlsContext> tls) {
  HttpTarget target;
  const auto bad = [&](std::string_view why) { return fail(cat("URL \"", url, "\": ", why)); };
  std::string_view rest = url;
  if (rest.starts_with("unix:")) {
    rest.remove_prefix(5);
    if (rest.starts_with("//")) rest.remove_prefix(2);
    if (!rest.starts_with('/')) return bad("expected unix:///absolute/path");
    target.unix_path = std::string(rest);
    return target;
  }
  const size_t scheme_end = rest.find("://");
  const std::string scheme =
      scheme_end == std::string_view::npos ? "" : to_lower(rest.substr(0, scheme_end));
  if (scheme != "http" && scheme != "https") {
    return bad("expected http://host[:port], https://host[:port] or unix:///path");
  }
  if (scheme == "https") {
    if (!tls) return bad("https needs TLS settings");
    target.tls = std::move(tls);
  }
  target.port = scheme == "https" ? 443 : 80;
  rest.remove_prefix(scheme_end + 3);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@") != std::string_view::npos) {
    return bad("expected host and port only");
  }
  size_t colon = rest.rfind(':');
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos || !Ip::parse(rest.substr(1, close - 1))) {
      return bad("the address in brackets is no IPv6 address");
    }
    target.host = std::string(rest.substr(1, close - 1));
    colon = close + 1 < rest.size() ? close + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && rest[colon] != ':')
      return bad("expected [address]:port");
  } else {
    target.host = std::string(rest.substr(0, colon));
  }
  if (target.host.empty() ||
      (target.host.find(':') != std::string::npos && !rest.starts_with('['))) {
    return bad("the host is missing, or an IPv6 address without brackets");
  }
  if (colon != std::string_view::npos) {
    const auto port = parse_int(rest.substr(colon + 1), 1, 65535);
    if (!port) return bad("the port is no number from 1 to 65535");
    target.port = static_cast<uint16_t>(*port);
  }
  return target;
}

Result<HttpResponse> fetch(const HttpTarget& target, HttpRequest request, Duration timeout,
                           size_t max_body_bytes) {
  EventLoop loop;
  HttpClient::Options options;
  options.connect_timeout = std::min(options.connect_timeout, timeout);
  options.idle_timeout = timeout;
  HttpClient client(loop, target, options);
  HttpResponse response;
  std::optional<Result<void>> outcome;
  std::string what = cat(request.method, " ", describe(target), request.target, ": ");
  HttpCallbacks callbacks;
  callbacks.on_head = [&](const HttpHead& head) {
    response.status = head.status;
    response.headers = head.headers;
  };
  callbacks.on_data = [&](std::string_view bytes) {
    if (outcome) return;
    if (response.body.size() + bytes.size() > max_body_bytes) {
      outcome = fail(cat(what, "the answer has more than ", max_body_bytes, " bytes"));
    } else {
      response.body += bytes;
    }
  };
  callbacks.on_done = [&](Result<void> done) {
    if (!outcome) outcome = std::move(done);
  };
  const auto call = client.call(std::move(request), std::move(callbacks));
  const MonoTime give_up = std::chrono::steady_clock::now() + timeout;
  while (!outcome) {
    const Duration left = give_up - std::chrono::steady_clock::now();
    if (left <= Duration::zero()) return fail(what + "no whole answer in time");
    loop.run_once(left);
  }
  if (!*outcome) return std::unexpected(outcome->error());
  return response;
}

}  // namespace fairlead::net
