// A flow as a connection tracker remembers it: a value that net/ reads from the kernel and
// dataplane/ judges.
#pragma once

#include <compare>
#include <cstdint>

#include "base/ip.h"

namespace fairlead {

struct TrackedFlow {
  Protocol protocol = Protocol::udp;
  SocketAddress source;             // who began
  SocketAddress destination;        // whom it dialled, before any translation
  SocketAddress reply_source;       // who answers: the backend when the flow was translated
  SocketAddress reply_destination;  // whom the answers go to: the node when it was masqueraded
  uint16_t zone = 0;                // linux: conntrack zone of the original direction
  bool ended = false;               // a TCP connection that both sides closed, or that was reset
  friend auto operator<=>(const TrackedFlow&, const TrackedFlow&) = default;
};

}  // namespace fairlead
