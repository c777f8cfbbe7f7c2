// One client, one node, one server in network namespaces of their own, and what new flows between
// them cost. Used by one program, one lab per way of balancing.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/ip.h"
#include "bench/dataplane/must.h"
#include "net/fd.h"
#include "net/netns.h"

namespace fairlead::bench {

// What is measured of each request; all but `ticks` in nanoseconds. One request at a time, each
// from a socket, and so a port, of its own.
enum class Measure : uint8_t {
  whole,     // a TCP connection: made, a byte there and back, closed by RST
  connect,   // of that, connect() alone: the first packet there and its answer
  datagram,  // UDP: connect(), the first datagram there and its answer back
  ticks,     // time stamp counter from one connection to the next, closed by FIN from both sides
};

// 10.1.0.2 (client) - 10.1.0.1 (node) 10.2.0.1 - 10.2.0.2:8080 (server, TCP and UDP).
class ConnectionLab {
 public:
  // `cgroup`: the folder that the client joins, or "".
  ConnectionLab(const std::string& name, const std::string& cgroup);
  ~ConnectionLab();
  ConnectionLab(const ConnectionLab&) = delete;
  ConnectionLab& operator=(const ConnectionLab&) = delete;

  template <class Body>
  void in_node(Body body) {
    const auto scope = must(net::NetnsScope::enter(node_));
    body();
  }

  // One value for each of `count` requests.
  std::vector<double> samples(const SocketAddress& to, Measure measure, uint32_t count);
  // TCP connections per second, for about that long.
  double rate(const SocketAddress& to, int duration_ms);

 private:
  struct Order;

  void link(const net::Netns& far, const std::string& name, uint32_t number);
  void start_servers();
  void start_client(const std::string& cgroup);
  std::vector<double> carry_out(const Order& order);

  const std::string prefix_;
  const net::Netns node_, client_, server_;
  std::vector<pid_t> children_;
  net::Fd order_pipe_, answer_pipe_;
};

}  // namespace fairlead::bench
