// The iptables driver: kube-proxy's chains and rules, written chain by chain.
// docs/iptables.md shows them and says what a change costs.
#pragma once

#include <cstdint>
#include <memory>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/iptables/runner.h"
#include "net/conntrack.h"
#include "net/event_loop.h"

namespace fairlead::dataplane {

struct IptablesOptions {
  IptablesVariant variant = IptablesVariant::automatic;
  uint32_t masquerade_mark = 0x4000;  // one bit of the packet mark (kube-proxy's bit 14)
  bool tcp_be_liberal = false;        // packets that conntrack calls INVALID are not dropped
  // Rules are written in another style (Style::brief, Style::tree) for larger clusters.
  size_t brief_above = 1000;                           // endpoints
  size_t tree_above = 100;                             // Services
  Duration canary_interval = std::chrono::seconds(5);  // between two looks for a flush
  RunnerLimits limits;
};

// Acts in the network namespace of the thread that calls it: the loop's. apply() waits for its
// child processes: one iptables-restore for each family that changed, and after a failure one
// iptables-save and one iptables-restore more, each bounded by `limits`. A change that is refused
// leads to a full comparison with the kernel at once; if that fails, too, to retry(). Every
// canary_interval one child looks whether a table was flushed. The log's sink, the registry and the
// loop outlive the driver.
std::unique_ptr<Driver> make_iptables_driver(IptablesOptions options, net::EventLoop& loop,
                                             const Log& log, Registry& registry);

// The same over any runner (a fake one in tests). Both are owned by the driver; without `conntrack`
// stale flows stay.
std::unique_ptr<Driver> make_iptables_driver(IptablesOptions options, net::EventLoop& loop,
                                             const Log& log, Registry& registry,
                                             std::unique_ptr<IptablesRunner> runner,
                                             std::unique_ptr<net::Conntrack> conntrack = nullptr);

}  // namespace fairlead::dataplane
