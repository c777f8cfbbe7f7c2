// The way of a request, top to bottom: head, guard, route, endpoint, request out, response back,
// the one place that decides on a retry, log and metrics, and the next request or the end.
#include <sys/socket.h>

#include <algorithm>

#include "base/text.h"
#include "ingress/connection.h"

namespace fairlead::ingress {
namespace {

constexpr unsigned max_interim_responses = 8;
constexpr size_t max_interim_bytes = 4 * 1024;

}  // namespace

// 1. A complete head. False: there is none yet.
bool Connection::take_head() {
  const std::string_view raw = in_.raw();
  if (raw.empty()) return false;
  if (!head_begun_) {
    head_begun_ = true;
    set_deadline(core_.limits.header_timeout);
  }
  const auto found = scanner_.scan(raw, core_.limits);
  if (found == HeadScanner::Result::more) return false;
  core_.requests.fetch_add(1, std::memory_order_relaxed);
  x_.started = core_.loop.now();
  phase_ = Phase::exchange;
  if (found == HeadScanner::Result::refused) {
    refuse(scanner_.refusal());
    return true;
  }
  x_.bytes_received = scanner_.head_bytes();
  in_.pin(scanner_.head_bytes());
  if (admit(raw.substr(0, scanner_.head_bytes()))) find_route();
  return true;
}

// 2. What it says, and whether it may pass.
bool Connection::admit(std::string_view bytes) {
  RequestHead& head = core_.request_head;
  Refusal refusal = parse_request_head(bytes, head);
  if (!refusal) {
    x_.method = head.method;
    x_.target = head.target;
    x_.version = head.version;
    refusal = check_request(head, x_.facts);
  }
  if (refusal) {
    refuse(refusal);
    return false;
  }
  x_.host = x_.facts.authority;
  x_.keep_alive = x_.facts.keep_alive && !core_.draining;
  x_.request_body = BodyFramer(x_.facts.body);
  for (const Field& field : head.fields) {
    if (field.id == FieldId::user_agent) x_.user_agent = field.value;
    if (field.id == FieldId::referer) x_.referer = field.value;
  }
  x_.real_client = peer_text_;
  x_.https = arrival_.tls;
  if (trusted_peer_) {
    const std::string_view real = real_client(head.fields, core_.config.trusted_proxies);
    if (!real.empty()) x_.real_client = real;
    for (const Field& field : head.fields) {
      x_.https |= field.id == FieldId::x_forwarded_proto && field.value == "https";
    }
  }
  x_.request_id = given_request_id(head.fields);
  if (x_.request_id.empty()) {
    core_.make_request_id(x_.generated_id);
    x_.request_id = {x_.generated_id.data(), x_.generated_id.size()};
  }
  return true;
}

// 3. Which backend.
void Connection::find_route() {
  x_.table = core_.table;
  char buffer[256];
  const std::string_view host = route_host(x_.facts.authority, buffer);
  const std::string_view path = route_path(x_.facts.target);
  x_.route = x_.table->match(host, path);
  if (x_.route == nullptr) {
    x_.note = "no route";
    answer({404, "no route for this host and path", {}}, false);
    return;
  }
  if (x_.route->redirect_to_https && !x_.https && !host.empty() &&
      !path.starts_with("/.well-known/acme-challenge/")) {
    std::string location = cat("Location: https://", host);
    if (core_.https_port != 443) location += cat(':', core_.https_port);
    location += x_.facts.target == "*" ? "/" : x_.facts.target;
    answer({308, "use https", location}, false);
    return;
  }
  x_.backend = &x_.table->backend(*x_.route);
  if (x_.backend->endpoints.empty()) {
    x_.note = x_.backend->problem;
    answer({503, "no endpoint can answer", {}}, false);
    return;
  }
  prepare_request();
  dispatch();
}

// 4. The head for the endpoint: the same for every try.
void Connection::prepare_request() {
  const ClientFacts client{.address = peer_text_,
                           .real = x_.real_client,
                           .request_id = x_.request_id,
                           .port = arrival_.port,
                           .tls = arrival_.tls,
                           .trusted = trusted_peer_};
  head_out_.produced(write_request_head(core_.request_head, x_.facts, client, head_out_.space()));
}

// 5. Which endpoint, and a connection to it.
void Connection::dispatch() {
  while (x_.tries < core_.limits.tries) {
    const SocketAddress* endpoint =
        core_.picker.pick(x_.route->backend, x_.backend->endpoints,
                          {x_.tried.data(), x_.tried_count}, core_.pool, core_.random());
    if (endpoint == nullptr) break;
    if (++x_.tries > 1) core_.metrics.retries.add();
    response_scanner_ = {};
    if (!x_.fresh_only) {
      const bool once = !x_.facts.idempotent || x_.facts.body.kind != BodyFraming::Kind::none;
      upstream_ = core_.pool.take_idle(*endpoint, *this, once);
      if (upstream_ != nullptr) {
        connected();
        return;
      }
    }
    auto opened = core_.pool.connect(*endpoint, *this);
    if (opened) {
      upstream_ = *std::move(opened);
      set_deadline(core_.limits.connect_timeout);
      return;
    }
    x_.tried[x_.tried_count++] = *endpoint;
    core_.pool.mark_bad(*endpoint);
  }
  if (x_.note.empty()) x_.note = "no endpoint took the connection";
  answer({502, "no endpoint took the connection", {}}, false);
}

void Connection::connected() {
  progress();
  pump_request();
}

// 6. The request goes out, as far as the endpoint takes it. Also the tunnel's way there.
void Connection::pump_request() {
  if (upstream_ == nullptr || upstream_->connecting() || upstream_blocked_) return;
  for (;;) {
    x_.bytes_received += in_.frame(x_.request_body);
    if (x_.request_body.failed()) {
      if (x_.response_head) {
        abort_response("malformed chunked request body");
      } else {
        refuse({400, "malformed chunked request body"});
      }
      return;
    }
    if (x_.upstream_deaf) in_.sent(in_.ready().size());
    const size_t head = head_out_.ready().size();
    const Gather bytes(head_out_.ready(), in_.ready());
    if (bytes.empty()) break;
    const Io io = write_socket(upstream_->fd(), bytes.parts(), bytes.count());
    if (io.state == Io::State::again) {
      upstream_blocked_ = true;
      return;
    }
    if (io.state != Io::State::ok) {
      // An answer may still come, or wait to be read; the read side decides.
      x_.upstream_deaf = true;
      head_out_.sent(head);
      continue;
    }
    x_.sent_upstream += io.bytes;
    const size_t of_head = std::min(io.bytes, head);
    head_out_.sent(of_head);
    in_.sent(io.bytes - of_head);
    progress();
  }
  if (phase_ == Phase::tunnel && x_.request_body.done() && !x_.upstream_shut) {
    x_.upstream_shut = true;
    ::shutdown(upstream_->fd(), SHUT_WR);
    if (x_.client_shut) finish();
  }
}

// 7. The head of the response. True: look again, there may be one more behind it.
bool Connection::take_response_head() {
  const std::string_view raw = back_.raw();
  if (raw.empty()) return false;
  const auto found = response_scanner_.scan(raw, core_.limits);
  if (found == HeadScanner::Result::more) return false;
  ResponseHead& head = core_.response_head;
  ResponseFacts facts;
  Refusal refusal;
  const size_t size = response_scanner_.head_bytes();
  if (found == HeadScanner::Result::refused) {
    refusal = {502, "malformed response head"};
  } else {
    refusal = parse_response_head(raw.substr(0, size), head);
  }
  if (!refusal) refusal = check_response(head, x_.facts.is_head, facts);
  const bool upgraded = !refusal && head.status == 101;
  if (upgraded && !equals_ignore_case(facts.upgrade, x_.facts.upgrade)) {
    refusal = {502, "upgrade that nobody asked for"};
  }
  if (refusal) {
    x_.note = refusal.why;
    answer({502, "the endpoint's response is not valid HTTP", {}}, false);
    return false;
  }
  back_.skip(size);
  response_scanner_ = {};
  if (head.status < 200 && !upgraded) {
    take_interim(facts);
    return phase_ == Phase::exchange && !x_.response_head;
  }
  begin_response(facts);
  if (upgraded) begin_tunnel();
  return false;
}

// 100 and 103: hints, sent on when the client understands them and has room.
void Connection::take_interim(const ResponseFacts& facts) {
  if (++x_.interim > max_interim_responses) {
    x_.note = "too many interim responses";
    answer({502, "the endpoint's response is not valid HTTP", {}}, false);
    return;
  }
  const std::span<char> space = pending_.space();
  if (x_.version < 11 || !pending_.empty()) return;
  const size_t size = write_response_head(core_.response_head, facts, {}, space);
  if (size > max_interim_bytes) return;
  pending_.produced(size);
  pump_response();
}

void Connection::begin_response(const ResponseFacts& facts) {
  const ResponseHead& head = core_.response_head;
  const bool chunked = facts.body.kind == BodyFraming::Kind::chunked;
  const bool strip = chunked && x_.version < 11;
  if (strip || facts.body.kind == BodyFraming::Kind::until_close || core_.draining) {
    x_.keep_alive = false;
  }
  x_.status = head.status;
  x_.upstream_keep = facts.keep_alive;
  x_.response_body =
      BodyFramer(facts.body, strip ? BodyFramer::Chunks::strip : BodyFramer::Chunks::keep);
  const ResponseStyle style{.date = core_.date(),
                            .close = !x_.keep_alive,
                            .keep_alive = x_.version == 10 && x_.keep_alive,
                            .chunked = chunked && !strip};
  pending_.produced(write_response_head(head, facts, style, pending_.space()));
  x_.response_head = true;
  progress();
}

// 8. After 101 both ways are bytes, each with its own end.
void Connection::begin_tunnel() {
  phase_ = Phase::tunnel;
  x_.keep_alive = x_.upstream_keep = false;
  const BodyFraming endless{.kind = BodyFraming::Kind::until_close};
  x_.request_body = BodyFramer(endless);
  x_.response_body = BodyFramer(endless);
  if (client_eof_) x_.request_body.finish();
  progress();
  pump_request();
}

// 9. The response goes to the client, as far as it takes it. Also the tunnel's way back.
void Connection::pump_response() {
  if (client_blocked_) return;
  for (;;) {
    if (x_.response_head) back_.frame(x_.response_body);
    if (x_.response_body.failed()) {
      abort_response("malformed chunked response body");
      return;
    }
    const size_t head = pending_.ready().size();
    const Gather bytes(pending_.ready(), back_.ready());
    if (bytes.empty()) break;
    const Io io = client_.write(bytes.parts(), bytes.count());
    if (io.state == Io::State::again) {
      client_blocked_ = true;
      return;
    }
    if (io.state != Io::State::ok) {
      client_gone();
      return;
    }
    x_.response_started = true;
    x_.bytes_sent += io.bytes;
    const size_t of_head = std::min(io.bytes, head);
    pending_.sent(of_head);
    back_.sent(io.bytes - of_head);
    progress();
  }
  pending_.release();
  if (!x_.response_head || !x_.response_body.done()) return;
  if (phase_ == Phase::tunnel) {
    if (x_.client_shut) return;
    x_.client_shut = true;
    client_.shutdown_write();
    if (!x_.upstream_shut) return;
  }
  finish();
}

// 10. The endpoint closed its connection, or it broke.
void Connection::upstream_ended(bool failed) {
  if (!x_.response_head) {
    upstream_lost(failed ? "endpoint reset the connection" : "endpoint closed the connection", 502);
  } else if (x_.response_body.done()) {
    x_.upstream_keep = false;  // the client has not taken all of it yet
    drop_upstream();
  } else if (x_.response_body.until_close() && !failed) {
    x_.response_body.finish();
    pump_response();
  } else {
    abort_response("endpoint closed in the middle of the response");
  }
}

// The one retry decision: nothing has reached the client, and either nothing has reached the
// endpoint or the request may be sent twice (RFC 9110 section 9.2.2) and is still here as a whole.
void Connection::upstream_lost(std::string_view why, int status) {
  const bool refused = upstream_->connecting();
  const bool reused = upstream_->reused();
  const SocketAddress endpoint = upstream_->address();
  drop_upstream();
  x_.note = why;
  if (refused) {
    core_.pool.mark_bad(endpoint);
    if (x_.tried_count < max_tries) x_.tried[x_.tried_count++] = endpoint;
  }
  x_.fresh_only |= reused;
  const bool harmless = x_.sent_upstream == 0 || x_.facts.idempotent;
  const bool whole = head_out_.rewind() && in_.rewind();
  const bool again = harmless && whole && !x_.response_started && x_.tries < core_.limits.tries &&
                     x_.tried_count < x_.backend->endpoints.size();
  if (!again) {
    answer({status, why, {}}, false);
    return;
  }
  back_.release();
  x_.upstream_deaf = false;
  dispatch();
}

// 11. The response is complete and sent: log, count, keep or close.
void Connection::finish() {
  record();
  const bool complete = x_.request_body.done() && in_.ready().empty();
  if (upstream_ != nullptr) {
    const bool clean = x_.upstream_keep && complete && head_out_.ready().empty() &&
                       !x_.upstream_deaf && back_.empty() && !core_.draining;
    if (clean) core_.pool.give(std::move(upstream_));
    drop_upstream();
  }
  const bool keep = x_.keep_alive && complete && phase_ != Phase::tunnel;
  const bool unread = phase_ != Phase::tunnel && (!complete || !in_.raw().empty());
  head_out_.release();
  back_.release();
  pending_.release();
  x_ = Exchange{};
  if (!keep) {
    end_connection(unread);
    return;
  }
  in_.next_message();
  scanner_ = {};
  head_begun_ = false;
  phase_ = Phase::head;
  set_deadline(core_.limits.keep_alive_timeout);
}

}  // namespace fairlead::ingress
