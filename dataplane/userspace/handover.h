// Handover: open connections live on when another mode's translation begins. Nobody tracked them,
// because nothing here needs it; picked up in the middle they would be new to the tracker, and be
// translated: the backend knows nothing of them and resets them.
#pragma once

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
  // It knows these, too: as established, and as they are. Returns how many it had not known.
  Result<size_t> adopt(std::span<const ClientConnection> connections);
  // Others keep the tracker at work, or nobody needs it. Also takes away what a run that was killed
  // left; where there is no nf_tables there is nothing.
  Result<void> end();

 private:
  std::unique_ptr<NftRunner> rules_;
  std::unique_ptr<net::Conntrack> conntrack_;
};

}  // namespace fairlead::dataplane::userspace
