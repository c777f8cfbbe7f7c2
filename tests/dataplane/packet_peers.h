// Both ends of test traffic: a server that says who it is and whom it sees, and a client that says
// what came of one try.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/ip.h"
#include "net/fd.h"

namespace fairlead::dataplane {

// Answers on one port, TCP and UDP, IPv4 and IPv6, in the namespace of the thread that constructs
// it: "NAME SOURCE-ADDRESS". A connection then echoes until its end. Has a thread of its own.
class Responder {
 public:
  // `sctp`: addresses for SCTP, where the kernel has it. A server on all of them would name each to
  // its clients, who would try them past every translation.
  Responder(std::string name, uint16_t port, const std::vector<Ip>& sctp = {});
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

 private:
  void serve();

  const std::string name_;
  net::Fd tcp_, udp_, stop_;
  std::vector<net::Fd> sctp_;
  std::thread thread_;
};

// One connection or datagram from `source` (unspecified: the kernel chooses): what the responder
// said, or "refused", "timeout", "error: ...".
std::string ask(const Ip& source, const SocketAddress& to, Protocol protocol, int timeout_ms);
// From this port too; 0: the kernel chooses.
std::string ask_from(const SocketAddress& source, const SocketAddress& to, Protocol protocol,
                     int timeout_ms);

// A TCP connection that stays.
class Conversation {
 public:
  // From `source`, unless the kernel chooses.
  explicit Conversation(const SocketAddress& to, const SocketAddress& source = {});
  const std::string& greeting() const { return greeting_; }
  // Sends `text` and returns what came back, or "error: ...".
  std::string say(const std::string& text);

 private:
  net::Fd fd_;
  std::string greeting_;
};

}  // namespace fairlead::dataplane
