// The userspace driver: the kernel hands new flows to Services over to a thread of this process,
// which connects to a backend and carries the bytes. For kernels and hosts whose firewall nobody
// may touch. docs/userspace.md says what it serves and what it cannot do.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/nftables/runner.h"
#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/forwarding.h"
#include "dataplane/userspace/local_routes.h"
#include "net/conntrack.h"

namespace fairlead::dataplane {

struct UserspaceOptions {
  uint32_t max_captured = 131072;  // addresses with a port; as many VIPs
  userspace::ForwardingLimits limits;
  Duration drain = std::chrono::seconds(2);  // that connections have to end before the driver does
};

// Acts in the network namespace in which the thread is at start(). The log's sink and the registry
// outlive the driver. Its destruction waits for connections to end, `drain` at most, then ends
// every flow and takes the VIPs' routes away: without the process nobody serves them. start()
// removes the routes of a run that was killed.
std::unique_ptr<Driver> make_userspace_driver(const UserspaceOptions& options, const Log& log,
                                              Registry& registry);

// The outside of the driver, for tests. Without `rules` and `conntrack` open connections are not
// made ready for a mode that translates.
struct UserspaceDoors {
  std::unique_ptr<userspace::Capture> capture;
  std::unique_ptr<userspace::LocalRoutes> routes;
  std::unique_ptr<const Clock> clock;
  std::unique_ptr<NftRunner> rules = nullptr;
  std::unique_ptr<net::Conntrack> conntrack = nullptr;
};
std::unique_ptr<Driver> make_userspace_driver(const UserspaceOptions& options, const Log& log,
                                              Registry& registry, UserspaceDoors doors);

}  // namespace fairlead::dataplane
