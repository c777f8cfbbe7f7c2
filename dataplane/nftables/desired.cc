#include "dataplane/nftables/desired.h"

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
  Comparison comparison(std::move(table));
  desired.for_each(layout, [&](const std::string& set, const std::string& key,
                               const std::string& value) { comparison.want(set, key, value); });
  return comparison.finish();
}

std::vector<std::string> rule_differences(const NftTable& table, const Layout& layout) {
  std::string commands = layout.replace_commands();
  for (const ChainKey& key : chains_in(table)) append(commands, layout.chain_commands(key));
  return rule_differences(table, layout.label(), commands);
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
