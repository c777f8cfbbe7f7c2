#include "dataplane/iptables/removal.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {

bool has_our_canary(const SavedRules& kernel) {
  const uint64_t ours = rules_digest({canary_rule()});
  return std::any_of(std::begin(all_tables), std::end(all_tables), [&](Table table) {
    const SavedChain* chain = kernel.find(table, canary_name);
    return chain != nullptr && chain->digest == ours;
  });
}

void remove_chains(std::vector<std::pair<Table, std::string>> chains, size_t writes_at_once,
                   Removal& inputs) {
  std::stable_sort(chains.begin(), chains.end(), [](const auto& a, const auto& b) {
    return rank_of(a.second) < rank_of(b.second);
  });
  int last = 0;
  for (const auto& [table, chain] : chains) {
    const int rank = rank_of(chain);
    // Chains of the ranks at both ends go together, whatever their number, which is small.
    const bool may_split = rank != last || (rank != 0 && rank != last_rank);
    if (inputs.empty() || (may_split && inputs.back().writes() >= writes_at_once)) {
      inputs.emplace_back();
    }
    inputs.back().remove(table, chain);
    last = rank;
  }
}

namespace {

template <class Keep>
Removal removal(const SavedRules& kernel, size_t writes_at_once, Keep keeps) {
  Removal inputs(1);
  for (const Jump& jump : kernel.jumps) {
    if (!keeps(target_of(jump.rule))) inputs.back().erase(jump.table, jump.chain, jump.rule);
  }
  std::vector<std::pair<Table, std::string>> chains;
  for (const Table table : all_tables) {
    for (const auto& [name, chain] : kernel.chains[static_cast<size_t>(table)]) {
      if (!keeps(name)) chains.emplace_back(table, name);
    }
  }
  remove_chains(std::move(chains), writes_at_once, inputs);
  if (inputs.back().empty()) inputs.pop_back();
  return inputs;
}

}  // namespace

Removal removal_of(const SavedRules& kernel, size_t writes_at_once) {
  return removal(kernel, writes_at_once, [](std::string_view) { return false; });
}

// The kernel tracks connections only while a rule asks for it, also one that is never reached.
Removal retirement_of(const SavedRules& kernel, size_t writes_at_once) {
  Removal inputs = removal(kernel, writes_at_once, [](std::string_view name) {
    return name == canary_name || name == localnet_name;
  });
  if (kernel.find(Table::nat, canary_name) == nullptr) return inputs;
  if (inputs.empty()) inputs.emplace_back();
  inputs.front().write(
      {Table::nat,
       std::string(canary_name),
       {canary_rule(), cat("-m conntrack --ctstate RELATED,ESTABLISHED ",
                           comment("keeps open connections tracked"), "-j RETURN")}});
  return inputs;
}

}  // namespace fairlead::dataplane::ipt
