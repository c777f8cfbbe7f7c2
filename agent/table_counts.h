// Totals over a ServiceTable that are kept up to date for the cost of what changed.
#pragma once

#include <map>
#include <set>

#include "dataplane/service_table.h"

namespace fairlead::agent {

struct Counts {
  size_t backends = 0;
  size_t rules_v4 = 0, rules_v6 = 0;
  // Rules with a Local policy that endpoints elsewhere could serve, and none here.
  size_t no_local_internal = 0, no_local_external = 0;

  void add(const Counts& other);
  void subtract(const Counts& other);
  friend bool operator==(const Counts&, const Counts&) = default;
};

Counts count(const dataplane::ServiceEntry& entry);

class TableCounts {
 public:
  void replace(const dataplane::ServiceTable& table);
  void update(const dataplane::ServiceTable& table, const std::set<api::ObjectKey>& changed);
  const Counts& total() const { return total_; }

 private:
  std::map<api::ObjectKey, Counts> entries_;
  Counts total_;
};

}  // namespace fairlead::agent
