// Wanted: which Service has which row, kept as the table changes.
//
// Two Services may claim one address and port (externalIPs can); the one that sorts first has it,
// and when it goes the next one takes over.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/nftables/rows.h"

namespace fairlead::dataplane::nft {

class Wanted {
 public:
  // Reads the entries of `keys` from the table again. Returns the rows to look at.
  // `full` reads all of them; the answer is then every row before and after.
  std::set<RowKey> update(const ServiceTable& table, const std::set<api::ObjectKey>& keys,
                          bool full);

  struct Claim {
    api::ObjectKey owner;
    Row row;  // slots in the order of the backends, at most max_slots
    bool truncated = false;
  };
  // What the table says about a row that update() named.
  std::optional<Claim> claim(const ServiceTable& table, const RowKey& key);

  // Addresses of local backends, with the number of Services that have them.
  const std::unordered_map<Ip, uint32_t>& hairpin() const { return hairpin_; }
  // Those whose presence may have changed in the last update().
  const std::set<Ip>& touched_hairpin() const { return touched_hairpin_; }

 private:
  struct Service {
    std::vector<RowKey> rows;
    std::vector<Ip> local_backends;  // sorted, each once
  };

  void forget(const api::ObjectKey& key, std::set<RowKey>& touched);
  void remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                std::set<RowKey>& touched);

  std::map<api::ObjectKey, Service> services_;
  std::unordered_map<RowKey, std::vector<api::ObjectKey>, RowKeyHash> claims_;  // sorted
  std::unordered_map<Ip, uint32_t> hairpin_;
  std::set<Ip> touched_hairpin_;
  // The rows that claim() made last: those of one Service are mostly asked for together.
  std::optional<api::ObjectKey> made_for_;
  std::vector<std::pair<RowKey, Row>> made_;
};

}  // namespace fairlead::dataplane::nft
