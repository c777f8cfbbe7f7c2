// The door to upstream servers: one whole message there, one back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "net/event_loop.h"

namespace fairlead::dns {

// One upstream. Belongs to one loop.
class Exchange {
 public:
  using Done = std::function<void(Result<std::string> reply)>;
  virtual ~Exchange() = default;
  // `done` runs once, later, from the loop; never after the Exchange is destroyed.
  virtual void ask(std::string_view wire_query, Done done) = 0;
};

using ExchangeFactory =
    std::function<std::unique_ptr<Exchange>(const SocketAddress& upstream, bool force_tcp)>;

// Over net::Resolver: UDP, TCP when the answer was truncated or `force_tcp`.
ExchangeFactory resolver_exchanges(net::EventLoop& loop);

}  // namespace fairlead::dns
