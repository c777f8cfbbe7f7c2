// Layout: the part of the table that does not depend on Services, and the text of everything that
// is written into it. The names below are what `nft list table inet fairlead` shows.
//
//   map services4/6      address . protocol . port -> goto a chain
//   map outside4/6       the same, for sources from outside the node (policy Local)
//   map tcp-backends4/6  address . port . slot -> backend address . port; also udp-, sctp-
//   set local_pods4/6    sources that are local pods
//   set hairpin4/6       address . the same address, of every local backend
//   chain ACTION-tcp4-N  one for each action, protocol, family and number of backends of some row
//
// Maps of backends are per protocol because libnftables 1.0.6 takes the protocol in the type of a
// map's data for a condition of the first rule that uses the map.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/nftables/rows.h"

namespace fairlead::dataplane::nft {

// What a chain must be made for: an action with a number of slots.
struct ChainKey {
  Action action = Action::internal;
  Protocol protocol = Protocol::tcp;
  bool ipv6 = false;
  uint32_t count = 0;
  friend auto operator<=>(const ChainKey&, const ChainKey&) = default;
};

// The slots of `outside` rows start here, so that both rows of an address share one map.
inline constexpr uint32_t outside_slot_base = 65536;
inline constexpr size_t max_slots = 65535;

class Layout {
 public:
  Layout(std::string table, uint32_t masquerade_mark, const NodeConfig& node);

  // Removes the table, whether it is there or not, and makes it new, without rows.
  std::string replace_commands() const;
  std::string remove_commands() const;
  std::string chain_commands(const ChainKey& key) const;

  // The empty chain whose name tells a later run that base chains, sets and options are these.
  std::string label() const;

  const std::string& table() const { return table_; }

 private:
  std::string base_commands() const;
  std::string services_rules(const std::string& chain, bool with_outside) const;

  std::string table_;
  uint32_t mark_;
  std::vector<Cidr> local_pods_;
  bool knows_pods4_;
  bool knows_pods6_;
};

// The chain of a row: "internal-tcp4-3"; for no_endpoint and policy_drop the fixed ones.
std::string chain_name(const ChainKey& key);
std::optional<ChainKey> parse_chain_name(std::string_view name);
ChainKey chain_of(const RowKey& key, const Row& row);

std::string services_map(const RowKey& key);             // "services4" or "outside6"
std::string backends_map(Protocol protocol, bool ipv6);  // "tcp-backends4"
std::string hairpin_set(bool ipv6);                      // "hairpin4"

std::string services_key(const RowKey& key);               // "10.96.0.1 . 6 . 80"
std::string backends_key(const RowKey& key, size_t slot);  // "10.96.0.1 . 80 . 3"
std::string backends_value(const SocketAddress& backend);  // "10.0.0.1 . 8080"

}  // namespace fairlead::dataplane::nft
