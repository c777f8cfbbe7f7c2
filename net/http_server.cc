#include "net/http_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <unordered_map>

#include "base/text.h"
#include "net/http_connection.h"
#include "net/socket.h"

namespace fairlead::net {
namespace {

// A bound socket with what its connections need. Removes its unix socket file when it goes.
struct Listener {
  Fd fd;
  std::shared_ptr<const TlsContext> tls;
  Watch watch;
  Timer resume;
  std::string unix_path;
  ino_t unix_inode = 0;

  ~Listener() {
    // A successor may have put its own socket there.
    struct stat info{};
    if (!unix_path.empty() && ::lstat(unix_path.c_str(), &info) == 0 && info.st_ino == unix_inode) {
      ::unlink(unix_path.c_str());
    }
  }
};

}  // namespace

struct HttpServer::Impl final : ConnectionOwner {
  Impl(EventLoop& event_loop, Log logger, Handler the_handler, Options the_options)
      : loop_(event_loop),
        log_(std::move(logger)),
        handler_(std::move(the_handler)),
        options_(the_options) {}

  EventLoop& loop() override { return loop_; }
  const Options& options() const override { return options_; }
  const Handler& handler() const override { return handler_; }

  std::string_view date() override {
    if (date_.empty() || loop_.now() - date_made_ >= std::chrono::seconds(1)) {
      date_made_ = loop_.now();
      date_ = http_date(std::chrono::system_clock::now());
    }
    return date_;
  }

  // A connection retires inside its own callbacks: it is freed from the loop.
  void retire(ServerConnection& connection) override {
    const auto found = connections_.find(&connection);
    retired_.push_back(std::move(found->second));
    connections_.erase(found);
    if (!reaper_) reaper_ = loop_.after(Duration::zero(), [this] { retired_.clear(); });
  }

  void add_listener(std::unique_ptr<Listener> listener) {
    Listener* raw = listener.get();
    raw->watch = loop_.watch(raw->fd.get(), EPOLLIN, [this, raw](uint32_t) { accept_all(*raw); });
    listeners_.push_back(std::move(listener));
  }

  void accept_all(Listener& listener) {
    constexpr int max_per_turn = 64;
    for (int i = 0; i < max_per_turn; ++i) {
      Fd fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) pause(listener, errno);
        return;
      }
      if (connections_.size() >= options_.max_connections) {
        turn_away(fd, listener);
        continue;
      }
      auto connection = std::make_unique<ServerConnection>(*this, std::move(fd), listener.tls);
      ServerConnection* key = connection.get();
      connections_.emplace(key, std::move(connection));
    }
  }

  // Out of descriptors or memory: the listener stays readable, so it must not be asked at once.
  void pause(Listener& listener, int error) {
    log_.warn("cannot accept connections for a moment", {{"error", errno_text(error)}});
    listener.watch.set_events(0);
    listener.resume = loop_.after(std::chrono::milliseconds(100),
                                  [raw = &listener] { raw->watch.set_events(EPOLLIN); });
  }

  void turn_away(const Fd& fd, const Listener& listener) {
    if (loop_.now() - turned_away_logged_ >= std::chrono::seconds(10)) {
      turned_away_logged_ = loop_.now();
      log_.warn("turning connections away", {{"max_connections", options_.max_connections}});
    }
    static constexpr std::string_view busy =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (!listener.tls) {
      [[maybe_unused]] const ssize_t sent =
          ::send(fd.get(), busy.data(), busy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  }

  EventLoop& loop_;
  Log log_;
  Handler handler_;
  Options options_;
  std::string date_;
  MonoTime date_made_;
  MonoTime turned_away_logged_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
  std::vector<std::unique_ptr<ServerConnection>> retired_;
  Timer reaper_;
};

HttpServer::HttpServer(EventLoop& loop, Log log, Handler handler)
    : HttpServer(loop, std::move(log), std::move(handler), Options{}) {}

HttpServer::HttpServer(EventLoop& loop, Log log, Handler handler, Options options)
    : impl_(std::make_unique<Impl>(loop, std::move(log), std::move(handler), options)) {}

HttpServer::~HttpServer() = default;

Result<SocketAddress> HttpServer::listen(const SocketAddress& address,
                                         std::shared_ptr<const TlsContext> tls) {
  auto listener = std::make_unique<Listener>();
  FL_TRY(listener->fd, listen_tcp(address));
  FL_TRY(const SocketAddress bound, local_address(listener->fd.get()));
  listener->tls = std::move(tls);
  impl_->add_listener(std::move(listener));
  return bound;
}

Result<void> HttpServer::listen_unix(const std::string& path, int mode) {
  auto listener = std::make_unique<Listener>();
  FL_TRY(listener->fd, net::listen_unix(path, mode));
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) {
    listener->unix_path = path;
    listener->unix_inode = info.st_ino;
  }
  impl_->add_listener(std::move(listener));
  return {};
}

size_t HttpServer::connections() const { return impl_->connections_.size(); }

}  // namespace fairlead::net
