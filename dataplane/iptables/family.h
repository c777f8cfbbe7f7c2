// Family: the rules of one address family, kept equal to a table.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "dataplane/driver.h"
#include "dataplane/iptables/removal.h"
#include "dataplane/iptables/restorer.h"
#include "dataplane/iptables/wanted.h"

namespace fairlead::dataplane::ipt {

// The runner and the restorer outlive it, like the log's sink and each table that plan() is given.
class Family {
 public:
  Family(bool ipv6, IptablesRunner& runner, Restorer& restorer, const Log& log)
      : ipv6_(ipv6), runner_(runner), restorer_(restorer), log_(log) {}

  // Reads what an earlier run has left, for the first reconcile().
  Result<void> find();
  bool has_found(Table table, std::string_view chain) const {
    return found_ && found_->find(table, chain) != nullptr;
  }

  // What the rules shall be. From then on it is not in sync, until reconcile() has succeeded.
  void plan(const ServiceTable& table, const Style& style);
  // From `before`, the table of the last plan() or change(), to `after`; they differ in `keys`. A
  // change that is refused takes it out of sync.
  void change(const ServiceTable& before, const ServiceTable& after,
              const std::set<api::ObjectKey>& keys, ApplyReport& report);
  // Reads everything and sends the difference. `table` is that of the last plan() or change(), as
  // for those below. What fails is in the report. REQUIRES: planned.
  void reconcile(const ServiceTable& table, ApplyReport& report);
  Result<void> verify(const ServiceTable& table, bool repair, std::vector<Drift>& drifts);

  bool in_sync() const { return in_sync_; }
  void doubt() { in_sync_ = false; }
  // This host cannot do this family, and nobody needs it.
  bool is_absent() const { return absent_; }
  // Whether somebody has emptied a table since it was written.
  Result<bool> was_flushed(Table table) const;

  // What there is to be taken away, and then taking it away; between them it is not in sync. Rules
  // without a canary of ours stay, if `only_ours`.
  Result<SavedRules> removable(bool only_ours);
  Result<void> send(const Removal& inputs);

  // "iptables -t nat -A ..." lines of the Service; nothing before the first plan().
  void list_entries(const ServiceTable& table, const api::ObjectKey& service,
                    std::vector<std::string>& out) const;
  std::string dump() const;
  std::string_view name() const { return ipv6_ ? "IPv6" : "IPv4"; }

 private:
  Result<SavedRules> read_kernel();
  // A family that was there once is there: then an error is one.
  bool is_needed() const { return !ipv6_ || works_ || (wanted_ && wanted_->has_services()); }

  const bool ipv6_;
  IptablesRunner& runner_;
  Restorer& restorer_;
  const Log log_;
  std::optional<Wanted> wanted_;  // from the first plan() on
  bool in_sync_ = false;
  bool works_ = false;               // the rules could be read
  bool absent_ = false;              // they could not, at the last try, and nobody needs them
  std::optional<SavedRules> found_;  // by find(), for the next reconcile()
};

}  // namespace fairlead::dataplane::ipt
