// Transaction: the commands that turn one state of the table into another, in an order that the
// kernel accepts: chains first, then deletions, then additions, unused chains last.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/nftables/element_lists.h"
#include "dataplane/nftables/layout.h"

namespace fairlead::dataplane::nft {

inline constexpr size_t max_stage_lists = 4;

class Transaction {
 public:
  explicit Transaction(const Layout& layout) : layout_(layout) {}

  // nullptr: the row is not there. Sends only what differs.
  void change_row(const RowKey& key, const Row* from, const Row* to);
  // `value` is empty for sets.
  void add(const std::string& set, const std::string& key, const std::string& value = "");
  void remove(const std::string& set, const std::string& key);

  // The chain is made unless `existing` has it; then `existing` has it.
  void need_chain(const ChainKey& key, std::set<ChainKey>& existing);
  void need_chains(const RowKey& key, const Row& row, std::set<ChainKey>& existing);
  void delete_chain(const ChainKey& key);

  bool empty() const { return writes() == 0; }
  // Elements and chains.
  size_t writes() const { return chain_writes_ + deletions_.size() + additions_.size(); }
  std::string commands() const;

  // The same in several transactions, for a table that serves nobody yet: libnftables needs 2 kB of
  // memory for each element of one. What packets find first comes last. `head` goes in front of the
  // first. REQUIRES: nothing is deleted.
  std::vector<std::string> stages(const std::string& head) const;

 private:
  void change_slot(const RowKey& key, size_t slot, const Row* from, const Row* to);
  void change_goto(const std::string& map, const std::string& element, const std::string& from,
                   const std::string& to);
  void change_ranges(const RowKey& key, const Row* from, const Row* to);

  const Layout& layout_;
  std::string chains_;
  ElementLists deletions_, additions_;
  std::string chain_deletions_;
  size_t chain_writes_ = 0;
};

// Every element that a row is in the kernel; `value` is "goto x", a backend, or "".
using ElementVisitor =
    std::function<void(const std::string& set, const std::string& key, const std::string& value)>;
void for_each_element(const RowKey& key, const Row& row, const ElementVisitor& visit);

}  // namespace fairlead::dataplane::nft
