#include "dataplane/userspace/tcp_forwarder.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "dataplane/userspace/sockets.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr int most_per_turn = 64;
constexpr int most_turns = 128;  // that many times fill the longest backlog
// Without file descriptors or memory: connections that end make room.
constexpr Duration accept_pause = std::chrono::milliseconds(50);

bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

TcpForwarder::TcpForwarder(const Forwarding& with, int listener)
    : with_(with), listener_(listener) {
  watch_ = with_.loop.watch(listener, EPOLLIN, [this](uint32_t) { accept_some(); });
}

CarriedConnections TcpForwarder::connections() {
  per_turn_ = most_per_turn;
  for (int i = 0; i < most_turns && accept_some(); ++i) continue;
  CarriedConnections out;
  for (const TcpConnection& one : connections_) {
    out.clients.push_back(one.from());
    if (const auto side = one.to_backend()) out.backends.push_back(*side);
  }
  return out;
}

// One at a time as long as they come one by one: to ask in vain is a system call, too.
bool TcpForwarder::accept_some() {
  for (int i = 0; i < per_turn_; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    net::Fd client(::accept4(listener_, reinterpret_cast<sockaddr*>(&peer), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client) {
      take(std::move(client), net::from_raw(peer));
      continue;
    }
    if (errno == EAGAIN) {
      per_turn_ = 1;
      return false;
    }
    if (!is_shortage(errno)) continue;  // this connection has gone already
    with_.metrics.refused_limit.add();
    watch_.set_events(0);
    pause_ = with_.loop.after(accept_pause, [this] { watch_.set_events(EPOLLIN); });
    return false;
  }
  per_turn_ = std::min(2 * per_turn_, most_per_turn);
  return true;
}

void TcpForwarder::take(net::Fd client, const SocketAddress& source) {
  with_.metrics.accepted.add();
  const auto dialled = net::local_address(client.get());
  const auto refuse = [&](Counter& why) {
    why.add();
    reset_on_close(client);
  };
  if (!dialled || connections_.size() >= with_.limits.max_connections) {
    return refuse(with_.metrics.refused_limit);
  }
  const auto table = with_.table.load();
  const Choice choice = choose_route(*table, source.ip, {*dialled, Protocol::tcp});
  if (choice.backends.empty()) return refuse(with_.metrics.refused_policy);
  TcpConnection::Start start{
      std::move(client), {source, *dialled}, choice.route->rule, choice.backends};
  const auto place = connections_.emplace(connections_.end(), with_, pipes_, std::move(start));
  place->begin([this, place] { connections_.erase(place); });
}

}  // namespace fairlead::dataplane::userspace
