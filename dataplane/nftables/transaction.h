// Transaction: the commands that turn one state of the table into another, in an order that the
// kernel accepts: chains first, then deletions, then additions, unused chains last.
#pragma once

#include <map>
#include <set>
#include <string>

#include "dataplane/nftables/layout.h"

namespace fairlead::dataplane::nft {

class Transaction {
 public:
  explicit Transaction(const Layout& layout) : layout_(layout) {}

  // nullptr: the row is not there. Sends only the slots that differ.
  void change_row(const RowKey& key, const Row* from, const Row* to);
  void add_hairpin(const Ip& ip) { add_hairpin_element(additions_, ip); }
  void remove_hairpin(const Ip& ip) { add_hairpin_element(deletions_, ip); }

  // The chain is made unless `existing` has it; then `existing` has it.
  void need_chain(const ChainKey& key, std::set<ChainKey>& existing);
  void delete_chain(const ChainKey& key);

  bool empty() const { return writes_ == 0; }
  size_t writes() const { return writes_; }  // elements and chains
  std::string commands() const;

 private:
  using Elements = std::map<std::string, std::string>;  // set or map -> "a : b, c : d"

  void add_element(Elements& to, const std::string& set, const std::string& element);
  void add_hairpin_element(Elements& to, const Ip& ip);
  void change_slot(const RowKey& key, size_t slot, const Row* from, const Row* to);

  const Layout& layout_;
  std::string chains_;
  Elements deletions_;
  Elements additions_;
  std::string chain_deletions_;
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::nft
