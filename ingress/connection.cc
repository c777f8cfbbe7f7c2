#include "ingress/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

namespace fairlead::ingress {
namespace {

constexpr size_t max_lingered_bytes = 1024 * 1024;
constexpr Duration linger_timeout = std::chrono::seconds(2);

}  // namespace

Connection::Connection(Core& core, const Arrival& arrival, ClientStream client)
    : core_(core),
      client_(std::move(client)),
      arrival_(arrival),
      peer_text_(arrival.peer.ip.to_string()),
      in_(core.slabs),
      head_out_(core.slabs),
      back_(core.slabs),
      pending_(core.slabs) {
  const auto& trusted = core.config.trusted_proxies;
  trusted_peer_ = std::any_of(trusted.begin(), trusted.end(),
                              [&](const Cidr& cidr) { return cidr.contains(arrival.peer.ip); });
}

void Connection::start() {
  set_deadline(core_.limits.header_timeout);
  events_ = EPOLLIN;
  watch_ = core_.loop.watch(client_.fd(), events_, [this](uint32_t events) { on_client(events); });
}

void Connection::set_deadline(Duration from_now) {
  core_.wheel.set(*this, core_.loop.now() + from_now);
}

// Something moved: the next thing may take its own time.
void Connection::progress() {
  const Limits& limits = core_.limits;
  if (phase_ == Phase::tunnel) {
    set_deadline(limits.tunnel_timeout);
  } else if (phase_ == Phase::exchange) {
    const bool waiting = !x_.response_head && x_.request_body.done();
    set_deadline(waiting ? limits.response_timeout : limits.body_timeout);
  }
}

bool Connection::wants_client_bytes() const {
  if (client_eof_ || phase_ == Phase::closed) return false;
  return phase_ == Phase::linger || !in_.full();
}

bool Connection::wants_upstream_bytes() const {
  const bool ended = x_.response_head && x_.response_body.done() && phase_ == Phase::tunnel;
  return !ended && !back_.full();
}

void Connection::update_events() {
  uint32_t wanted = wants_client_bytes() ? uint32_t{EPOLLIN} : 0U;
  if (client_blocked_ || (client_.tls() && client_.read_wants_write())) wanted |= EPOLLOUT;
  if (wanted != events_) watch_.set_events(events_ = wanted);
  if (upstream_ == nullptr) return;
  if (upstream_->connecting()) {
    upstream_->set_events(EPOLLOUT);
    return;
  }
  uint32_t upstream_wanted = wants_upstream_bytes() ? uint32_t{EPOLLIN} : 0U;
  if (upstream_blocked_) upstream_wanted |= EPOLLOUT;
  upstream_->set_events(upstream_wanted);
}

void Connection::on_client(uint32_t events) {
  if ((events & EPOLLOUT) != 0 && client_blocked_) {
    client_blocked_ = false;
    pump_response();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 || client_.read_wants_write()) {
    if (wants_client_bytes()) {
      read_client();
    } else if ((events & (EPOLLHUP | EPOLLERR)) != 0 && phase_ != Phase::closed) {
      client_gone();
    }
  }
  after_event();
}

void Connection::on_upstream(uint32_t events) {
  if (upstream_->connecting()) {
    if (const int error = upstream_->finish_connect(); error != 0) {
      upstream_lost("endpoint refused the connection", 502);
    } else {
      connected();
    }
    after_event();
    return;
  }
  if ((events & EPOLLOUT) != 0 && upstream_blocked_) {
    upstream_blocked_ = false;
    pump_request();
  }
  if (upstream_ != nullptr && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    if (wants_upstream_bytes()) {
      read_upstream();
    } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
      // It will say so for ever; what it has sent is read when there is room again.
      upstream_->mute();
    }
  }
  after_event();
}

// The one place from which heads are taken, so that pipelined requests cost no recursion.
void Connection::after_event() {
  for (;;) {
    while (phase_ == Phase::head && take_head()) {
    }
    if (phase_ == Phase::closed) return;
    if (!tls_unread_ || !wants_client_bytes()) break;
    read_client();
  }
  if (phase_ == Phase::head) {
    if (client_eof_ || (core_.draining && in_.raw().empty())) {
      close();
      return;
    }
  }
  if ((phase_ == Phase::head && in_.empty()) || phase_ == Phase::linger) in_.release();
  update_events();
}

