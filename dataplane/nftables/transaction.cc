#include "dataplane/nftables/transaction.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

bool remembers(const Row* row) { return row != nullptr && row->affinity.timeout_s != 0; }

std::string goto_text(const ChainKey& chain) { return cat("goto ", chain_name(chain)); }

}  // namespace

void Transaction::add(const std::string& set, const std::string& key, const std::string& value) {
  additions_.put(set, key, value);
}

void Transaction::remove(const std::string& set, const std::string& key) {
  deletions_.put(set, key);
}

// The value of an element cannot be changed in place: it is deleted and added again, which is one
// step for packets, because the transaction is.
void Transaction::change_slot(const RowKey& key, size_t slot, const Row* from, const Row* to) {
  const bool had = from != nullptr && slot < from->slots.size();
  const bool has = to != nullptr && slot < to->slots.size();
  if (had && has && from->slots[slot] == to->slots[slot]) return;
  const std::string map = backends_map(key.protocol, !key.ip.is_v4());
  const std::string element = backends_key(key, slot);
  if (had) remove(map, element);
  if (has) add(map, element, backends_value(to->slots[slot]));
}

void Transaction::change_goto(const std::string& map, const std::string& element,
                              const std::string& from, const std::string& to) {
  if (from == to) return;
  if (!from.empty()) remove(map, element);
  if (!to.empty()) add(map, element, to);
}

void Transaction::change_ranges(const RowKey& key, const Row* from, const Row* to) {
  static const std::vector<Cidr> none;
  const std::vector<Cidr>& had = from == nullptr ? none : from->ranges;
  const std::vector<Cidr>& has = to == nullptr ? none : to->ranges;
  const std::string set = ranges_set(!key.ip.is_v4());
  for (const Cidr& range : had) {
    if (!std::binary_search(has.begin(), has.end(), range)) remove(set, ranges_key(key, range));
  }
  for (const Cidr& range : has) {
    if (!std::binary_search(had.begin(), had.end(), range)) add(set, ranges_key(key, range));
  }
}

void Transaction::change_row(const RowKey& key, const Row* from, const Row* to) {
  const std::string element = services_key(key);
  change_goto(services_map(key), element, from == nullptr ? "" : goto_text(chain_of(key, *from)),
              to == nullptr ? "" : goto_text(chain_of(key, *to)));
  change_goto(remember_map(key), element,
              remembers(from) ? goto_text(remember_chain_of(key, *from)) : "",
              remembers(to) ? goto_text(remember_chain_of(key, *to)) : "");
  change_ranges(key, from, to);
  const size_t slots =
      std::max(from == nullptr ? 0 : from->slots.size(), to == nullptr ? 0 : to->slots.size());
  for (size_t slot = 0; slot < slots; ++slot) change_slot(key, slot, from, to);
}

void Transaction::need_chain(const ChainKey& key, std::set<ChainKey>& existing) {
  if (is_fixed(key) || !existing.insert(key).second) return;
  append(chains_, layout_.chain_commands(key));
  ++chain_writes_;
}

void Transaction::need_chains(const RowKey& key, const Row& row, std::set<ChainKey>& existing) {
  need_chain(chain_of(key, row), existing);
  if (remembers(&row)) need_chain(remember_chain_of(key, row), existing);
}

void Transaction::delete_chain(const ChainKey& key) {
  append(chain_deletions_, cat("delete chain inet ", layout_.table(), " ", chain_name(key), "\n"));
  ++chain_writes_;
}

std::string Transaction::commands() const {
  return cat(chains_, deletions_.commands("delete", layout_.table()),
             additions_.commands("add", layout_.table()), chain_deletions_);
}

std::vector<std::string> Transaction::stages(const std::string& head) const {
  CHECK(deletions_.empty() && chain_deletions_.empty());
  std::vector<std::string> out{head + chains_};
  size_t lists = 0;
  // A row needs its slots, and an address without its rows would be rejected.
  const auto order = [](std::string_view set) {
    if (set.starts_with("cluster-ips")) return 2;
    return set.starts_with("services") || set.starts_with("outside") ? 1 : 0;
  };
  for (const int turn : {0, 1, 2}) {
    // Nor may a packet miss a row before a transaction and find the address after it.
    if (turn == 2) lists = max_stage_lists;
    for (const auto& [set, set_lists] : additions_.lists()) {
      if (order(set) != turn) continue;
      for (const std::string& list : set_lists) {
        if (++lists > max_stage_lists) {
          lists = 1;
          out.emplace_back();
        }
        append(out.back(), element_command("add", layout_.table(), set, list));
      }
    }
  }
  return out;
}

void for_each_element(const RowKey& key, const Row& row, const ElementVisitor& visit) {
  const std::string element = services_key(key);
  visit(services_map(key), element, goto_text(chain_of(key, row)));
  if (remembers(&row)) {
    visit(remember_map(key), element, goto_text(remember_chain_of(key, row)));
  }
  for (const Cidr& range : row.ranges) {
    visit(ranges_set(!key.ip.is_v4()), ranges_key(key, range), "");
  }
  const std::string map = backends_map(key.protocol, !key.ip.is_v4());
  for (size_t slot = 0; slot < row.slots.size(); ++slot) {
    visit(map, backends_key(key, slot), backends_value(row.slots[slot]));
  }
}

}  // namespace fairlead::dataplane::nft
