// RestoreInput: one input of `iptables-restore --noflush --counters`. Chains that it does not name
// stay as they are, and so do their counters.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/iptables/layout.h"

namespace fairlead::dataplane::ipt {

class RestoreInput {
 public:
  // Makes the chain, or empties it, and gives it these rules.
  void write(const Chain& chain);
  void remove(Table table, const std::string& chain);

  // Single rules of chains that stand. Erasures come first, whatever the order of the calls, so
  // that a rule may move: a table is committed as a whole.
  void prepend(Table table, std::string_view chain, std::string_view rule);
  void append_rule(Table table, std::string_view chain, std::string_view rule);
  void erase(Table table, std::string_view chain, std::string_view rule);

  bool empty() const;
  size_t writes() const { return writes_; }  // rules and removed chains
  size_t writes(Table table) const { return part(table).count; }
  std::string text() const;

 private:
  struct Part {
    std::string chains, rules, erasures, removals;
    size_t count = 0;
  };
  const Part& part(Table table) const { return parts_[static_cast<size_t>(table)]; }
  Part& count(Table table);

  Part parts_[3];
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::ipt
