#include "dns/tcp_listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "net/socket.h"

namespace fairlead::dns {
namespace {
constexpr size_t read_bytes = 16 * 1024;
constexpr Duration accept_pause = std::chrono::milliseconds(100);
constexpr int max_accepts = 64;  // of one wake-up
}  // namespace

class TcpListener::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(TcpListener& listener, net::Fd fd, const SocketAddress& client)
      : listener_(&listener), fd_(std::move(fd)), client_(client) {}

  void start() {
    watch_ = listener_->loop_.watch(fd_.get(), EPOLLIN, [this](uint32_t events) {
      const auto self = shared_from_this();  // closing drops the listener's reference
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) return listener_->close(*this);
      if ((events & EPOLLOUT) != 0) pump();
      if (listener_ != nullptr && (events & EPOLLIN) != 0) read();
    });
    arm();
  }
  // From the listener only; nothing is sent afterwards.
  void detach() {
    watch_.reset();
    idle_.reset();
    fd_.reset();
    listener_ = nullptr;
  }
  const SocketAddress& client() const { return client_; }

  void queue_reply(Bytes reply) {
    if (listener_ == nullptr) return;
    uint8_t length[2];
    write16(length, static_cast<uint16_t>(reply.size()));
    out_.append(reinterpret_cast<const char*>(length), 2);
    out_.append(reinterpret_cast<const char*>(reply.data()), reply.size());
  }
  void late_reply(Bytes reply) {
    --waiting_;
    if (listener_ == nullptr) return;
    queue_reply(reply);
    pump();
  }
  void late_dropped() { --waiting_; }

  std::list<std::shared_ptr<Connection>>::iterator place;

 private:
  class Late;
  class StreamOrigin;

  void arm() {
    idle_ = listener_->loop_.after(listener_->limits_.idle, [this] {
      // One that waits for an upstream is not idle.
      if (waiting_ > 0) return arm();
      listener_->close(*this);
    });
  }
  bool held_back() const {
    return waiting_ >= listener_->limits_.pipelined ||
           out_.size() >= listener_->limits_.unsent_bytes;
  }
  void update_events() {
    const bool read = !held_back() && !peer_done_;
    watch_.set_events((read ? EPOLLIN : 0u) | (out_.empty() ? 0u : EPOLLOUT));
  }

  void read() {
    char buffer[read_bytes];
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) return listener_->close(*this);
    if (got == 0) {
      // The peer may have shut down only its half, and still wait for replies.
      peer_done_ = true;
      return pump();
    }
    in_.append(buffer, static_cast<size_t>(got));
    listener_->touch(*this);
    pump();
  }

  void pump();
  bool answer_input();
  void flush() {
    while (!out_.empty()) {
      const ssize_t sent = ::send(fd_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) break;
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return listener_->close(*this);
      out_.erase(0, static_cast<size_t>(sent));
      arm();
    }
  }

  TcpListener* listener_;  // nullptr: closed
  net::Fd fd_;
  SocketAddress client_;
  std::string in_, out_;
  size_t waiting_ = 0;
  bool peer_done_ = false;
  net::Watch watch_;
  net::Timer idle_;
};

class TcpListener::Connection::Late final : public LateReply {
 public:
  explicit Late(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~Late() override {
    if (connection_ != nullptr) connection_->late_dropped();
  }
  void send(Bytes reply) override { std::exchange(connection_, nullptr)->late_reply(reply); }

 private:
  std::shared_ptr<Connection> connection_;
};

class TcpListener::Connection::StreamOrigin final : public Origin {
 public:
  explicit StreamOrigin(Connection& connection) : connection_(connection) {}
  bool tcp() const override { return true; }
  bool ipv6() const override { return !connection_.client_.ip.is_v4(); }
  SocketAddress client() const override { return connection_.client_; }
  std::unique_ptr<LateReply> defer() override {
    ++connection_.waiting_;
    return std::make_unique<Late>(connection_.shared_from_this());
  }

 private:
  Connection& connection_;
};

// Sends what waits, and answers what was held back for want of room, until there is none.
void TcpListener::Connection::pump() {
  const auto self = shared_from_this();
  for (bool good = true;;) {
    flush();
    if (listener_ == nullptr) return;
    if (!good) return listener_->close(*this);
    const size_t before = in_.size();
    good = answer_input();
    if (good && in_.size() == before) break;
  }
  if (peer_done_ && out_.empty() && waiting_ == 0) return listener_->close(*this);
  update_events();
}

// Every whole request; false: what follows can be none.
bool TcpListener::Connection::answer_input() {
  TcpListener& listener = *listener_;
  const auto* data = reinterpret_cast<const uint8_t*>(in_.data());
  size_t at = 0;
  bool bad = false;
  listener.engine_.begin_batch();
  while (in_.size() - at >= 2 && !held_back()) {
    const size_t length = read16(data + at);
    if (length > listener.limits_.request_bytes || length < header_bytes) {
      bad = true;
      break;
    }
    if (in_.size() - at - 2 < length) break;
    StreamOrigin origin(*this);
    const size_t size = listener.engine_.handle({data + at + 2, length}, listener.site_, origin,
                                                listener.reply_.data());
    at += 2 + length;
    if (size > 0) queue_reply({listener.reply_.data(), size});
  }
  listener.engine_.end_batch();
  in_.erase(0, at);
  return !bad;
}

Result<std::unique_ptr<TcpListener>> TcpListener::open(net::EventLoop& loop,
                                                       const SocketAddress& address, Engine& engine,
                                                       const Site& site, TcpLimits limits) {
  FL_TRY(net::Fd fd, net::listen_tcp(address, true));
  FL_TRY(const SocketAddress bound, net::local_address(fd.get()));
  return std::unique_ptr<TcpListener>(
      new TcpListener(loop, std::move(fd), bound, engine, site, limits));
}

TcpListener::TcpListener(net::EventLoop& loop, net::Fd fd, SocketAddress address, Engine& engine,
                         const Site& site, TcpLimits limits)
    : loop_(loop),
      fd_(std::move(fd)),
      address_(address),
      engine_(engine),
      site_(site),
      limits_(limits),
      reply_(max_message_bytes) {}

TcpListener::~TcpListener() {
  for (const auto& connection : connections_) connection->detach();
}

void TcpListener::start() {
  watch_ = loop_.watch(fd_.get(), EPOLLIN, [this](uint32_t) { accept(); });
}

void TcpListener::accept() {
  for (int i = 0; i < max_accepts; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    net::Fd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
      watch_.set_events(0);
      pause_ = loop_.after(accept_pause, [this] { watch_.set_events(EPOLLIN); });
      return;
    }
    if (connections_.size() >= limits_.connections) close(*connections_.front());
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_shared<Connection>(*this, std::move(fd), net::from_raw(peer));
    connections_.push_back(connection);
    connection->place = std::prev(connections_.end());
    connection->start();
  }
}

void TcpListener::touch(Connection& connection) {
  connections_.splice(connections_.end(), connections_, connection.place);
}

void TcpListener::close(Connection& connection) {
  const auto place = connection.place;
  const auto kept = *place;  // freed at the end of this function at the earliest
  connection.detach();
  connections_.erase(place);
}

}  // namespace fairlead::dns
