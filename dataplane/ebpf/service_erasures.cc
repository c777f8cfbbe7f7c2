// The steps of ServiceSync that remove.
#include <algorithm>

#include "dataplane/ebpf/service_sync.h"
#include "dataplane/ebpf/write_all.h"

namespace fairlead::dataplane::ebpf {

void ServiceSync::erase_frontends(Round& round, bool sweep) {
  std::vector<fl_frontend_key> keys;
  if (sweep) {
    for (const auto& [key, value] : frontends_) {
      if (!owner_of_.contains(key)) keys.push_back(key);
    }
  } else {
    for (const fl_frontend_key& key : round.released) {
      if (frontends_.contains(key) && !owner_of_.contains(key)) keys.push_back(key);
    }
  }
  round.report.writes += write_all(
      keys.size(), [&](size_t at) { return maps_.erase(MapId::frontends, from(keys, at)); },
      [&](size_t i) {
        const fl_frontend& held = frontends_.at(keys[i]);
        round.touched.insert(held.service);
        if (held.local_list != 0) round.touched.insert(held.local_list);
        unpoint(keys[i]);
      },
      [&](size_t, int) { round.leftovers = true; });
}

// What cannot be removed is tried again with its rule, or, when it has none, by a sweep.
void ServiceSync::note_failure(Round& round, uint32_t id, MapId map, int error) {
  if (auto target = round.target_of.find(id); target != round.target_of.end()) {
    round.targets[target->second].trouble = write_trouble(maps_, map, error);
  } else {
    round.leftovers = true;
  }
}

// How many slots of a list the frontends with all of these flags lead to.
uint32_t ServiceSync::reachable(uint32_t list, uint32_t flags) const {
  const auto service = kernel_.find(list);
  if (service == kernel_.end()) return 0;
  uint32_t count = 0;
  for (const fl_frontend_key& key : service->second.frontends) {
    const fl_frontend& held = frontends_.at(key);
    if ((held.flags & flags) != flags) continue;
    if (held.service == list) count = std::max(count, held.count);
    if (held.local_list == list) count = std::max(count, held.local_count);
  }
  return count;
}

void ServiceSync::erase_slots(Round& round) {
  std::vector<fl_backend_key> keys;
  for (uint32_t id : round.touched) {
    auto service = kernel_.find(id);
    if (service == kernel_.end()) continue;
    const auto& slots = service->second.slots;
    for (uint32_t slot = reachable(id, 0); slot < slots.size(); ++slot) {
      if (slots[slot].list != 0) keys.push_back({id, slot});
    }
  }
  round.report.writes += write_all(
      keys.size(), [&](size_t at) { return maps_.erase(MapId::backends, from(keys, at)); },
      [&](size_t i) { set_slot(keys[i], fl_backend{}); },
      [&](size_t, int) { round.leftovers = true; });
}

void ServiceSync::erase_tables(Round& round) {
  for (const uint32_t id : round.touched) {
    if (has_table(reachable(id, FL_FRONTEND_MAGLEV))) continue;
    if (maglev_.erase(id, round.report.writes) != 0) round.leftovers = true;
  }
}

// A backend that is served because its successor could not be written is needed, too.
bool ServiceSync::still_needs(const Target& target, const Member& member) const {
  const auto order = [](const Member& a, const Member& b) { return BytesLess()(a.key, b.key); };
  if (std::binary_search(target.members.begin(), target.members.end(), member, order)) return true;
  if (target.trouble.empty()) return false;
  for (const uint32_t list : {target.rule->id, target.rule->local_id}) {
    const auto held = kernel_.find(list);
    if (list == 0 || held == kernel_.end()) continue;
    const auto& slots = held->second.slots;
    const bool served = std::any_of(slots.begin(), slots.end(), [&](const fl_backend& slot) {
      return slot.list != 0 && slot.port == member.key.port && same_bytes(slot.ip, member.key.ip);
    });
    if (served) return true;
  }
  return false;
}

// The touched services of which something may have to go; a null target: everything. What belongs
// to a rule that this round did not look at is as it should be.
template <class Visit>
void ServiceSync::each_to_clean(Round& round, Visit visit) {
  for (const uint32_t id : round.touched) {
    const auto service = kernel_.find(id);
    if (service == kernel_.end()) continue;
    const auto target = round.target_of.find(id);
    const bool gone = !id_owner_.contains(id) && service->second.frontends.empty();
    if (gone) {
      visit(service->second, nullptr);
    } else if (target != round.target_of.end()) {
      visit(service->second, &round.targets[target->second]);
    }
  }
}

void ServiceSync::erase_members(Round& round) {
  std::vector<fl_member_key> keys;
  each_to_clean(round, [&](const KernelService& service, const Target* target) {
    for (const Member& member : service.members) {
      if (target == nullptr || !still_needs(*target, member)) keys.push_back(member.key);
    }
  });
  round.report.writes += write_all(
      keys.size(), [&](size_t at) { return maps_.erase(MapId::members, from(keys, at)); },
      [&](size_t i) { unset_member(keys[i]); },
      [&](size_t i, int error) { note_failure(round, keys[i].service, MapId::members, error); });
}

void ServiceSync::erase_ranges(Round& round) {
  std::vector<fl_source_range> keys;
  each_to_clean(round, [&](const KernelService& service, const Target* target) {
    for (const fl_source_range& range : service.ranges) {
      const bool wanted =
          target != nullptr &&
          std::binary_search(target->ranges.begin(), target->ranges.end(), range, BytesLess());
      if (!wanted) keys.push_back(range);
    }
  });
  round.report.writes += write_all(
      keys.size(), [&](size_t at) { return maps_.erase(MapId::source_ranges, from(keys, at)); },
      [&](size_t i) {
        std::erase_if(kernel_[keys[i].service].ranges,
                      [&](const fl_source_range& one) { return same_bytes(one, keys[i]); });
      },
      [&](size_t i, int error) {
        note_failure(round, keys[i].service, MapId::source_ranges, error);
      });
}

void ServiceSync::forget_empty(Round& round) {
  for (uint32_t id : round.touched) {
    auto found = kernel_.find(id);
    if (found == kernel_.end()) continue;
    KernelService& service = found->second;
    while (!service.slots.empty() && service.slots.back().list == 0) service.slots.pop_back();
    if (service.slots.empty() && service.frontends.empty() && service.members.empty() &&
        service.ranges.empty()) {
      kernel_.erase(found);
      continue;
    }
    // There are as many of these as endpoints: no room to spare.
    service.slots.shrink_to_fit();
    service.members.shrink_to_fit();
  }
}

}  // namespace fairlead::dataplane::ebpf
