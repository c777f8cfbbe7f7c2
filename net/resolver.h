// Names to addresses, and whole DNS messages to upstream servers and back, on c-ares.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "net/event_loop.h"

namespace fairlead::net {

// Belongs to one loop. Destruction drops what is pending without calling back; it is allowed inside
// a callback. Callbacks never run inside resolve() or query_raw(), always later from the loop.
class Resolver {
 public:
  struct Options {
    std::vector<SocketAddress> servers;          // empty: those of /etc/resolv.conf
    Duration timeout = std::chrono::seconds(2);  // of one try; c-ares lengthens it for later tries
    int tries = 3;                               // per server
    bool force_tcp = false;
    bool rotate = false;  // spread queries over the servers instead of preferring the first
  };
  static constexpr size_t max_message_bytes = 65'535;  // RFC 1035 4.2.2

  using Addresses = std::function<void(Result<std::vector<Ip>> addresses)>;
  using Answer = std::function<void(Result<std::string> wire_answer)>;

  // Faulty options (no usable server) show up as the error of every query.
  explicit Resolver(EventLoop& loop);
  Resolver(EventLoop& loop, Options options);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // A name, an IP literal, or an entry of /etc/hosts ("localhost"). Never an empty list.
  void resolve(std::string_view host, Addresses callback);

  // A whole DNS message of 12 to max_message_bytes bytes. The answer is the upstream's message as
  // it came, any rcode, with the id of the question. Over UDP first; a truncated answer is asked
  // for again over TCP. On the wire the id is random (RFC 5452 section 4.3).
  void query_raw(std::string_view wire_query, Answer callback);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::net
