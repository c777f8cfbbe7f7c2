#include "dataplane/userspace/tcp_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "dataplane/userspace/sockets.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr Duration probes_begin = std::chrono::seconds(10);

int pending_error(const net::Fd& fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

TcpConnection::TcpConnection(const Forwarding& with, PipePool& pipes, Start start)
    : with_(with), pipes_(pipes), start_(std::move(start)) {
  with_.metrics.connections.add(1);
}

TcpConnection::~TcpConnection() {
  with_.metrics.connections.add(-1);
  with_.metrics.bytes.add(forth_.bytes() + back_.bytes());
}

void TcpConnection::begin(std::function<void()> over) {
  over_ = std::move(over);
  choice_ = with_.balancer.choose(*start_.rule, start_.backends, start_.from.client.ip);
  try_backend();
}

std::optional<ConnectionSide> TcpConnection::to_backend() const {
  if (!backend_) return std::nullopt;
  const auto from = net::local_address(backend_.get());
  if (!from) return std::nullopt;
  const Backend& backend = start_.backends[choice_];
  return ConnectionSide{*from, {backend.ip, backend.port}};
}

void TcpConnection::try_backend() {
  const size_t most = std::min(with_.limits.connect_attempts, start_.backends.size());
  while (attempts_ < most) {
    ++attempts_;
    const Backend& backend = start_.backends[choice_];
    auto fd = connect_tcp({backend.ip, backend.port});
    if (!fd) {
      with_.metrics.connect_failures.add();
      choice_ = (choice_ + 1) % start_.backends.size();
      continue;
    }
    backend_ = std::move(*fd);
    watch_backend(EPOLLOUT);
    deadline_ = with_.loop.after(with_.limits.connect_timeout, [this] { next_backend(); });
    return;
  }
  with_.metrics.refused_backend.add();
  abort();
}

void TcpConnection::next_backend() {
  with_.metrics.connect_failures.add();
  backend_watch_.reset();
  backend_.reset();
  choice_ = (choice_ + 1) % start_.backends.size();
  try_backend();
}

void TcpConnection::connected(bool back) {
  // Most are over by then.
  deadline_ = with_.loop.after(probes_begin, [this] { probe_silence(backend_); });
  open_ = true;
  if (attempts_ > 1) {
    with_.balancer.remember(*start_.rule, start_.from.client.ip, start_.backends[choice_]);
  }
  pump(true, back);
}

void TcpConnection::client_ready(uint32_t events) {
  if ((events & EPOLLERR) != 0) {
    forth_.rescue(start_.client.get(), backend_.get(), pipes_);
    return abort();
  }
  const bool hup = (events & EPOLLHUP) != 0;
  pump(hup || (events & EPOLLIN) != 0, hup || (events & EPOLLOUT) != 0);
}

void TcpConnection::backend_ready(uint32_t events) {
  if (!open_) {
    const bool in_doubt = (events & (EPOLLERR | EPOLLHUP)) != 0;
    const int error = in_doubt ? pending_error(backend_) : 0;
    if (error == 0) return connected(in_doubt);
    // It may have answered, and said something, before it gave up.
    if (error == ECONNRESET) back_.rescue(backend_.get(), start_.client.get(), pipes_);
    return back_.bytes() == 0 ? next_backend() : abort();
  }
  if ((events & EPOLLERR) != 0) {
    back_.rescue(backend_.get(), start_.client.get(), pipes_);
    return abort();
  }
  const bool hup = (events & EPOLLHUP) != 0;
  pump(hup || (events & EPOLLOUT) != 0, hup || (events & EPOLLIN) != 0);
}

void TcpConnection::pump(bool forth, bool back) {
  using enum Stream::Outcome;
  const int client = start_.client.get(), backend = backend_.get();
  const bool forth_had_ended = forth_.ended(), back_had_ended = back_.ended();
  if ((forth && forth_.pump(client, backend, pipes_) == failed) ||
      (back && back_.pump(backend, client, pipes_) == failed)) {
    // Whoever does not listen any more may have said why.
    back_.rescue(backend, client, pipes_);
    forth_.rescue(client, backend, pipes_);
    return abort();
  }
  if (forth_.ended() && back_.ended()) return end();  // to close is to tell the other side
  // ENOTCONN: it has gone; its own watch says so.
  if (forth_.ended() && !forth_had_ended) ::shutdown(backend, SHUT_WR);
  if (back_.ended() && !back_had_ended) ::shutdown(client, SHUT_WR);
  update_watches();
}

void TcpConnection::update_watches() {
  const auto events = [](const Stream& reads, const Stream& writes) {
    return (reads.wants_read() ? uint32_t{EPOLLIN} : 0u) |
           (writes.wants_write() ? uint32_t{EPOLLOUT} : 0u);
  };
  // A side that has said all and been told all goes on saying EPOLLHUP, also while what it said
  // waits here for the other one.
  const uint32_t client = events(forth_, back_), backend = events(back_, forth_);
  if (client == 0 && back_.ended()) {
    client_watch_.reset();
  } else if (client_watch_) {
    client_watch_.set_events(client);
  } else {
    watch_client(client);
  }
  if (backend == 0 && forth_.ended()) {
    backend_watch_.reset();
  } else if (backend_watch_) {
    backend_watch_.set_events(backend);
  } else {
    watch_backend(backend);
  }
}

void TcpConnection::watch_client(uint32_t events) {
  client_watch_ = with_.loop.watch(start_.client.get(), events,
                                   [this](uint32_t ready) { client_ready(ready); });
}

void TcpConnection::watch_backend(uint32_t events) {
  backend_watch_ =
      with_.loop.watch(backend_.get(), events, [this](uint32_t ready) { backend_ready(ready); });
}

void TcpConnection::end() {
  const auto over = std::move(over_);  // it outlives this
  over();
}

void TcpConnection::abort() {
  reset_on_close(start_.client);
  if (backend_) reset_on_close(backend_);
  end();
}

}  // namespace fairlead::dataplane::userspace
