// TcpForwarder: accepts captured connections and gives each a backend.
#pragma once

#include <list>

#include "dataplane/userspace/forwarding.h"
#include "dataplane/userspace/tcp_connection.h"

namespace fairlead::dataplane::userspace {

// Belongs to the loop of `with`. `listener` stays open and is the caller's.
class TcpForwarder {
 public:
  TcpForwarder(const Forwarding& with, int listener);
  TcpForwarder(const TcpForwarder&) = delete;
  TcpForwarder& operator=(const TcpForwarder&) = delete;

  // Those that are carried, with those that wait to be accepted until now.
  CarriedConnections connections();

 private:
  bool accept_some();  // whether more may wait
  void take(net::Fd client, const SocketAddress& source);

  const Forwarding& with_;
  const int listener_;
  PipePool pipes_;
  std::list<TcpConnection> connections_;
  int per_turn_ = 1;
  net::Timer pause_;
  net::Watch watch_;
};

}  // namespace fairlead::dataplane::userspace
