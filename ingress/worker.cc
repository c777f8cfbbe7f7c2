#include "ingress/worker.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/check.h"
#include "base/text.h"
#include "ingress/connection.h"
#include "net/socket.h"

namespace fairlead::ingress {
namespace {

constexpr int accepts_per_turn = 64;  // then the connections that are there get their turn
constexpr Duration pause_time = std::chrono::milliseconds(100);

}  // namespace

Worker::Worker(const Config& config, const Log& log, AccessLogFile* file, Registry& registry)
    : log_(log), core_(config, file, registry) {}

Worker::~Worker() {
  if (!thread_.joinable()) return;
  stop();
  thread_.join();
}

void Worker::set_tls(std::unique_ptr<TlsAcceptor> acceptor, uint16_t https_port) {
  tls_ = std::move(acceptor);
  core_.https_port = https_port;
}

Result<SocketAddress> Worker::listen(const SocketAddress& address, bool tls) {
  auto listener = std::make_unique<Listener>();
  FL_TRY(listener->fd, net::listen_tcp(address, true));
  FL_TRY(const SocketAddress bound, net::local_address(listener->fd.get()));
  listener->port = bound.port;
  listener->tls = tls;
  Listener& added = *listeners_.emplace_back(std::move(listener));
  added.watch =
      core_.loop.watch(added.fd.get(), EPOLLIN, [this, &added](uint32_t) { accept(added); });
  return bound;
}

void Worker::start(unsigned number) {
  thread_ = std::thread([this, number] { run(number); });
}

void Worker::run(unsigned number) {
  sigset_t all;
  ::sigfillset(&all);  // signals are the main thread's; OpenSSL's writes may raise SIGPIPE
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  ::pthread_setname_np(::pthread_self(), cat("ingress-", number).c_str());
  core_.loop.run();
  core_.close_all();
  core_.log.flush();
}

void Worker::publish(std::shared_ptr<const RouteTable> table) {
  if (!thread_.joinable()) {
    set_table(std::move(table));
    return;
  }
  core_.loop.post([this, next = std::move(table)]() mutable { set_table(std::move(next)); });
}

void Worker::set_table(std::shared_ptr<const RouteTable> table) {
  core_.table = std::move(table);
  if (tls_ != nullptr) tls_->set_table(core_.table.get());
}

void Worker::stop() {
  core_.loop.post([this] { begin_drain(); });
}

void Worker::begin_drain() {
  for (const auto& listener : listeners_) accept(*listener);  // what the kernel has completed
  listeners_.clear();
  resume_.reset();
  core_.drain();
  check_drained(core_.loop.now() + core_.limits.drain_timeout);
}

void Worker::check_drained(MonoTime deadline) {
  if (core_.connections() == 0 || core_.loop.now() >= deadline) {
    core_.loop.stop();
    return;
  }
  drain_check_ = core_.loop.after(std::chrono::milliseconds(10),
                                  [this, deadline] { check_drained(deadline); });
}

void Worker::accept(Listener& listener) {
  for (int i = 0; i < accepts_per_turn; ++i) {
    if (core_.connections() >= core_.limits.connections_per_worker) {
      pause(listener);
      return;
    }
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    net::Fd fd(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&raw), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      take(listener, std::move(fd), net::from_raw(raw));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log_.warn("cannot accept", {{"error", net::errno_text(errno)}});
      pause(listener);
      return;
    }
    // Anything else concerns one connection that went away before it was accepted.
  }
}

void Worker::take(Listener& listener, net::Fd fd, const SocketAddress& peer) {
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (const int bytes = core_.limits.socket_buffer_bytes; bytes > 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  SslPtr session;
  if (listener.tls) {
    CHECK(tls_ != nullptr);
    session = tls_->accept(fd.get());
    if (session == nullptr) return;
  }
  const Arrival arrival{.peer = peer, .port = listener.port, .tls = listener.tls};
  core_.adopt(std::make_unique<Connection>(core_, arrival,
                                           ClientStream(std::move(fd), std::move(session))));
}

// The kernel's queue holds the clients meanwhile.
void Worker::pause(Listener& listener) {
  listener.watch.set_events(0);
  listener.paused = true;
  if (resume_) return;
  resume_ = core_.loop.after(pause_time, [this] {
    for (const auto& each : listeners_) {
      if (!std::exchange(each->paused, false)) continue;
      each->watch.set_events(EPOLLIN);
    }
  });
}

}  // namespace fairlead::ingress
