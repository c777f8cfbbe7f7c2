#include "net/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "net/socket.h"
#include "net/tls_session.h"

namespace fairlead::net {
namespace {

constexpr size_t read_bytes = 32 * 1024;
constexpr size_t max_reads_per_turn = 8;  // so that one busy peer does not starve the others

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

// The state machine: connecting -> (handshake) -> open -> failed. Every event of the socket and
// every kick goes through on_event() or on_kick(): flush, read, call back, then finish_turn() for
// what the callbacks wrote, and last the events to wait for. After each callback the stream may be
// gone; call() tells.
struct Stream::Impl {
  enum class Phase { connecting, handshake, open, failed };

  Impl(EventLoop& event_loop, Fd socket, Handler& the_handler)
      : loop(event_loop), fd(std::move(socket)), handler(the_handler) {}

  EventLoop& loop;
  Fd fd;
  Handler& handler;
  std::optional<TlsSession> session;
  Watch watch;  // after fd: it goes first
  Timer kick;   // what no readiness event will announce: TLS bytes held back, errors of write()
  Phase phase = Phase::connecting;
  bool announced_eof = false;
  bool eof = false;
  bool shutdown_wanted = false;
  bool shutdown_done = false;
  bool sent_owed = false;  // something was written since the last on_sent()
  bool handshake_wants_write = false;
  bool read_wants_write = false;
  bool write_wants_read = false;
  std::string write_error;
  std::string in;
  size_t in_start = 0;
  std::string out;
  size_t out_start = 0;
  uint64_t moved = 0;
  bool* destroyed = nullptr;  // set while a callback runs; the destructor raises it

  ~Impl() {
    if (destroyed != nullptr) *destroyed = true;
  }

  size_t unread() const { return in.size() - in_start; }
  size_t unsent() const { return out.size() - out_start; }
  bool input_full() const { return unread() >= max_input_bytes; }

  // Runs a callback. False when the stream was destroyed in it: touch nothing any more.
  template <class Callback>
  bool call(Callback callback) {
    bool gone = false;
    bool* const outer = std::exchange(destroyed, &gone);
    callback(handler);
    if (gone) {
      if (outer != nullptr) *outer = true;
      return false;
    }
    destroyed = outer;
    return true;
  }

  void fail_with(std::string message) {
    phase = Phase::failed;
    watch.reset();
    kick.reset();
    const Error error{std::move(message)};
    call([&](Handler& h) { h.on_failed(error); });
  }

  // TLS may need to read in order to write and the other way round (key updates): what an
  // operation waits for is not always its own direction.
  void update_interest() {
    if (phase == Phase::failed) return;
    uint32_t events = 0;
    if (phase == Phase::connecting) {
      events = EPOLLOUT;
    } else if (phase == Phase::handshake) {
      events = handshake_wants_write ? EPOLLOUT : EPOLLIN;
    } else {
      const bool reading = !eof && !input_full();
      if ((reading && !read_wants_write) || write_wants_read) events |= EPOLLIN;
      if ((unsent() > 0 && !write_wants_read) || (reading && read_wants_write)) events |= EPOLLOUT;
    }
    watch.set_events(events);
  }

  // Runs a turn of this stream from the loop when no event of the socket would.
  void kick_soon() {
    if (!kick) kick = loop.after(Duration::zero(), [this] { on_kick(); });
  }

  void on_kick() {
    if (phase != Phase::open) return on_event(0);
    if (read_all()) finish_turn();
  }

  void on_event(uint32_t events) {
    if (phase == Phase::connecting && !finish_connect()) return;
    if (phase == Phase::handshake && !step_handshake()) return;
    if (phase == Phase::open) {
      flush();
      if (!read_all()) return;
      // A hang-up that reading did not turn into an end: both directions are shut.
      if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (announced_eof || input_full())) {
        return fail_with(socket_error("the peer closed the connection"));
      }
    }
    finish_turn();
  }

