#include "dataplane/nftables/desired.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::nft {

const Row* Desired::row(const RowKey& key) const {
  const auto row = rows_.find(key);
  return row == rows_.end() ? nullptr : &row->second;
}

void Desired::count_chains(const RowKey& key, const Row& row, bool more) {
  const auto count = [&](const ChainKey& chain) {
    if (is_fixed(chain)) return;
    size_t& users = users_[chain];
    users = more ? users + 1 : users - 1;
    if (users == 0) users_.erase(chain);
  };
  count(chain_of(key, row));
  if (row.affinity.timeout_s != 0) count(remember_chain_of(key, row));
}

void Desired::set_row(const RowKey& key, std::optional<Row> row) {
  if (const auto old = rows_.find(key); old != rows_.end()) {
    count_chains(key, old->second, false);
    if (!row) rows_.erase(old);
  }
  if (!row) return;
  count_chains(key, *row, true);
  rows_.insert_or_assign(key, std::move(*row));
}

bool Desired::set_ip(const std::string& set, const std::string& key, bool present) {
  return present ? ips_[set].insert(key).second : ips_[set].erase(key) != 0;
}

void Desired::for_each(const Layout& layout, const ElementVisitor& visit) const {
  for (const auto& [set, elements] : layout.fixed_elements()) {
    for (const std::string& element : elements) visit(set, element, "");
  }
  for (const auto& [set, elements] : ips_) {
    for (const std::string& element : elements) visit(set, element, "");
  }
  for (const auto& [key, row] : rows_) for_each_element(key, row, visit);
}

std::vector<Difference> differences(const Desired& desired, const Layout& layout, NftTable table) {
  std::vector<Difference> out;
  desired.for_each(layout,
                   [&](const std::string& set, const std::string& key, const std::string& value) {
                     NftSet& held = table.sets[set];
                     const auto element = held.find(key);
                     if (element == held.end()) {
                       out.push_back({set, key, std::nullopt, value});
                       return;
                     }
                     if (element->second != value)
                       out.push_back({set, key, element->second, value});
                     held.erase(element);
                   });
  for (const auto& [set, elements] : table.sets) {
    for (const auto& [key, value] : elements) out.push_back({set, key, value, std::nullopt});
  }
  std::sort(out.begin(), out.end());
  return out;
}

namespace {

std::map<std::string, size_t> rules_in(const std::string& commands) {
  std::map<std::string, size_t> count;
  for (const std::string_view line : split(commands, '\n')) {
    const auto words = split(line, ' ');  // add rule inet TABLE CHAIN ...
    if (words.size() > 4 && words[1] == "chain") count[std::string(words[4])];
    if (words.size() > 4 && words[1] == "rule") ++count[std::string(words[4])];
  }
  return count;
}

}  // namespace

std::vector<std::string> rule_differences(const NftTable& table, const Layout& layout) {
  if (!table.chains.contains(layout.label())) return {"the table was made with other settings"};
  std::string commands = layout.replace_commands();
  for (const ChainKey& key : chains_in(table)) append(commands, layout.chain_commands(key));
  std::vector<std::string> out;
  const auto wanted = rules_in(commands);
  for (const auto& [chain, count] : wanted) {
    const auto held = table.chains.find(chain);
    if (held == table.chains.end()) {
      out.push_back(cat("chain ", chain, " is missing"));
    } else if (held->second != count) {
      out.push_back(cat("chain ", chain, " has ", held->second, " rules instead of ", count));
    }
  }
  for (const auto& [chain, count] : table.chains) {
    if (!wanted.contains(chain)) out.push_back(cat("chain ", chain, " is foreign"));
  }
  for (const auto& [set, elements] : table.sets) {
    if (commands.find(cat(" ", set, " {")) == commands.npos) {
      out.push_back(cat("set ", set, " is foreign"));
    }
  }
  return out;
}

std::set<ChainKey> chains_in(const NftTable& table) {
  std::set<ChainKey> out;
  for (const auto& [name, rules] : table.chains) {
    const auto key = parse_chain_name(name);
    if (key && !is_fixed(*key)) out.insert(*key);
  }
  return out;
}

}  // namespace fairlead::dataplane::nft
