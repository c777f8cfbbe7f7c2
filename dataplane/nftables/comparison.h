// A table that was read back against what it shall hold: elements by their content; rules, chains
// and sets by what the commands that made the table say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/driver.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::nft {

// One element that the kernel holds otherwise than it shall. An empty optional: it is not there.
struct Difference {
  std::string set, key;
  std::optional<std::string> held, wanted;
  friend auto operator<=>(const Difference&, const Difference&) = default;
};

class Comparison {
 public:
  explicit Comparison(NftTable held) : held_(std::move(held)) {}

  // `value` is "" in sets. Each element once.
  void want(const std::string& set, const std::string& key, const std::string& value);
  // What was not wanted differs, too. In the order of set and key. Called once, at the end.
  std::vector<Difference> finish();

 private:
  NftTable held_;
  std::vector<Difference> out_;
};

// The name of an empty chain that tells a later run what made the table: `version` is raised with
// every change of the program's rules, `commands` say everything that depends on settings.
std::string layout_label(int version, std::string_view commands);
// The label that is there, of any version; "" when there is none.
std::string label_in(const NftTable& held);
// Whether rules alone need to be made again: the table is of this version, and its sets are ours.
bool keeps_sets(const NftTable& held, int version, const std::string& commands);

// A sentence for each chain with another number of rules than `commands` give it, for each foreign
// chain and set, and for each set that was made again with other types.
std::vector<std::string> rule_differences(const NftTable& held, const std::string& label,
                                          const std::string& commands);

// Commands that delete the chains which `commands` do not make. Their rules must be gone already.
std::string delete_other_chains(const NftTable& held, const std::string& commands,
                                std::string_view table);

// What is looked up in a set of address . protocol . port . source range.
std::string source_expression(bool ipv6);

std::string hex(uint32_t value);  // "0x4000", as commands have marks

// Removes the table, whether it is there or not.
std::string remove_table_commands(std::string_view table);

inline constexpr size_t max_drifts = 1000;  // named one by one; then their number

// What verify() says.
std::vector<Drift> drifts_of(const std::vector<std::string>& rules,
                             const std::vector<Difference>& elements, const std::string& owner);
// The kernel does not keep who changed what: whoever else has tables is the first to ask.
std::string likely_owner(NftRunner& runner, const std::string& table);

}  // namespace fairlead::dataplane::nft
