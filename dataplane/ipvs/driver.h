// The IPVS driver: the kernel's virtual server balances, a dummy interface holds the service
// addresses, and an nf_tables table of sets refuses, drops and masquerades. docs/ipvs.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/ipvs/virtual_service.h"
#include "net/conntrack.h"
#include "net/event_loop.h"

namespace fairlead::dataplane {

class NftRunner;

struct IpvsOptions {
  std::string scheduler = "rr";  // ipvs::check_scheduler(); Maglev rules have mh
  bool strict_arp = false;       // other interfaces do not answer for service addresses
  std::string device = "kube-ipvs0";
  std::string table = "fairlead-ipvs";  // family inet; everything in it is ours
  uint32_t masquerade_mark = 0x4000;    // one bit of the packet mark (kube-proxy's bit 14)
  ipvs::Timeouts timeouts;              // of connections; for the whole namespace
  // How often a destination that has left is looked at, until its last connection has ended.
  Duration drain_interval = std::chrono::seconds(15);
};

// Acts in the network namespace in which the thread is at start(). Belongs to `loop`, which like
// the log's sink and the registry outlives it. IPVS services of others are left alone.
std::unique_ptr<Driver> make_ipvs_driver(IpvsOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry);

namespace ipvs {
class Table;
class Host;
}  // namespace ipvs

// The same over any kernel: fake ones in tests. Without `conntrack` stale flows stay.
struct IpvsDoors {
  std::unique_ptr<ipvs::Table> table;
  std::unique_ptr<ipvs::Host> host;
  std::unique_ptr<NftRunner> rules;
  std::unique_ptr<net::Conntrack> conntrack = nullptr;
};
std::unique_ptr<Driver> make_ipvs_driver(IpvsOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry, IpvsDoors doors);

}  // namespace fairlead::dataplane
