// One UDP socket of one worker: requests in batches, replies in batches, each from the address
// that was asked.
#pragma once

#include <memory>

#include "base/ip.h"
#include "base/result.h"
#include "dns/engine.h"
#include "net/event_loop.h"
#include "net/fd.h"

namespace fairlead::dns {

// Belongs to its loop. The engine and the site must outlive it; replies that are under way
// (Origin::defer) must be destroyed before it.
class UdpListener {
 public:
  static Result<std::unique_ptr<UdpListener>> open(net::EventLoop& loop,
                                                   const SocketAddress& address, Engine& engine,
                                                   const Site& site);
  ~UdpListener();

  const SocketAddress& address() const { return address_; }
  // Begins to receive. On the loop's thread.
  void start();

 private:
  struct Batch;
  struct Message;
  class Late;
  UdpListener(net::EventLoop& loop, net::Fd fd, SocketAddress address, Engine& engine,
              const Site& site);
  bool receive();  // true when there may be more
  void send(size_t count);

  net::EventLoop& loop_;
  net::Fd fd_;
  SocketAddress address_;
  Engine& engine_;
  const Site& site_;
  bool wildcard_;  // bound to every address: replies need IP_PKTINFO
  std::unique_ptr<Batch> batch_;
  net::Watch watch_;
};

}  // namespace fairlead::dns
