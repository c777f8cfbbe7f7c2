// The nftables driver: one table of our own, flat maps keyed by address, protocol and port.
// docs/decisions/0003-nftables-flat-maps.md explains the shape; docs/nftables.md what it serves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "net/conntrack.h"

namespace fairlead::dataplane {

struct NftablesOptions {
  std::string table = "fairlead";     // family inet; everything in it is ours
  uint32_t masquerade_mark = 0x4000;  // one bit of the packet mark (kube-proxy's bit 14)
  // Drop forwarded TCP packets that connection tracking finds invalid: passed on untranslated, a
  // backend's late segment makes the client reset its connection. Not for asymmetric routes.
  bool drop_invalid = false;
};

// Acts in the network namespace in which the thread is at start(). The log's sink and the registry
// outlive the driver. One apply() is one kernel transaction: all of it or nothing. A transaction
// that fails leaves the kernel as it was; the next apply() or retry() reads the kernel back and
// sends the difference. apply() with `full` also compares with the kernel, so it repairs what
// others did to the table.
std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry);

class NftRunner;

// The same over any runner (a fake one in tests). Both are owned by the driver; without `conntrack`
// stale flows stay.
std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry, std::unique_ptr<NftRunner> runner,
                                             std::unique_ptr<net::Conntrack> conntrack = nullptr);

}  // namespace fairlead::dataplane
