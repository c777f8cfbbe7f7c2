// ServiceSync: makes the frontends and backends maps equal to a service table, with writes in
// proportion to what differs, in an order that never shows a program a wrong or a missing backend:
//   1. backend slots: first those that replace a backend, then those that add one
//   2. frontends: each changes in one update
//   3. frontends that nobody wants any more
//   4. backend slots that no frontend reaches any more
// A backend keeps its slot for as long as it stays.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// Belongs to one thread. `maps` outlives it.
class ServiceSync {
 public:
  explicit ServiceSync(Maps& maps) : maps_(maps) {}

  // Reads what the maps hold from an earlier run: its service ids are used again.
  Result<void> load();

  // `changed` only, or, when `full`, everything, and then what nobody owns is removed.
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full);
  // What failed before. Cheap when nothing did.
  ApplyReport retry();
  bool pending() const { return !pending_.empty() || !troubles_.empty() || sweep_pending_; }

  size_t frontend_count() const { return frontends_.size(); }
  size_t backend_count() const { return backend_count_; }
  size_t service_count() const { return owned_.size(); }
  // "default/web:http", or "" for an id that no service of the table owns.
  std::string name_of(uint32_t service) const;

 private:
  // What the kernel holds of one service id.
  struct KernelService {
    std::vector<fl_backend> slots;           // service == 0: not in the map
    std::vector<fl_frontend_key> frontends;  // that point here
  };
  // A rule of the table that has an id.
  struct Rule {
    std::string name;  // "IPv4 TCP http": unique within the service
    std::string label;
    uint32_t id = 0;
    std::vector<fl_frontend_key> frontends;
  };
  // What one rule should become in this round.
  struct Target {
    api::ObjectKey owner;
    const Rule* rule;
    std::vector<fl_backend> backends;
    bool drop = false;
    std::string trouble = {};  // why something could not be written
  };
  struct SlotWrite {
    fl_backend_key key;
    fl_backend value;
    size_t target;
    bool replaces;
  };
  struct Round {
    ApplyReport report;
    std::vector<Target> targets;
    std::vector<fl_frontend_key> released;  // wanted by nobody, unless claimed since
    std::set<uint32_t> touched;             // ids whose slots may have to go
    bool leftovers = false;                 // something could not be removed
  };

  ApplyReport run(const std::map<api::ObjectKey, const ServiceEntry*>& wanted, bool sweep);
  void release(const api::ObjectKey& owner, Round& round);
  void claim(const api::ObjectKey& owner, const ServiceEntry& entry,
             const std::vector<Rule>& before, Round& round);
  void claim_frontends(const api::ObjectKey& owner, const PortRule& port, Rule& rule);
  uint32_t choose_id(const Rule& rule, const std::vector<Rule>& before,
                     const std::vector<fl_backend>& backends);
  bool reaches_others(uint32_t id, const Rule& rule) const;
  bool holds_exactly(uint32_t id, const std::vector<fl_backend>& backends) const;
  void plan_slots(const Target& target, size_t index, std::vector<SlotWrite>& plan) const;
  void write_slots(Round& round);
  void write_frontends(Round& round);
  void erase_frontends(Round& round, bool sweep);
  void erase_slots(Round& round, bool sweep);
  void note_troubles(Round& round);
  std::string reason(MapId map, int error) const;
  uint32_t usable(const Target& target) const;
  void point(const fl_frontend_key& key, const fl_frontend& value);
  void unpoint(const fl_frontend_key& key);
  void set_slot(const fl_backend_key& key, const fl_backend& value);

  Maps& maps_;
  std::unordered_map<fl_frontend_key, fl_frontend, BytesHash, BytesEqual> frontends_;  // in the map
  std::unordered_map<uint32_t, KernelService> kernel_;
  size_t backend_count_ = 0;

  std::map<api::ObjectKey, std::vector<Rule>> owned_;
  std::unordered_map<fl_frontend_key, api::ObjectKey, BytesHash, BytesEqual> owner_of_;
  std::unordered_map<uint32_t, api::ObjectKey> id_owner_;
  uint32_t next_id_ = 1;

  std::map<api::ObjectKey, ServiceEntry> pending_;               // to be tried again
  std::map<api::ObjectKey, std::vector<std::string>> troubles_;  // what each service lacks
  bool swept_ = false;  // a full table has been applied: what nobody owns is garbage
  bool sweep_pending_ = false;
};

}  // namespace fairlead::dataplane::ebpf
