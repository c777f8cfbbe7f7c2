// Handover: open connections live on when another mode's translation begins, and ended ones stand
// in nobody's way. Nobody tracked them, because nothing here needs it. Picked up in the middle an
// open one would be new to the tracker, and be translated: the backend knows nothing of it and
// resets it. The other way round, one whose end the tracker did not see, because it was not at work
// then, is open to it for days: a client that takes the same port again would not be translated.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "dataplane/nftables/runner.h"
#include "dataplane/userspace/forwarding.h"
#include "net/conntrack.h"

namespace fairlead::dataplane::userspace {

// Acts in the network namespace of the first call. Belongs to the driver's thread.
class Handover {
 public:
  // The table of family inet that keeps the tracker at work; what is in it translates nothing.
  static constexpr std::string_view table = "fairlead-userspace";

  // Each may be null: then its half of the work is not done.
  Handover(std::unique_ptr<NftRunner> rules, std::unique_ptr<net::Conntrack> conntrack)
      : rules_(std::move(rules)), conntrack_(std::move(conntrack)) {}

  // From now on the tracker sees every connection begin.
  Result<void> track();
  // It knows these, too: as established and untranslated, whatever it took their ports for. Returns
  // how many it had not known so.
  Result<size_t> adopt(std::span<const ConnectionSide> connections);
  // Whether an address is one that this mode serves, and the connections of clients that it
  // carries.
  using Serves = std::function<bool(const SocketAddress&)>;
  using Connections = std::function<std::vector<ConnectionSide>()>;
  // Forgets the connections to served addresses that nobody translates and nobody carries, whatever
  // the tracker says of them, unless they are opening. `connections` is called when the tracker has
  // been read, so that none is missing that it had seen open. With `translated` those, too, that it
  // has translated and seen end: as long as no other mode acts, they are of one before this.
  // Returns how many were forgotten.
  Result<size_t> forget_ended(const Serves& serves, const Connections& connections,
                              bool translated);
  // Others keep the tracker at work, or nobody needs it. Also takes away what a run that was killed
  // left; where there is no nf_tables there is nothing.
  Result<void> end();

 private:
  std::unique_ptr<NftRunner> rules_;
  std::unique_ptr<net::Conntrack> conntrack_;
};

}  // namespace fairlead::dataplane::userspace
