// SavedRules: what iptables-save says, as far as it concerns us. Input from outside: whoever may
// change the rules of this machine chooses it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/iptables/layout.h"

namespace fairlead::dataplane::ipt {

// A rule in a form in which equal rules are equal texts: options sorted, `-m` and defaults left
// out, probabilities rounded. Versions and variants of iptables print them in several ways.
std::string normal_form(std::string_view rule);

// Of the normal forms, in order. 64 bits: 10^5 chains meet by chance once in 10^9 tables.
uint64_t rules_digest(const std::vector<std::string>& rules);

struct SavedChain {
  uint64_t digest = 0;  // as rules_digest()
  uint32_t count = 0;
  std::vector<std::string> rules;  // as printed; empty for the chains of one Service port
};

struct SavedRules {
  // Chains of ours, by name.
  std::map<std::string, SavedChain, std::less<>> chains[3];
  // Rules in other chains that lead to ours, in their order.
  std::vector<Jump> jumps;

  const SavedChain* find(Table table, std::string_view name) const;
  bool empty() const;
};

// Takes iptables-save's output (or iptables-nft-save's) line by line.
class SavedRulesReader {
 public:
  static constexpr size_t max_line_bytes = 16 * 1024;
  static constexpr size_t max_rules = 8'000'000;

  // `line` without its end.
  Result<void> line(std::string_view line);
  // REQUIRES: every line succeeded. Fails when the output stops inside a table.
  Result<SavedRules> finish();

 private:
  Result<void> rule(std::string_view line);

  SavedRules saved_;
  bool inside_ = false, known_ = false;  // in a table; in one of ours
  Table table_ = Table::filter;
  size_t rules_ = 0;
};

// The word after "-j " or "-g "; "" when the rule has none.
std::string_view target_of(std::string_view rule);

}  // namespace fairlead::dataplane::ipt
