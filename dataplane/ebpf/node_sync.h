// NodeSync: makes pod_cidrs, service_cidrs, config and the node's part of addresses equal to what
// the table says of the node.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/address_sync.h"
#include "dataplane/ebpf/maps.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane::ebpf {

// What the kernel says of the namespace that the driver works in.
struct NodeFacts {
  uint64_t netns_cookie = 0;  // SO_NETNS_COOKIE; 0: unknown
  uint16_t masquerade_port_low = 0, masquerade_port_high = 0;
  bool tc = false;  // a tc program sees whatever pods send
};

// Masquerade ports that no socket is given by itself: `low`..`high` is ip_local_port_range.
std::pair<uint16_t, uint16_t> masquerade_ports(uint16_t low, uint16_t high);

// Of this thread's network namespace; 0: the kernel does not say (SO_NETNS_COOKIE, Linux 5.14).
uint64_t own_netns_cookie();

NodeFacts read_node_facts();

// Belongs to one thread. `maps` and `addresses` outlive it.
class NodeSync {
 public:
  NodeSync(Maps& maps, AddressSync& addresses, NodeFacts facts)
      : maps_(maps), addresses_(addresses), facts_(facts) {}

  Result<void> load();
  // Cheap when `node` is what was written last. Adds to the report.
  void apply(const NodeConfig& node, ApplyReport& report);
  void retry(ApplyReport& report);
  bool pending() const { return wanted_.has_value() && !in_sync_; }
  // What one of our maps holds, as far as we wrote or read it.
  void each(MapId map, const Maps::Visit& visit) const;

 private:
  void write(ApplyReport& report);
  void write_set(MapId map, const std::set<std::string>& wanted, std::set<std::string>& held,
                 bool add, ApplyReport& report);
  fl_config config_for(const NodeConfig& node) const;

  Maps& maps_;
  AddressSync& addresses_;
  NodeFacts facts_;
  std::optional<NodeConfig> wanted_;
  bool in_sync_ = false;
  std::optional<fl_config> config_;                  // in the map
  std::set<std::string> pod_cidrs_, service_cidrs_;  // in the maps, as bytes of their keys
};

}  // namespace fairlead::dataplane::ebpf
