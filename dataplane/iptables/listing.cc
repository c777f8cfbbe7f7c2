#include "dataplane/iptables/listing.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
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
    mine =
        entries_.shared.contains({*shared, normal_form(rule->text),
                                  name_of(*shared) == rule->chain ? "" : std::string(rule->chain)});
  }
  if (!mine) return;
  out_.push_back(cat(ipv6_ ? "ip6tables" : "iptables", " -t ", to_string(table), " -A ",
                     rule->chain, " ", rule->text));
}

}  // namespace fairlead::dataplane::ipt
