// A flow as a connection tracker remembers it: a value that net/ reads from the kernel and
// dataplane/ judges.
#pragma once

#include <compare>
#include <cstdint>

#include "base/ip.h"

namespace fairlead {

// How far a TCP connection has come. Other flows are open as long as they are known.
enum class FlowStage : uint8_t {
  opening,  // the two sides have not agreed yet
  open,
  ended,  // both sides closed it, or one has reset it
};

struct TrackedFlow {
  Protocol protocol = Protocol::udp;
  SocketAddress source;             // who began
  SocketAddress destination;        // whom it dialled, before any translation
  SocketAddress reply_source;       // who answers: the backend when the flow was translated
  SocketAddress reply_destination;  // whom the answers go to: the node when it was masqueraded
  uint16_t zone = 0;                // linux: conntrack zone of the original direction
  FlowStage stage = FlowStage::open;

  bool translated() const { return reply_source != destination; }
  // Sent on from another port, since somebody else's flow to the same place has that one.
  bool port_changed() const {
    return reply_destination.ip == source.ip && reply_destination.port != source.port;
  }
  friend auto operator<=>(const TrackedFlow&, const TrackedFlow&) = default;
};

}  // namespace fairlead
