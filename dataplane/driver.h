// Driver: makes the kernel equal to a ServiceTable. One door per proxy mode.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "dataplane/service_table.h"
#include "net/event_loop.h"

namespace fairlead::dataplane {

struct ApplyReport {
  size_t services_changed = 0;
  size_t writes = 0;                // kernel map writes or rules sent
  std::vector<std::string> errors;  // what the kernel still lacks, and why; empty: in sync
  std::vector<std::string> unsupported = {};  // what this mode never serves; no retry helps
  bool ok() const { return errors.empty(); }
};

// Belongs to the feed loop. Constructing one touches nothing; start() takes over what the kernel
// already holds (an earlier run's state) so that open connections go on.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual std::string_view mode() const = 0;  // "ebpf", "nftables"
  virtual Result<void> start() = 0;
  // `changed` names the entries that differ from the last table that was applied; everything is
  // compared when `full`. Writes that fail are kept and tried again by the next apply().
  virtual ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                            bool full) = 0;
  virtual ApplyReport retry() { return {}; }  // pending failed writes only
  virtual std::string dump() const = 0;       // what the kernel holds, read back
  virtual Result<void> cleanup() = 0;         // removes everything it ever made
};

}  // namespace fairlead::dataplane
