// ServiceSync: makes the maps of services equal to a service table, with writes in proportion to
// what differs, in an order that never shows a program a wrong or a missing backend:
//   1. members and source ranges that are new
//   2. backend slots: first those that replace a backend, then those that add one
//   3. tables for lists that are chosen from by hash
//   4. frontends: each changes in one update
//   5. frontends that nobody wants any more
//   6. slots that no frontend reaches, tables, members and source ranges that went, ClusterIPs
// A rule has an id; its cluster set is the list of that id. Where traffic policies ask for it, its
// local set is a list of another id, so that one update of a frontend changes both.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/address_sync.h"
#include "dataplane/ebpf/maglev_sync.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// Belongs to one thread. `maps` outlives it.
class ServiceSync {
 public:
  explicit ServiceSync(Maps& maps) : maps_(maps), addresses_(maps), maglev_(maps) {}

  // Reads what the maps hold from an earlier run: its service ids are used again.
  Result<void> load();

  // `changed` only, or, when `full`, everything, and then what nobody owns is removed.
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full);
  // What failed before. Cheap when nothing did.
  ApplyReport retry();
  bool pending() const {
    return !pending_.empty() || !troubles_.empty() || sweep_pending_ || addresses_.pending();
  }

  AddressSync& addresses() { return addresses_; }
  const AddressSync& addresses() const { return addresses_; }

  size_t frontend_count() const { return frontends_.size(); }
  size_t backend_count() const { return backend_count_; }
  size_t table_count() const { return maglev_.size(); }
  size_t members_removed() const { return members_removed_; }  // ever
  bool is_member(uint32_t service, const fl_ip& ip, uint16_t port) const;
  // "default/web:http", or "" for an id that no service of the table owns.
  std::string name_of(uint32_t id) const;
  std::set<uint32_t> ids_of(const api::ObjectKey& owner) const;
  // What one of our maps holds, as far as we wrote or read it.
  void each(MapId map, const Maps::Visit& visit) const;

 private:
  struct Member {
    fl_member_key key;
    uint32_t sets;
  };
  // What the kernel holds of one id.
  struct KernelService {
    std::vector<fl_backend> slots;           // list == 0: not in the map
    std::vector<fl_frontend_key> frontends;  // that point here
    std::vector<Member> members;             // sorted by key
    std::vector<fl_source_range> ranges;     // sorted
  };
  struct WantedFrontend {
    fl_frontend_key key;
    uint32_t flags;
  };
  // A rule of the table that has an id.
  struct Rule {
    std::string name;  // "IPv4 TCP http": unique within the service
    std::string label;
    uint32_t id = 0;
    uint32_t local_id = 0;
    std::vector<WantedFrontend> frontends;
  };
  struct Owned {
    std::vector<Rule> rules;
    std::vector<Ip> cluster_ips;
  };
  struct List {
    uint32_t id = 0;
    std::vector<fl_backend> backends;
  };
  // What one rule should become in this round.
  struct Target {
    api::ObjectKey owner;
    const Rule* rule = nullptr;
    List cluster, local;
    std::vector<Member> members;          // sorted by key
    std::vector<fl_source_range> ranges;  // sorted
    uint32_t affinity_s = 0;
    bool drop = false;
    bool maglev = false;
    std::string trouble = {};   // why something could not be written
    std::string unhashed = {};  // why the choice is random although it should not be
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
    std::unordered_map<uint32_t, size_t> target_of;  // by the rule's id
    std::vector<fl_frontend_key> released;           // wanted by nobody, unless claimed since
    std::set<api::ObjectKey> waiting;                // who found a frontend taken
    std::set<uint32_t> touched;                      // ids whose entries may have to go
    bool leftovers = false;                          // something could not be removed
  };

  ApplyReport run(const std::map<api::ObjectKey, const ServiceEntry*>& wanted, bool sweep);
  void pass(Round& round, bool sweep);
  std::set<api::ObjectKey> beside(
      const std::map<api::ObjectKey, const ServiceEntry*>& wanted) const;
  void release(const api::ObjectKey& owner, Round& round);
  void claim(const api::ObjectKey& owner, const ServiceEntry& entry,
             const std::vector<Rule>& before, Round& round);
  void claim_frontends(const api::ObjectKey& owner, const PortRule& port, Rule& rule, Round& round);
  static void claim_ranges(const PortRule& port, const Rule& rule, Target& target);
  void claim_ids(const api::ObjectKey& owner, const std::vector<Rule>& before, Rule& rule,
                 Target& target);
  uint32_t choose_id(const Rule& rule, const std::vector<Rule>& before,
                     const std::vector<fl_backend>& backends, uint32_t Rule::* of_rule,
                     uint32_t fl_frontend::* of_frontend);
  bool reaches_others(uint32_t id, const Rule& rule) const;
  bool holds_exactly(uint32_t id, const std::vector<fl_backend>& backends) const;
  void plan_slots(const Target& target, const List& list, size_t index,
                  std::vector<SlotWrite>& plan) const;
  void write_members(Round& round);
  void write_ranges(Round& round);
  void write_slots(Round& round);
  void write_tables(Round& round);
  void write_frontends(Round& round);
  void erase_frontends(Round& round, bool sweep);
  void erase_slots(Round& round);
  void erase_tables(Round& round);
  uint32_t reachable(uint32_t list, uint32_t flags) const;
  bool still_needs(const Target& target, const Member& member) const;
  template <class Visit>
  void each_to_clean(Round& round, Visit visit);
  void erase_members(Round& round);
  void erase_ranges(Round& round);
  void forget_empty(Round& round);
  void note_failure(Round& round, uint32_t id, MapId map, int error);
  void note_troubles(Round& round);
  uint32_t usable(const Target& target, const List& list) const;
  fl_frontend value_of(const Target& target, const WantedFrontend& frontend) const;
  bool worth_writing(const Target& target, const fl_frontend& now, const fl_frontend& next) const;
  void point(const fl_frontend_key& key, const fl_frontend& value);
  void unpoint(const fl_frontend_key& key);
  void set_slot(const fl_backend_key& key, const fl_backend& value);
  void set_member(const Member& member);
  void unset_member(const fl_member_key& key);

  Maps& maps_;
  AddressSync addresses_;
  MaglevSync maglev_;
  std::unordered_map<fl_frontend_key, fl_frontend, BytesHash, BytesEqual> frontends_;  // in the map
  std::unordered_map<uint32_t, KernelService> kernel_;
  size_t backend_count_ = 0;
  size_t members_removed_ = 0;

  std::vector<Ip> node_ips_;
  std::map<api::ObjectKey, Owned> owned_;
  std::unordered_map<fl_frontend_key, api::ObjectKey, BytesHash, BytesEqual> owner_of_;
  std::unordered_map<uint32_t, api::ObjectKey> id_owner_;
  uint32_t next_id_ = 1;

  // What Services ask for that do not have each of their frontends, since others that sort before
  // them have some.
  std::map<api::ObjectKey, ServiceEntry> waiting_;
  std::map<api::ObjectKey, ServiceEntry> pending_;               // to be tried again
  std::map<api::ObjectKey, std::vector<std::string>> troubles_;  // what each service lacks
  bool swept_ = false;  // a full table has been applied: what nobody owns is garbage
  bool sweep_pending_ = false;
};

}  // namespace fairlead::dataplane::ebpf
