// Layout: the part of the table that does not depend on Services, and the text of everything that
// is written into it. The names below are what `nft list table inet fairlead` shows.
//
//   map services4/6      address . protocol . port -> goto a chain
//   map outside4/6       the same, for sources from outside the node (policy Local)
//   map tcp-backends4/6  address . port . slot -> backend address . port; also udp-, sctp-
//   set ranges4/6        address . protocol . port . source prefix: who may dial (source ranges)
//   set cluster-ips4/6   every ClusterIP: what services4/6 does not have of them is rejected
//   set service-cidrs4/6 the service ranges: what is no ClusterIP of them is dropped
//   set local_pods4/6    sources that are local pods; the node's own addresses are none
//   set hairpin4/6       address . the same address, of backends that may dial themselves
//   map remember4/6      address . protocol . port -> goto a chain that notes the chosen backend;
//                        remember-outside4/6 for the rows of outside4/6
//   map affinity-ips4/6, affinity-ports4/6
//                        rule id (two numbers) . client -> backend; filled by those chains
//   chain ACTION-tcp4-N  one for each action, protocol, family and number of backends of some row
//   chain guarded-...    the same for rows with source ranges
//   chain ...-sticky-T-I the same for one rule with session affinity; remember-tcp4-T-I beside it
//
// Maps of backends are per protocol because libnftables 1.0.6 takes the protocol in the type of a
// map's data for a condition of the first rule that uses the map. IPv6 clients stand in the
// affinity maps as 64 bits of a hash: it gives a map statement 16 bytes of registers and no more.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/nftables/rows.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::nft {

// What a chain must be made for: an action with a number of slots, and whether it looks at source
// ranges or remembers clients. `remember`: the chain that notes the backend of an affinity.
struct ChainKey {
  Action action = Action::internal;
  Protocol protocol = Protocol::tcp;
  bool ipv6 = false;
  uint32_t count = 0;
  bool guarded = false;
  bool remember = false;
  Affinity affinity = {};
  friend auto operator<=>(const ChainKey&, const ChainKey&) = default;
};

// The fixed chains no-endpoint and policy-drop are part of the table from its beginning.
bool is_fixed(const ChainKey& key);

// The slots of `outside` rows start here, so that both rows of an address share one map.
inline constexpr uint32_t outside_slot_base = 65536;
inline constexpr size_t max_slots = 65535;
// Clients that one family's affinity maps remember; beyond it new ones are not remembered.
inline constexpr size_t max_affinities = 262144;

struct LayoutOptions {
  std::string table = "fairlead";
  uint32_t masquerade_mark = 0x4000;
  bool drop_invalid = false;
};

class Layout {
 public:
  Layout(LayoutOptions options, const NodeConfig& node);

  // Removes the table, whether it is there or not, and makes it new, without rows.
  std::string replace_commands() const;
  // Makes the rules of a table of this version again and leaves its sets and maps as they are, but
  // for the fixed elements. Those who use it make the chains of rows again.
  std::string refresh_commands() const;
  bool can_refresh(const NftTable& held) const;

  // Leaves the hooks alone: without any, the kernel translates no packet of the flows that it has
  // translated so far.
  std::string retire_commands() const;
  std::string chain_commands(const ChainKey& key) const;

  // The empty chain whose name tells a later run that base chains, sets and options are these.
  std::string label() const;

  // Elements that are part of the base: "local_pods4" -> "10.1.0.0-10.1.255.255".
  const std::map<std::string, std::set<std::string>>& fixed_elements() const { return fixed_; }

  const std::string& table() const { return options_.table; }

 private:
  std::string base_commands() const;
  std::string set_commands(bool ipv6) const;
  std::string services_rules(const std::string& chain, bool with_outside) const;
  std::string postrouting_rules() const;
  std::string remember_rules() const;
  std::string sticky_rules(const ChainKey& key) const;
  std::string not_local_pod(bool ipv6) const;
  std::string command(std::string_view words, std::string_view name, std::string_view rest) const;
  void add_intervals(const std::string& set, const std::vector<Cidr>& cidrs,
                     const std::vector<Ip>& without = {});

  LayoutOptions options_;
  std::map<std::string, std::set<std::string>> fixed_;
  bool masquerade_all_;
  bool knows_pods_[2];  // of IPv4, of IPv6
};

// The chain of a row: "internal-tcp4-3"; for no_endpoint and policy_drop the fixed ones.
std::string chain_name(const ChainKey& key);
std::optional<ChainKey> parse_chain_name(std::string_view name);
ChainKey chain_of(const RowKey& key, const Row& row);
// The chain that notes the row's choices. REQUIRES: the row has affinity.
ChainKey remember_chain_of(const RowKey& key, const Row& row);

std::string services_map(const RowKey& key);             // "services4" or "outside6"
std::string remember_map(const RowKey& key);             // "remember4" or "remember-outside6"
std::string backends_map(Protocol protocol, bool ipv6);  // "tcp-backends4"
std::string ranges_set(bool ipv6);                       // "ranges4"
std::string hairpin_set(bool ipv6);                      // "hairpin4"
std::string cluster_ips_set(bool ipv6);                  // "cluster-ips4"

std::string services_key(const RowKey& key);                   // "10.96.0.1 . 6 . 80"
std::string backends_key(const RowKey& key, size_t slot);      // "10.96.0.1 . 80 . 3"
std::string backends_value(const SocketAddress& backend);      // "10.0.0.1 . 8080"
std::string ranges_key(const RowKey& key, const Cidr& range);  // "10.96.0.1 . 6 . 80 . 10.0.0.0/8"
std::string hairpin_key(const Ip& ip);                         // "10.0.0.1 . 10.0.0.1"
std::string affinity_prefix(const Affinity& affinity);         // "17 . 99"

}  // namespace fairlead::dataplane::nft
