// Wanted: what one family's rules shall be, kept as the table changes, and the difference between
// two tables as an input of iptables-restore: work proportional to the change.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/driver.h"
#include "dataplane/iptables/layout.h"
#include "dataplane/iptables/restore_input.h"
#include "dataplane/iptables/saved_rules.h"

namespace fairlead::dataplane::ipt {

class Wanted {
 public:
  explicit Wanted(Layout layout) : layout_(std::move(layout)) {}

  // Everything from the table.
  void reset(const ServiceTable& table);

  // From `before`, which is what the last reset() or change() left, to `after`; they differ in
  // `keys`. Returns what must be sent.
  RestoreInput change(const ServiceTable& before, const ServiceTable& after,
                      const std::set<api::ObjectKey>& keys);

  struct Difference {
    // Make the kernel's rules these, one after the other; mostly one. Chains of Services come first
    // and what leads to them last, so that no packet finds half of them.
    std::vector<RestoreInput> inputs;
    std::vector<Drift> drifts;  // the same for people
  };
  // What the kernel holds against the table, which is that of the last reset() or change(). An
  // input ends with the Service that fills it to so many writes.
  Difference difference(const ServiceTable& table, const SavedRules& kernel,
                        size_t writes_at_once = SIZE_MAX) const;

  // The texts of the rules of one Service: own chains, and its rules in the shared ones.
  struct Entries {
    std::set<std::string> chains;
    std::set<SharedRule> shared;
  };
  Entries entries(const ServiceTable& table, const api::ObjectKey& key) const;

  bool has_services() const { return !claims_.empty(); }
  const Layout& layout() const { return layout_; }

 private:
  std::vector<SharedRule> rules_of(const ServiceTable& table, const FrontendKey& frontend) const;
  std::vector<SharedRule> guards() const;
  std::vector<Cidr> cluster_prefixes() const;
  bool has_ports(const PortRange& range) const;
  void change_ports(const std::map<PortRange, bool>& before, std::set<std::string>& gone,
                    RestoreInput& input) const;
  void claim(const api::ObjectKey& key, const FrontendKey& frontend);
  void unclaim(const api::ObjectKey& key, const FrontendKey& frontend);

  Layout layout_;
  // Who wants which frontend; the Service that sorts first has it.
  std::map<FrontendKey, std::vector<api::ObjectKey>> claims_;
  std::set<Ip> stray_cluster_ips_;  // those outside NodeConfig::service_cidrs
};

}  // namespace fairlead::dataplane::ipt
