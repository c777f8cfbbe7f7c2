// Restorer: sends inputs to the kernel, and counts them under kube-proxy's names and ours.
#pragma once

#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/iptables/restore_input.h"
#include "dataplane/iptables/runner.h"

namespace fairlead::dataplane::ipt {

// `runner` and the registry outlive it.
class Restorer {
 public:
  Restorer(IptablesRunner& runner, Registry& registry);

  // Adds to the report's writes what the kernel took.
  Result<void> send(bool ipv6, const RestoreInput& input, ApplyReport& report);
  // The same for a change of what stands: counted apart, as what is refused leads to a comparison
  // of everything.
  Result<void> send_change(bool ipv6, const RestoreInput& input, ApplyReport& report);
  void saw_flush() { flushes_.add(); }

 private:
  IptablesRunner& runner_;
  Counter& restores_;
  Counter& bytes_;
  Counter& failures_;
  Counter& partial_failures_;
  Counter& flushes_;
  Histogram& seconds_;
  Gauge& filter_rules_;
  Gauge& nat_rules_;
};

}  // namespace fairlead::dataplane::ipt
