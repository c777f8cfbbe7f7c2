#include "ingress/upstream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/text.h"
#include "net/socket.h"

namespace fairlead::ingress {
namespace {

constexpr Duration bad_for = std::chrono::seconds(1);

bool is_closed_by_peer(int fd) {
  char byte;
  const ssize_t got = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

}  // namespace

Upstream::Upstream(UpstreamPool& pool, const SocketAddress& address, net::Fd fd)
    : pool_(pool), address_(address), text_(address.to_string()), fd_(std::move(fd)) {
  pool_.metrics_.upstream_connections.add(1);
  pool_.metrics_.upstream_opened.add();
}

Upstream::~Upstream() { pool_.metrics_.upstream_connections.add(-1); }

int Upstream::finish_connect() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) connecting_ = false;
  return error;
}

void Upstream::set_events(uint32_t epoll_events) {
  if (watch_) {
    if (events_ != epoll_events) watch_.set_events(epoll_events);
  } else if (epoll_events != 0) {
    watch_ =
        pool_.loop_.watch(fd_.get(), epoll_events, [this](uint32_t events) { on_event(events); });
  }
  events_ = epoll_events;
}

void Upstream::mute() {
  watch_.reset();
  events_ = 0;
}

void Upstream::on_event(uint32_t events) {
  if (user_ != nullptr) {
    user_->on_upstream(events);
  } else {
    pool_.drop_idle(*this);  // closed, or bytes that nobody asked for
  }
}

void Upstream::on_deadline() { pool_.drop_idle(*this); }

UpstreamPool::UpstreamPool(net::EventLoop& loop, TimerWheel& wheel, RequestMetrics& metrics,
                           const Limits& limits)
    : loop_(loop), wheel_(wheel), metrics_(metrics), limits_(limits) {}

UpstreamPool::~UpstreamPool() = default;

std::unique_ptr<Upstream> UpstreamPool::take_idle(const SocketAddress& address, UpstreamUser& user,
                                                  bool verify) {
  const auto found = endpoints_.find(address);
  if (found == endpoints_.end()) return nullptr;
  auto& idle = found->second.idle;
  while (!idle.empty()) {
    std::unique_ptr<Upstream> upstream = std::move(idle.back());
    idle.pop_back();
    --idle_;
    if (verify && is_closed_by_peer(upstream->fd())) continue;
    upstream->user_ = &user;
    upstream->reused_ = true;
    return upstream;
  }
  return nullptr;
}

Result<std::unique_ptr<Upstream>> UpstreamPool::connect(const SocketAddress& address,
                                                        UpstreamUser& user) {
  FL_TRY(net::Fd fd, net::start_connect(address));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (limits_.socket_buffer_bytes > 0) {
    const int bytes = limits_.socket_buffer_bytes;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  auto upstream = std::unique_ptr<Upstream>(new Upstream(*this, address, std::move(fd)));
  upstream->user_ = &user;
  upstream->set_events(EPOLLOUT);
  return upstream;
}

void UpstreamPool::give(std::unique_ptr<Upstream> upstream) {
  auto& idle = endpoints_[upstream->address()].idle;
  if (idle.size() >= limits_.idle_per_endpoint) return;
  upstream->user_ = nullptr;
  upstream->set_events(EPOLLIN);
  wheel_.set(*upstream, loop_.now() + limits_.upstream_idle_timeout);
  idle.push_back(std::move(upstream));
  ++idle_;
}

// May be called by the connection itself, which ends here.
void UpstreamPool::drop_idle(Upstream& upstream) {
  if (upstream.user_ != nullptr) return;  // the deadline of an idle time that has ended
  const SocketAddress address = upstream.address();
  auto& idle = endpoints_[address].idle;
  const auto found = std::find_if(idle.begin(), idle.end(),
                                  [&](const auto& entry) { return entry.get() == &upstream; });
  CHECK(found != idle.end());
  idle.erase(found);
  --idle_;
  forget_if_unused(address);
}

void UpstreamPool::forget_if_unused(const SocketAddress& address) {
  const auto found = endpoints_.find(address);
  if (found == endpoints_.end() || !found->second.idle.empty()) return;
  if (found->second.bad_until <= loop_.now()) endpoints_.erase(found);
}

void UpstreamPool::close_idle() {
  endpoints_.clear();
  idle_ = 0;
}

void UpstreamPool::mark_bad(const SocketAddress& address) {
  last_bad_until_ = endpoints_[address].bad_until = loop_.now() + bad_for;
}

bool UpstreamPool::is_bad(const SocketAddress& address) const {
  if (last_bad_until_ <= loop_.now()) return false;
  const auto found = endpoints_.find(address);
  return found != endpoints_.end() && found->second.bad_until > loop_.now();
}

const SocketAddress* EndpointPicker::pick(uint32_t backend_id,
                                          const std::vector<SocketAddress>& endpoints,
                                          std::span<const SocketAddress> tried,
                                          const UpstreamPool& pool, uint64_t random) {
  if (backend_id >= next_.size()) next_.resize(backend_id + size_t{1});
  uint64_t& next = next_[backend_id];
  // Workers start at different places, or few requests would all meet the first endpoint.
  if (next == 0) next = 1 + random % 65536;
  const uint64_t start = next++;
  const SocketAddress* last_resort = nullptr;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const SocketAddress& candidate = endpoints[(start + i) % endpoints.size()];
    if (std::find(tried.begin(), tried.end(), candidate) != tried.end()) continue;
    if (!pool.is_bad(candidate)) return &candidate;
    if (last_resort == nullptr) last_resort = &candidate;
  }
  return last_resort;
}

}  // namespace fairlead::ingress