  std::string socket_error(std::string_view otherwise) const {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error != 0 ? errno_text(error) : std::string(otherwise);
  }

  // The first event of a connecting socket says how the attempt ended (connect(2), EINPROGRESS).
  bool finish_connect() {
    if (const std::string error = socket_error(""); !error.empty()) {
      fail_with(error);
      return false;
    }
    sockaddr_storage peer_raw{};
    socklen_t size = sizeof peer_raw;
    if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer_raw), &size) != 0) {
      update_interest();  // still connecting
      return false;
    }
    phase = session ? Phase::handshake : Phase::open;
    return session || call([](Handler& h) { h.on_open(); });
  }

  bool step_handshake() {
    Io io = session->handshake();
    if (io.status == Io::Status::failed || io.status == Io::Status::eof) {
      fail_with(io.error.empty() ? "TLS: the peer closed the connection" : std::move(io.error));
      return false;
    }
    if (io.status != Io::Status::done) {
      handshake_wants_write = io.status == Io::Status::want_write;
      update_interest();
      return false;
    }
    phase = Phase::open;
    return call([](Handler& h) { h.on_open(); });
  }

  Io read_some(char* buffer, size_t size) {
    if (session) return session->read(buffer, size);
    const ssize_t got = ::recv(fd.get(), buffer, size, 0);
    if (got > 0) return {Io::Status::done, static_cast<size_t>(got), {}};
    if (got == 0) return {Io::Status::eof, 0, {}};
    if (would_block(errno)) return {Io::Status::want_read, 0, {}};
    return {Io::Status::failed, 0, errno_text(errno)};
  }

  Io write_some(std::string_view bytes) {
    if (session) return session->write(bytes);
    const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return {Io::Status::done, static_cast<size_t>(sent), {}};
    if (would_block(errno)) return {Io::Status::want_write, 0, {}};
    return {Io::Status::failed, 0, errno_text(errno)};
  }

  // Reads what there is and calls back. False when the stream is gone or has failed.
  bool read_all() {
    if (eof || phase != Phase::open) return phase != Phase::failed;
    char buffer[read_bytes];
    const size_t before = unread();
    Io io;
    read_wants_write = false;
    for (size_t round = 0; round < max_reads_per_turn && !input_full(); ++round) {
      io = read_some(buffer, sizeof buffer);
      if (io.status != Io::Status::done) break;
      in.append(buffer, io.bytes);
      moved += io.bytes;
      if (!session && io.bytes < sizeof buffer) break;  // level-triggered: more will be announced
    }
    read_wants_write = io.status == Io::Status::want_write;
    if (io.status == Io::Status::done && session && session->has_pending()) kick_soon();
    if (io.status == Io::Status::eof) eof = true;
    if (unread() > before && !call([](Handler& h) { h.on_input(); })) return false;
    if (io.status == Io::Status::failed) {
      fail_with(std::move(io.error));
      return false;
    }
    if (eof && !announced_eof) {
      announced_eof = true;
      if (!call([](Handler& h) { h.on_eof(); })) return false;
    }
    return phase != Phase::failed;
  }

  // Sends from the queue as far as the kernel takes it. An error is kept for the loop to report.
  void flush() {
    write_wants_read = false;
    while (unsent() > 0 && write_error.empty()) {
      Io io = write_some(std::string_view(out).substr(out_start));
      if (io.status == Io::Status::done) {
        out_start += io.bytes;
        moved += io.bytes;
        continue;
      }
      if (io.status == Io::Status::want_read) write_wants_read = true;
      if (io.status == Io::Status::failed || io.status == Io::Status::eof) {
        write_error = io.error.empty() ? "the peer closed the connection" : std::move(io.error);
      }
      break;
    }
    if (unsent() == 0 || !write_error.empty()) {
      // A large answer must not keep its memory for the life of the connection.
      if (constexpr size_t keep_bytes = 64 * 1024; out.capacity() > keep_bytes) out = {};
      out.clear();
      out_start = 0;
      if (shutdown_wanted && !shutdown_done && write_error.empty()) finish_shutdown();
    } else if (out_start > out.size() / 2 && out_start > read_bytes) {
      out.erase(0, out_start);
      out_start = 0;
    }
  }

  // What write() left to the loop: its error, and on_sent() when the queue has become empty.
  void finish_turn() {
    while (phase == Phase::open) {
      if (!write_error.empty()) return fail_with(write_error);
      if (!sent_owed || unsent() > 0) break;
      sent_owed = false;
      if (!call([](Handler& h) { h.on_sent(); })) return;
    }
    update_interest();
  }

  void finish_shutdown() {
    shutdown_done = true;
    if (session) session->send_close_notify();
    ::shutdown(fd.get(), SHUT_WR);
  }
};

