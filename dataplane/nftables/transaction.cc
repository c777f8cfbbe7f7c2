#include "dataplane/nftables/transaction.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::nft {

void Transaction::add_element(Elements& to, const std::string& set, const std::string& element) {
  std::string& list = to[set];
  if (!list.empty()) append(list, ", ");
  append(list, element);
  ++writes_;
}

void Transaction::add_hairpin_element(Elements& to, const Ip& ip) {
  const std::string text = ip.to_string();
  add_element(to, hairpin_set(!ip.is_v4()), cat(text, " . ", text));
}

// The value of an element cannot be changed in place: it is deleted and added again, which is one
// step for packets, because the transaction is.
void Transaction::change_slot(const RowKey& key, size_t slot, const Row* from, const Row* to) {
  const bool had = from != nullptr && slot < from->slots.size();
  const bool has = to != nullptr && slot < to->slots.size();
  if (had && has && from->slots[slot] == to->slots[slot]) return;
  const std::string map = backends_map(key.protocol, !key.ip.is_v4());
  const std::string element = backends_key(key, slot);
  if (had) add_element(deletions_, map, element);
  if (has) add_element(additions_, map, cat(element, " : ", backends_value(to->slots[slot])));
}

void Transaction::change_row(const RowKey& key, const Row* from, const Row* to) {
  const std::string old_chain = from == nullptr ? "" : chain_name(chain_of(key, *from));
  const std::string new_chain = to == nullptr ? "" : chain_name(chain_of(key, *to));
  if (old_chain != new_chain) {
    const std::string element = services_key(key);
    if (from != nullptr) add_element(deletions_, services_map(key), element);
    if (to != nullptr) {
      add_element(additions_, services_map(key), cat(element, " : goto ", new_chain));
    }
  }
  const size_t slots =
      std::max(from == nullptr ? 0 : from->slots.size(), to == nullptr ? 0 : to->slots.size());
  for (size_t slot = 0; slot < slots; ++slot) change_slot(key, slot, from, to);
}

void Transaction::need_chain(const ChainKey& key, std::set<ChainKey>& existing) {
  if (key.count == 0 || !existing.insert(key).second) return;
  append(chains_, layout_.chain_commands(key));
  ++writes_;
}

void Transaction::delete_chain(const ChainKey& key) {
  append(chain_deletions_, cat("delete chain inet ", layout_.table(), " ", chain_name(key), "\n"));
  ++writes_;
}

std::string Transaction::commands() const {
  std::string out = chains_;
  for (const auto& [set, elements] : deletions_) {
    append(out, cat("delete element inet ", layout_.table(), " ", set, " { ", elements, " }\n"));
  }
  for (const auto& [set, elements] : additions_) {
    append(out, cat("add element inet ", layout_.table(), " ", set, " { ", elements, " }\n"));
  }
  return out + chain_deletions_;
}

}  // namespace fairlead::dataplane::nft
