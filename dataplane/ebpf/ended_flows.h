// Connections to our Services that the kernel's connection tracker has translated, for a mode or a
// program before this one, and that have ended. The tracker remembers them for up to two minutes.
// A new connection from the same port to the same backend, translated at its socket, would have its
// answers turned back into the Service's address, which nobody waits for.
#pragma once

#include <cstddef>
#include <set>

#include "base/log.h"
#include "base/result.h"
#include "dataplane/service_table.h"
#include "net/conntrack.h"
#include "net/event_loop.h"

namespace fairlead::dataplane::ebpf {

struct ForgottenFlows {
  size_t forgotten = 0;
  size_t open = 0;  // that go on and will be remembered when they end, or changed meanwhile
  friend bool operator==(const ForgottenFlows&, const ForgottenFlows&) = default;
};

// Forgets the translated TCP connections to one of `dialled` that have ended. One pass over the
// tracker's table, and two requests for each: a new connection on the ports of an ended one stays,
// unless it begins between those two.
Result<ForgottenFlows> forget_ended(net::Conntrack& tracker,
                                    const std::set<SocketAddress>& dialled);

// Does so at the loop's next turn and again, less and less often, until no such connection is left.
// On the loop's thread; tracker, loop and the log's sink outlive it.
class EndedFlows {
 public:
  EndedFlows(net::Conntrack& tracker, net::EventLoop& loop, const Log& log)
      : tracker_(tracker), loop_(loop), log_(log) {}

  // The Services of this table are ours within this turn of the loop: the tracker translates no new
  // connection to them, whichever ports it has.
  void begin(const ServiceTable& table);
  void stop();

 private:
  void look();

  net::Conntrack& tracker_;
  net::EventLoop& loop_;
  const Log log_;
  std::set<SocketAddress> dialled_;
  Duration wait_{};
  net::Timer timer_;
};

}  // namespace fairlead::dataplane::ebpf
