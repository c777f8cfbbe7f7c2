// Desired: what the table shall hold, slots included; and what of it the kernel lacks.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "dataplane/nftables/comparison.h"
#include "dataplane/nftables/transaction.h"

namespace fairlead::dataplane::nft {

class Desired {
 public:
  const RowMap& rows() const { return rows_; }
  const Row* row(const RowKey& key) const;
  void set_row(const RowKey& key, std::optional<Row> row);

  // Elements of sets of addresses: hairpin and cluster-ips. Returns whether that is a change.
  bool set_ip(const std::string& set, const std::string& key, bool present);
  void clear_ips() { ips_.clear(); }
  const std::map<std::string, std::unordered_set<std::string>>& ips() const { return ips_; }

  // The chains that some row uses, without the fixed ones.
  bool uses(const ChainKey& key) const { return users_.contains(key); }
  const std::map<ChainKey, size_t>& chains() const { return users_; }

  // Every element, with those of the layout's own sets.
  void for_each(const Layout& layout, const ElementVisitor& visit) const;

 private:
  void count_chains(const RowKey& key, const Row& row, bool more);

  RowMap rows_;
  std::map<std::string, std::unordered_set<std::string>> ips_;
  std::map<ChainKey, size_t> users_;
};

// In the order of set and key.
std::vector<Difference> differences(const Desired& desired, const Layout& layout, NftTable table);

// Of base chains, rules and settings, with the chains of rows that the table has.
std::vector<std::string> rule_differences(const NftTable& table, const Layout& layout);

// The chains of rows that the table has.
std::set<ChainKey> chains_in(const NftTable& table);

}  // namespace fairlead::dataplane::nft
