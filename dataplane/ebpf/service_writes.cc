// The steps of ServiceSync that add and change.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "base/text.h"
#include "dataplane/ebpf/service_sync.h"
#include "dataplane/ebpf/write_all.h"

namespace fairlead::dataplane::ebpf {
namespace {

struct AddressOrder {
  bool operator()(const fl_backend& a, const fl_backend& b) const {
    int order = std::memcmp(&a.ip, &b.ip, sizeof a.ip);
    return order != 0 ? order < 0 : a.port < b.port;
  }
};

}  // namespace

void ServiceSync::pass(Round& round, bool sweep) {
  round.leftovers = false;
  if (sweep) {
    for (const auto& [id, service] : kernel_) round.touched.insert(id);
    for (const uint32_t list : maglev_.lists()) round.touched.insert(list);
  }
  write_members(round);
  write_ranges(round);
  write_slots(round);
  write_tables(round);
  write_frontends(round);
  erase_frontends(round, sweep);
  erase_slots(round);
  erase_tables(round);
  erase_members(round);
  erase_ranges(round);
  forget_empty(round);
}

void ServiceSync::write_members(Round& round) {
  std::vector<fl_member_key> keys;
  std::vector<uint32_t> values;
  std::vector<size_t> targets;
  for (size_t i = 0; i < round.targets.size(); ++i) {
    static const std::vector<Member> none;
    auto service = kernel_.find(round.targets[i].rule->id);
    const auto& held = service == kernel_.end() ? none : service->second.members;
    auto at = held.begin();
    for (const Member& member : round.targets[i].members) {  // both are sorted
      while (at != held.end() && BytesLess()(at->key, member.key)) ++at;
      if (at != held.end() && same_bytes(at->key, member.key) && at->sets == member.sets) continue;
      keys.push_back(member.key);
      values.push_back(member.sets);
      targets.push_back(i);
    }
  }
  round.report.writes += write_all(
      keys.size(),
      [&](size_t at) { return maps_.update(MapId::members, from(keys, at), from(values, at)); },
      [&](size_t i) { set_member({keys[i], values[i]}); },
      [&](size_t i, int error) {
        round.targets[targets[i]].trouble = write_trouble(maps_, MapId::members, error);
      });
}

// A range that is missing keeps clients out, so a failure opens nothing.
void ServiceSync::write_ranges(Round& round) {
  std::vector<fl_source_range> keys;
  std::vector<size_t> targets;
  for (size_t i = 0; i < round.targets.size(); ++i) {
    const Target& target = round.targets[i];
    if (target.ranges.empty()) continue;
    const auto& held = kernel_[target.rule->id].ranges;
    for (const fl_source_range& range : target.ranges) {
      if (std::binary_search(held.begin(), held.end(), range, BytesLess())) continue;
      keys.push_back(range);
      targets.push_back(i);
    }
  }
  const std::vector<uint32_t> ones(keys.size(), 1);
  round.report.writes += write_all(
      keys.size(),
      [&](size_t at) { return maps_.update(MapId::source_ranges, from(keys, at), from(ones, at)); },
      [&](size_t i) {
        auto& held = kernel_[keys[i].service].ranges;
        held.insert(std::upper_bound(held.begin(), held.end(), keys[i], BytesLess()), keys[i]);
      },
      [&](size_t i, int error) {
        round.targets[targets[i]].trouble = write_trouble(maps_, MapId::source_ranges, error);
      });
}

void ServiceSync::plan_slots(const Target& target, const List& list, size_t index,
                             std::vector<SlotWrite>& plan) const {
  static const std::vector<fl_backend> none;
  auto service = kernel_.find(list.id);
  const auto& slots = service == kernel_.end() ? none : service->second.slots;
  std::map<fl_backend, bool, AddressOrder> placed;  // backend -> has a slot
  for (const fl_backend& backend : list.backends) placed[backend] = false;
  std::vector<uint32_t> free;
  for (uint32_t slot = 0; slot < list.backends.size(); ++slot) {
    auto found =
        slot < slots.size() && slots[slot].list != 0 ? placed.find(slots[slot]) : placed.end();
    if (found == placed.end() || found->second) {
      free.push_back(slot);
      continue;
    }
    found->second = true;
    if (!same_bytes(found->first, slots[slot])) {
      plan.push_back({{list.id, slot}, found->first, index, true});
    }
  }
  size_t next = 0;
  for (const fl_backend& backend : list.backends) {
    // What is no member, because that write failed, would be forgotten with each packet.
    if (placed[backend] || !is_member(target.rule->id, backend.ip, backend.port)) continue;
    uint32_t slot = free[next++];
    bool replaces = slot < slots.size() && slots[slot].list != 0;
    plan.push_back({{list.id, slot}, backend, index, replaces});
  }
}

void ServiceSync::write_slots(Round& round) {
  std::vector<SlotWrite> plan;
  for (size_t i = 0; i < round.targets.size(); ++i) {
    const Target& target = round.targets[i];
    plan_slots(target, target.cluster, i, plan);
    plan_slots(target, target.local, i, plan);
  }
  std::sort(plan.begin(), plan.end(), [](const SlotWrite& a, const SlotWrite& b) {
    return std::tuple(!a.replaces, a.target, a.key.list, a.key.slot) <
           std::tuple(!b.replaces, b.target, b.key.list, b.key.slot);
  });
  std::vector<fl_backend_key> keys;
  std::vector<fl_backend> values;
  for (const SlotWrite& write : plan) {
    keys.push_back(write.key);
    values.push_back(write.value);
  }
  round.report.writes += write_all(
      plan.size(),
      [&](size_t at) { return maps_.update(MapId::backends, from(keys, at), from(values, at)); },
      [&](size_t i) { set_slot(keys[i], values[i]); },
      [&](size_t i, int error) {
        round.targets[plan[i].target].trouble = write_trouble(maps_, MapId::backends, error);
      });
}

// How many slots, from 0 on, hold what the target wants.
uint32_t ServiceSync::usable(const Target& target, const List& list) const {
  if (target.trouble.empty()) return static_cast<uint32_t>(list.backends.size());
  auto service = kernel_.find(list.id);
  if (service == kernel_.end()) return 0;
  const auto& slots = service->second.slots;
  std::set<fl_backend, AddressOrder> wanted(list.backends.begin(), list.backends.end());
  uint32_t good = 0;
  while (good < slots.size() && good < list.backends.size() && slots[good].list != 0 &&
         wanted.contains(slots[good]) &&
         is_member(target.rule->id, slots[good].ip, slots[good].port)) {
    ++good;
  }
  return good;
}

// After the slots, whose backends it names; a program that sees the old table meanwhile finds new
// backends in some of its slots, but no wrong ones.
void ServiceSync::write_tables(Round& round) {
  for (Target& target : round.targets) {
    target.unhashed.clear();
    if (!target.maglev) continue;
    for (const List* list : {&target.cluster, &target.local}) {
      const uint32_t count = usable(target, *list);
      if (!has_table(count)) continue;
      const std::span slots = std::span(kernel_.at(list->id).slots).first(count);
      const int error = maglev_.write(list->id, slots, round.report.writes);
      if (error != 0) target.unhashed = write_trouble(maps_, MapId::maglev, error);
    }
  }
}

fl_frontend ServiceSync::value_of(const Target& target, const WantedFrontend& frontend) const {
  const uint32_t drop = target.drop ? uint32_t{FL_FRONTEND_DROP} : 0u;
  fl_frontend value{.service = target.rule->id,
                    .count = 0,
                    .local_list = 0,
                    .local_count = 0,
                    .flags = frontend.flags | drop,
                    .affinity_s = target.affinity_s};
  const bool local = (frontend.flags & FL_FRONTEND_LOCAL_ONLY) != 0;
  if (!local || (frontend.flags & FL_FRONTEND_EXTERNAL) != 0) {
    value.count = usable(target, target.cluster);
  }
  if (local) {
    value.local_list = target.rule->local_id;
    value.local_count = usable(target, target.local);
  }
  return value;
}

// Old backends are better than none when the new ones could not be written.
bool ServiceSync::worth_writing(const Target& target, const fl_frontend& now,
                                const fl_frontend& next) const {
  if (same_bytes(now, next)) return false;
  const bool loses_cluster = next.count == 0 && now.count > 0 && !target.cluster.backends.empty();
  const bool loses_local =
      next.local_count == 0 && now.local_count > 0 && !target.local.backends.empty();
  return target.trouble.empty() || !(loses_cluster || loses_local);
}

void ServiceSync::write_frontends(Round& round) {
  std::vector<fl_frontend_key> keys;
  std::vector<fl_frontend> values;
  std::vector<size_t> targets;
  for (size_t i = 0; i < round.targets.size(); ++i) {
    const Target& target = round.targets[i];
    for (const WantedFrontend& frontend : target.rule->frontends) {
      const fl_frontend value = value_of(target, frontend);
      auto held = frontends_.find(frontend.key);
      if (held != frontends_.end() && !worth_writing(target, held->second, value)) continue;
      keys.push_back(frontend.key);
      values.push_back(value);
      targets.push_back(i);
    }
  }
  round.report.writes += write_all(
      keys.size(),
      [&](size_t at) { return maps_.update(MapId::frontends, from(keys, at), from(values, at)); },
      [&](size_t i) {
        if (auto held = frontends_.find(keys[i]); held != frontends_.end()) {
          round.touched.insert(held->second.service);
          if (held->second.local_list != 0) round.touched.insert(held->second.local_list);
        }
        point(keys[i], values[i]);
      },
      [&](size_t i, int error) {
        round.targets[targets[i]].trouble =
            cat(to_text(keys[i]), ": ", write_trouble(maps_, MapId::frontends, error));
      });
}

}  // namespace fairlead::dataplane::ebpf
