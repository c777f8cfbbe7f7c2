// Connections to endpoints, and the idle ones kept for the next request. Per worker: no locks.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "ingress/client_stream.h"
#include "ingress/limits.h"
#include "ingress/request_metrics.h"
#include "ingress/timer_wheel.h"
#include "net/event_loop.h"
#include "net/fd.h"

namespace fairlead::ingress {

class UpstreamPool;

// Who uses a connection now. The callback may give it back or discard it.
class UpstreamUser {
 public:
  virtual ~UpstreamUser() = default;
  virtual void on_upstream(uint32_t epoll_events) = 0;
};

class Upstream final : public Deadline {
 public:
  ~Upstream() override;

  const SocketAddress& address() const { return address_; }
  const std::string& address_text() const { return text_; }
  int fd() const { return fd_.get(); }
  bool connecting() const { return connecting_; }
  bool reused() const { return reused_; }

  // After the first event of a connecting one: 0, or the errno of the failure.
  int finish_connect();
  void set_events(uint32_t epoll_events);
  void mute();  // no more events, not even EPOLLHUP, until the next set_events()

  void on_deadline() override;  // idle for too long

 private:
  friend class UpstreamPool;
  Upstream(UpstreamPool& pool, const SocketAddress& address, net::Fd fd);
  void on_event(uint32_t events);

  UpstreamPool& pool_;
  SocketAddress address_;
  std::string text_;
  net::Fd fd_;
  net::Watch watch_;
  uint32_t events_ = 0;
  bool connecting_ = true;
  bool reused_ = false;
  UpstreamUser* user_ = nullptr;  // null: idle in the pool
};

class UpstreamPool {
 public:
  UpstreamPool(net::EventLoop& loop, TimerWheel& wheel, RequestMetrics& metrics,
               const Limits& limits);
  ~UpstreamPool();

  // The idle connection that was used last, or null. `verify`: look whether the peer has closed it
  // (one system call), for requests that must not be sent twice.
  std::unique_ptr<Upstream> take_idle(const SocketAddress& address, UpstreamUser& user,
                                      bool verify);
  Result<std::unique_ptr<Upstream>> connect(const SocketAddress& address, UpstreamUser& user);
  // After a response that ended in order.
  void give(std::unique_ptr<Upstream> upstream);

  // An endpoint that refused is asked last for a second.
  void mark_bad(const SocketAddress& address);
  bool is_bad(const SocketAddress& address) const;

  size_t idle() const { return idle_; }
  void close_idle();

 private:
  friend class Upstream;
  struct Hash {
    size_t operator()(const SocketAddress& address) const {
      return std::hash<Ip>{}(address.ip) * 31 + address.port;
    }
  };
  struct Endpoint {
    std::vector<std::unique_ptr<Upstream>> idle;
    MonoTime bad_until{};
  };
  void drop_idle(Upstream& upstream);
  void forget_if_unused(const SocketAddress& address);

  net::EventLoop& loop_;
  TimerWheel& wheel_;
  RequestMetrics& metrics_;
  Limits limits_;
  std::unordered_map<SocketAddress, Endpoint, Hash> endpoints_;
  MonoTime last_bad_until_{};
  size_t idle_ = 0;
};

// Round robin over the endpoints of each backend, per worker.
class EndpointPicker {
 public:
  // Null when every endpoint is in `tried`.
  const SocketAddress* pick(uint32_t backend_id, const std::vector<SocketAddress>& endpoints,
                            std::span<const SocketAddress> tried, const UpstreamPool& pool,
                            uint64_t random);

 private:
  std::vector<uint64_t> next_;  // by backend id; 0: not used yet
};

}  // namespace fairlead::ingress
