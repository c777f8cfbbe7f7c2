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

#include "dataplane/nftables/counted_ips.h"
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

  // The rows that this Service has, those of others left out; slots in the order of the backends.
  std::vector<RowKey> rows_owned_by(const api::ObjectKey& service) const;

  // Addresses of backends that may be their own clients without being masqueraded anyway.
  const CountedIps& hairpin() const { return hairpin_; }
  const CountedIps& cluster_ips() const { return cluster_ips_; }

 private:
  struct Service {
    std::vector<RowKey> rows;
    std::vector<Ip> hairpin;
    std::set<Ip> cluster_ips;
  };

  // The Service whose row this is.
  const api::ObjectKey* owner_of(const RowKey& key) const;
  void forget(const api::ObjectKey& key, std::set<RowKey>& touched);
  void remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                std::set<RowKey>& touched);

  std::map<api::ObjectKey, Service> services_;
  std::unordered_map<RowKey, std::vector<api::ObjectKey>, RowKeyHash> claims_;  // sorted
  CountedIps hairpin_;
  CountedIps cluster_ips_;
  // The rows that claim() made last: those of one Service are mostly asked for together.
  std::optional<api::ObjectKey> made_for_;
  std::vector<std::pair<RowKey, Row>> made_;
};

}  // namespace fairlead::dataplane::nft