Stream::Stream(EventLoop& loop, Fd fd, Role role, std::shared_ptr<const TlsContext> tls,
               Handler& handler, const std::string& server_name) {
  impl_ = std::make_unique<Impl>(loop, std::move(fd), handler);
  Impl* impl = impl_.get();
  const int socket = impl->fd.get();
  if (tls) impl->session.emplace(std::move(tls), socket, role == Role::server, server_name);
  // Writable is the first event of both: an accepted socket is so at once.
  impl->watch = loop.watch(socket, EPOLLOUT, [impl](uint32_t events) { impl->on_event(events); });
}

Stream::~Stream() = default;

std::string_view Stream::input() const {
  return std::string_view(impl_->in).substr(impl_->in_start);
}

void Stream::consume(size_t bytes) {
  Impl& impl = *impl_;
  const bool was_full = impl.input_full();
  impl.in_start += bytes;
  if (impl.in_start == impl.in.size()) {
    if (impl.in.capacity() > 2 * read_bytes) impl.in = {};
    impl.in.clear();
    impl.in_start = 0;
  } else if (impl.in_start > read_bytes) {
    impl.in.erase(0, impl.in_start);
    impl.in_start = 0;
  }
  if (was_full && !impl.input_full() && impl.phase == Impl::Phase::open) impl.kick_soon();
}

void Stream::write(std::string_view bytes) {
  Impl& impl = *impl_;
  if (impl.phase == Impl::Phase::failed || impl.shutdown_wanted || !impl.write_error.empty())
    return;
  const bool idle = impl.unsent() == 0;
  impl.out += bytes;
  impl.sent_owed = true;
  if (impl.phase != Impl::Phase::open) return;
  if (idle) impl.flush();
  if (impl.destroyed != nullptr) return;  // inside a callback: finish_turn() is still to come
  if (impl.unsent() == 0 || !impl.write_error.empty()) {
    impl.kick_soon();
  } else {
    impl.update_interest();
  }
}

size_t Stream::unsent_bytes() const { return impl_->unsent(); }

void Stream::shutdown_write() {
  impl_->shutdown_wanted = true;
  if (impl_->phase == Impl::Phase::open && impl_->unsent() == 0 && !impl_->shutdown_done &&
      impl_->write_error.empty()) {
    impl_->finish_shutdown();
  }
}

void Stream::abort_on_close() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(impl_->fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

uint64_t Stream::moved_bytes() const { return impl_->moved; }

Peer Stream::peer() const {
  Peer peer;
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  ::getpeername(impl_->fd.get(), reinterpret_cast<sockaddr*>(&raw), &size);
  if (raw.ss_family == AF_UNIX) {
    peer.address = "unix";
    ucred credentials{};
    socklen_t credentials_size = sizeof credentials;
    if (::getsockopt(impl_->fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) ==
        0) {
      peer.uid = credentials.uid;
    }
  } else {
    peer.address = from_raw(raw).to_string();
  }
  if (impl_->session && impl_->phase == Impl::Phase::open) impl_->session->describe(peer);
  return peer;
}

}  // namespace fairlead::net
