// What the kernel holds, read back.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>

#include "base/result.h"
#include "dataplane/nftables/layout.h"

namespace fairlead::dataplane::nft {

struct KernelState {
  RowMap rows;
  std::unordered_set<Ip> hairpin;
  std::set<ChainKey> chains;            // those of rows, without the fixed ones
  std::string label;                    // Layout::label() of the run that made the table
  std::map<std::string, size_t> rules;  // how many, by chain
};

// `json` is what NftRunner::list_table() gave. An error says what is not as any fairlead leaves it:
// such a table cannot be taken over and is replaced.
Result<KernelState> parse_kernel_state(std::string_view json);

// Whether the rules are those that `layout` makes, by label and by number of rules per chain. A
// sentence when they are not.
std::optional<std::string> rules_differ(const KernelState& state, const Layout& layout);

}  // namespace fairlead::dataplane::nft
