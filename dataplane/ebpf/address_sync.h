// AddressSync: the addresses map, to which two parties have something to say: the node (its own
// addresses, and where NodePorts answer) and the services (their ClusterIPs).
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "base/result.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// Belongs to one thread. `maps` outlives it. Nothing is written before write().
class AddressSync {
 public:
  explicit AddressSync(Maps& maps) : maps_(maps) {}

  // Reads what the map holds. ClusterIPs in it stay until forget_inherited(), since nobody has
  // said yet which services there are.
  Result<void> load();
  void forget_inherited();

  void add_cluster_ip(const Ip& ip);  // counted: several services may have one
  void remove_cluster_ip(const Ip& ip);
  void set_node(const NodeConfig& node);

  // Both add to the report; what fails is tried again by the next call. Of an address that the
  // kernel knows every port is refused that has no frontend: it goes before its frontends and comes
  // after them.
  void erase_unwanted(ApplyReport& report);
  void write(ApplyReport& report);  // the others, then what is still unwanted
  bool pending() const { return !dirty_.empty(); }

  // What the map holds, as far as we wrote or read it.
  void each(const Maps::Visit& visit) const;

 private:
  struct Entry {
    uint32_t services = 0;
    uint32_t node_flags = 0;
    bool inherited = false;
    uint32_t held = 0;  // in the map; 0: no entry
    uint32_t wanted() const {
      return node_flags | (services != 0 || inherited ? uint32_t{FL_ADDRESS_CLUSTER_IP} : 0u);
    }
  };
  void done(const fl_ip& ip, uint32_t value);
  void note(const fl_ip& ip, const WriteOutcome& outcome, ApplyReport& report);

  Maps& maps_;
  std::unordered_map<fl_ip, Entry, BytesHash, BytesEqual> entries_;
  std::unordered_set<fl_ip, BytesHash, BytesEqual> dirty_;
};

}  // namespace fairlead::dataplane::ebpf
