// Forwarder: the thread that carries the flows, with its loop, its sockets and everything on it.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "base/log.h"
#include "dataplane/userspace/forwarding.h"
#include "net/fd.h"

namespace fairlead::dataplane::userspace {

class TcpForwarder;

// Its sockets, also those made later, are in the namespace in which start() was called. Ends all
// flows with its destruction.
class Forwarder {
 public:
  // `clock` and the registry of `metrics` outlive it.
  static Result<std::unique_ptr<Forwarder>> start(const ForwardingLimits& limits,
                                                  const Clock& clock, ForwardingMetrics& metrics,
                                                  const Log& log);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  int tcp_listener() const { return tcp_.get(); }
  int udp_socket() const { return udp_.get(); }

  // Thread-safe. New flows follow the table from now on.
  void publish(std::shared_ptr<const RoutingTable> table) { table_.store(std::move(table)); }
  // Flows under way, TCP and UDP; TCP alone. Thread-safe.
  size_t flows() const;
  size_t open_connections() const;
  // The TCP connections under way, as the forwarding thread answers: the caller waits for it.
  CarriedConnections connections();

 private:
  Forwarder(const ForwardingLimits& limits, const Clock& clock, ForwardingMetrics& metrics);
  void run();

  ForwardingLimits limits_;
  const Clock& clock_;
  ForwardingMetrics& metrics_;
  PublishedTable table_;
  net::Fd tcp_, udp_;
  net::EventLoop loop_;
  TcpForwarder* tcp_forwarder_ = nullptr;  // of the thread, and touched only there
  std::thread thread_;
};

}  // namespace fairlead::dataplane::userspace
