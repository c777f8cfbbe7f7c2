// DNS over TCP (RFC 7766): length-prefixed messages, pipelined, answered in any order.
#pragma once

#include <list>
#include <memory>

#include "base/ip.h"
#include "base/result.h"
#include "dns/engine.h"
#include "net/event_loop.h"
#include "net/fd.h"

namespace fairlead::dns {

struct TcpLimits {
  size_t connections = 1000;         // of one listener; past it the longest idle one is closed
  size_t pipelined = 100;            // requests of one connection that wait for upstreams
  size_t request_bytes = 4096;       // a longer one closes the connection
  size_t unsent_bytes = 256 * 1024;  // replies that the peer does not take; then reading stops
  Duration idle = std::chrono::seconds(10);
};

// Belongs to its loop. The engine and the site must outlive it.
class TcpListener {
 public:
  static Result<std::unique_ptr<TcpListener>> open(net::EventLoop& loop,
                                                   const SocketAddress& address, Engine& engine,
                                                   const Site& site, TcpLimits limits = {});
  ~TcpListener();

  const SocketAddress& address() const { return address_; }
  void start();  // on the loop's thread
  size_t connections() const { return connections_.size(); }

 private:
  class Connection;
  TcpListener(net::EventLoop& loop, net::Fd fd, SocketAddress address, Engine& engine,
              const Site& site, TcpLimits limits);
  void accept();
  void touch(Connection& connection);  // it is now the one idle for the shortest time
  void close(Connection& connection);

  net::EventLoop& loop_;
  net::Fd fd_;
  SocketAddress address_;
  Engine& engine_;
  const Site& site_;
  const TcpLimits limits_;
  std::list<std::shared_ptr<Connection>> connections_;  // longest idle first
  std::vector<uint8_t> reply_;                          // scratch of one reply
  net::Watch watch_;
  net::Timer pause_;  // no descriptors left: try again later
};

}  // namespace fairlead::dns
