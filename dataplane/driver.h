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
  bool ok() const { return errors.empty(); }
};

// One thing that the kernel holds and the table does not say, or the other way round.
struct Drift {
  std::string what;   // "frontend 10.96.0.1:80/TCP is missing"
  std::string owner;  // who probably did it: "another user of nft"; "": nobody is known
  bool repaired = false;
  friend bool operator==(const Drift&, const Drift&) = default;
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

  // Reads the kernel back, compares it with what was applied last and, when `repair`, puts it
  // right. Nothing else may change meanwhile: it runs on the feed loop, too.
  virtual Result<std::vector<Drift>> verify(bool repair);

  // The kernel entries that serve this Service, one line each as the mode's own tool would print
  // them: for `explain`. Empty: none.
  virtual std::vector<std::string> kernel_entries(const api::ObjectKey& service) const;

  // Another driver is about to be put in place beside this one, and its rules act at once: what
  // must stand before they do. Then follows retire(), or stay() when nothing came of it.
  virtual Result<void> prepare_retire(std::string_view successor) {
    static_cast<void>(successor);
    return {};
  }
  virtual void stay() {}

  // Another driver has taken over: no new flow is taken any more, those that are there go on. Then
  // cleanup() once drained(). Where the kernel's own connection tracking carries the flows, as by
  // default here, that is at once.
  virtual Result<void> retire() { return cleanup(); }
  virtual bool drained() const { return true; }
};

}  // namespace fairlead::dataplane
