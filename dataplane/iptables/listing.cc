#include "dataplane/iptables/listing.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
namespace {

std::optional<Shared> shared_chain(Table table, std::string_view name) {
  for (const Shared chain : all_shared) {
    if (table_of(chain) == table && name_of(chain) == name) return chain;
  }
  return std::nullopt;
}

}  // namespace

std::optional<RuleLines::Rule> RuleLines::line(std::string_view line) {
  if (line.starts_with("*")) {
    known_ = false;
    for (const Table table : all_tables) {
      if (to_string(table) != line.substr(1)) continue;
      table_ = table;
      known_ = true;
    }
  }
  if (!known_ || !line.starts_with("-A ")) return std::nullopt;
  line.remove_prefix(3);
  const size_t end = std::min(line.find(' '), line.size());
  return Rule{line.substr(0, end), line.substr(std::min(end + 1, line.size()))};
}

void Listing::line(std::string_view line) {
  const auto rule = lines_.line(line);
  if (!rule) return;
  const Table table = lines_.table();
  if (is_service_chain(rule->chain) || shared_chain(table, rule->chain)) {
    chains_[{table, std::string(rule->chain)}].emplace_back(rule->text);
  }
}

std::string Listing::text(bool ipv6) const {
  std::string out;
  std::optional<Table> last;
  for (const auto& [where, rules] : chains_) {
    const auto& [table, chain] = where;
    if (last != table) append(out, cat("*", to_string(table), ipv6 ? " IPv6\n" : " IPv4\n"));
    last = table;
    std::vector<std::string> sorted = rules;
    if (shared_chain(table, chain)) std::sort(sorted.begin(), sorted.end());
    for (const std::string& rule : sorted) append(out, cat("-A ", chain, " ", rule, "\n"));
  }
  return out;
}

void EntryLister::line(std::string_view line) {
  const auto rule = lines_.line(line);
  if (!rule) return;
  const Table table = lines_.table();
  bool mine = table == Table::nat && entries_.chains.contains(std::string(rule->chain));
  if (const auto shared = shared_chain(table, rule->chain); shared && !mine) {
    mine = entries_.shared.contains({*shared, normal_form(rule->text)});
  }
  if (!mine) return;
  out_.push_back(cat(ipv6_ ? "ip6tables" : "iptables", " -t ", to_string(table), " -A ",
                     rule->chain, " ", rule->text));
}

bool has_our_canary(const SavedRules& kernel) {
  const uint64_t ours = rules_digest({canary_rule()});
  return std::any_of(std::begin(all_tables), std::end(all_tables), [&](Table table) {
    const SavedChain* chain = kernel.find(table, canary_name);
    return chain != nullptr && chain->digest == ours;
  });
}

namespace {

template <class Keep>
RestoreInput removal(const SavedRules& kernel, Keep keeps) {
  RestoreInput input;
  for (const Jump& jump : kernel.jumps) {
    if (!keeps(target_of(jump.rule))) input.erase(jump.table, jump.chain, jump.rule);
  }
  for (const Table table : all_tables) {
    for (const auto& [name, chain] : kernel.chains[static_cast<size_t>(table)]) {
      if (!keeps(name)) input.remove(table, name);
    }
  }
  return input;
}

}  // namespace

RestoreInput removal_of(const SavedRules& kernel) {
  return removal(kernel, [](std::string_view) { return false; });
}

// The kernel tracks connections only while a rule asks for it, also one that is never reached.
RestoreInput retirement_of(const SavedRules& kernel) {
  RestoreInput input = removal(
      kernel, [](std::string_view name) { return name == canary_name || name == localnet_name; });
  if (kernel.find(Table::nat, canary_name) == nullptr) return input;
  input.write({Table::nat,
               std::string(canary_name),
               {canary_rule(), cat("-m conntrack --ctstate RELATED,ESTABLISHED ",
                                   comment("keeps open connections tracked"), "-j RETURN")}});
  return input;
}

}  // namespace fairlead::dataplane::ipt
