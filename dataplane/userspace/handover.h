// Handover: open connections live on when another mode's translation begins, and ended ones stand
// in nobody's way. Nobody tracked them, because nothing here needs it. Picked up in the middle an
// open one would be new to the tracker, and be translated: the backend knows nothing of it and
// resets it. The other way round, one whose end the tracker did not see, because it was not at work
// then, is open to it for days: a client that takes the same port again would not be translated.
#pragma once

#include <functional>
#include <memory>

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

  // Whether an address is one that this mode serves, and what is carried at the moment of the call.
  using Serves = std::function<bool(const SocketAddress&)>;
  using Carried = std::function<CarriedConnections()>;

  struct Begun {
    size_t forgotten = 0;  // connections that had ended
    size_t adopted = 0;    // open ones that the tracker had not known as such
  };
  // From now on the tracker sees every connection begin, and knows those that are carried as
  // established and untranslated, both sides, whatever it took their ports for. First it forgets
  // what has ended; also what it has translated itself, which is of a mode before this one.
  Result<Begun> begin(const Serves& serves, const Carried& carried);

  // Forgets the connections to served addresses that nobody translates and nobody carries, whatever
  // the tracker says of them, unless they are opening. Those that it translates are another mode's
  // by now. Returns how many were forgotten.
  Result<size_t> forget_ended(const Serves& serves, const Carried& carried);

  // Others keep the tracker at work, or nobody needs it. Also takes away what a run that was killed
  // left; where there is no nf_tables there is nothing.
  Result<void> end();

 private:
  enum class Translated { stay, go };

  Result<size_t> forget(const Serves& serves, const Carried& carried, Translated translated);
  Result<size_t> adopt(const CarriedConnections& connections);
  Result<void> track();

  std::unique_ptr<NftRunner> rules_;
  std::unique_ptr<net::Conntrack> conntrack_;
};

}  // namespace fairlead::dataplane::userspace