void Connection::read_client() {
  tls_unread_ = false;
  while (wants_client_bytes()) {
    if (phase_ == Phase::linger) in_.release();
    const Io io = client_.read(in_.space());
    if (io.state == Io::State::again) return;
    if (io.state == Io::State::error) {
      client_gone();
      return;
    }
    if (io.state == Io::State::end) {
      client_ended();
      return;
    }
    in_.filled(io.bytes);
    if (phase_ == Phase::linger) {
      lingered_bytes_ += io.bytes;
      if (lingered_bytes_ > max_lingered_bytes) close();
    } else if (phase_ != Phase::head) {
      if (!x_.request_body.done()) progress();
      pump_request();
    }
    if (!client_.tls()) return;  // epoll tells about the rest
  }
  tls_unread_ = client_.tls();
}

void Connection::client_ended() {
  client_eof_ = true;
  switch (phase_) {
    case Phase::head:
    case Phase::closed:
      return;  // after_event() takes complete heads first
    case Phase::linger:
      close();
      return;
    case Phase::tunnel:
      x_.request_body.finish();
      pump_request();
      return;
    case Phase::exchange:
      // Half-closed: a whole request still gets its answer.
      if (!x_.request_body.done()) client_gone();
      return;
  }
}

void Connection::client_gone() {
  if (phase_ == Phase::exchange || phase_ == Phase::tunnel) {
    if (phase_ == Phase::exchange) {
      x_.status = 499;  // what nginx logs when the client closed the connection
      x_.note = "client went away";
    }
    record();
  }
  close();
}

void Connection::read_upstream() {
  const Io io = read_socket(upstream_->fd(), back_.space());
  if (io.state == Io::State::again) return;
  if (io.state != Io::State::ok) {
    upstream_ended(io.state == Io::State::error);
    return;
  }
  back_.filled(io.bytes);
  progress();
  while (!x_.response_head && take_response_head()) {
  }
  if (x_.response_head && phase_ != Phase::closed) pump_response();
}

void Connection::on_deadline() {
  switch (phase_) {
    case Phase::closed:
      return;
    case Phase::tunnel:
      x_.note = "tunnel idle";
      record();
      close();
      return;
    case Phase::linger:
      close();
      return;
    case Phase::head:
      if (in_.raw().empty()) {
        close();
        return;
      }
      x_.started = core_.loop.now();
      refuse({408, "request head took too long"});
      break;
    case Phase::exchange:
      if (client_blocked_) {
        abort_response("client reads too slowly");
      } else if (x_.response_head) {
        abort_response("endpoint stalled in the response");
      } else if (upstream_ != nullptr && upstream_->connecting()) {
        upstream_lost("connecting to the endpoint timed out", 504);
      } else if (!x_.request_body.done()) {
        x_.note = "request body stalled";
        answer({408, "request body stalled", {}}, true);
      } else {
        x_.note = "no response in time";
        answer({504, "no response in time", {}}, false);
      }
      break;
  }
  after_event();
}

void Connection::drop_upstream() {
  if (upstream_ != nullptr) x_.upstream = upstream_->address_text();
  upstream_.reset();
  upstream_blocked_ = false;
}

void Connection::drain() {
  if (phase_ == Phase::head && in_.raw().empty()) close();
}

void Connection::end_connection(bool unread) {
  if (!unread || client_eof_) {
    client_.shutdown_write();
    close();
    return;
  }
  client_.shutdown_write();
  phase_ = Phase::linger;
  lingered_bytes_ = 0;
  in_.release();
  set_deadline(linger_timeout);
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  core_.wheel.cancel(*this);
  drop_upstream();
  watch_.reset();
  client_.close();
  in_.release();
  head_out_.release();
  back_.release();
  pending_.release();
  x_ = Exchange{};
  core_.retire(*this);
}

}  // namespace fairlead::ingress
