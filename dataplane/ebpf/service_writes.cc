// The four writing steps of ServiceSync, and its record of what the maps hold.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "base/text.h"
#include "dataplane/ebpf/service_sync.h"

namespace fairlead::dataplane::ebpf {
namespace {

// One batch, gone on with after each entry that fails. Returns the number of writes.
template <class Call, class Done, class Failed>
size_t write_all(size_t count, Call call, Done done, Failed failed) {
  size_t at = 0;
  while (at < count) {
    WriteOutcome outcome = call(at);
    for (size_t i = 0; i < outcome.done; ++i) done(at + i);
    at += outcome.done;
    if (outcome.error == 0) break;
    failed(at, outcome.error);
    ++at;
  }
  return count;
}

template <class T>
Bytes from(const std::vector<T>& values, size_t at) {
  return std::as_bytes(std::span(values).subspan(at));
}

struct AddressOrder {
  bool operator()(const fl_backend& a, const fl_backend& b) const {
    int order = std::memcmp(&a.ip, &b.ip, sizeof a.ip);
    return order != 0 ? order < 0 : a.port < b.port;
  }
};

}  // namespace

std::string ServiceSync::reason(MapId map, int error) const {
  std::string_view name = shape_of(map).name;
  if (error == E2BIG || error == ENOSPC) {
    return cat("the ", name, " map is full (", maps_.capacity(map), " entries)");
  }
  return cat("cannot write the ", name, " map: ", std::strerror(error));
}

void ServiceSync::plan_slots(const Target& target, size_t index,
                             std::vector<SlotWrite>& plan) const {
  static const std::vector<fl_backend> none;
  auto service = kernel_.find(target.rule->id);
  const auto& slots = service == kernel_.end() ? none : service->second.slots;
  std::map<fl_backend, bool, AddressOrder> placed;  // backend -> has a slot
  for (const fl_backend& backend : target.backends) placed[backend] = false;
  std::vector<uint32_t> free;
  for (uint32_t slot = 0; slot < target.backends.size(); ++slot) {
    auto found =
        slot < slots.size() && slots[slot].service != 0 ? placed.find(slots[slot]) : placed.end();
    if (found == placed.end() || found->second) {
      free.push_back(slot);
      continue;
    }
    found->second = true;
    if (!same_bytes(found->first, slots[slot])) {
      plan.push_back({{target.rule->id, slot}, found->first, index, true});
    }
  }
  size_t next = 0;
  for (const fl_backend& backend : target.backends) {
    if (placed[backend]) continue;
    uint32_t slot = free[next++];
    bool replaces = slot < slots.size() && slots[slot].service != 0;
    plan.push_back({{target.rule->id, slot}, backend, index, replaces});
  }
}

void ServiceSync::write_slots(Round& round) {
  std::vector<SlotWrite> plan;
  for (size_t i = 0; i < round.targets.size(); ++i) plan_slots(round.targets[i], i, plan);
  std::sort(plan.begin(), plan.end(), [](const SlotWrite& a, const SlotWrite& b) {
    return std::tuple(!a.replaces, a.target, a.key.slot) <
           std::tuple(!b.replaces, b.target, b.key.slot);
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
        round.targets[plan[i].target].trouble = reason(MapId::backends, error);
      });
}

// How many slots, from 0 on, hold what the target wants.
uint32_t ServiceSync::usable(const Target& target) const {
  if (target.trouble.empty()) return static_cast<uint32_t>(target.backends.size());
  auto service = kernel_.find(target.rule->id);
  if (service == kernel_.end()) return 0;
  const auto& slots = service->second.slots;
  std::set<fl_backend, AddressOrder> wanted(target.backends.begin(), target.backends.end());
  uint32_t good = 0;
  while (good < slots.size() && good < target.backends.size() && slots[good].service != 0 &&
         wanted.contains(slots[good])) {
    ++good;
  }
  return good;
}

void ServiceSync::write_frontends(Round& round) {
  std::vector<fl_frontend_key> keys;
  std::vector<fl_frontend> values;
  std::vector<size_t> targets;
  for (size_t i = 0; i < round.targets.size(); ++i) {
    const Target& target = round.targets[i];
    uint32_t count = usable(target);
    fl_frontend value{target.rule->id, count, target.drop ? uint32_t{FL_FRONTEND_DROP} : 0u};
    for (const fl_frontend_key& key : target.rule->frontends) {
      auto held = frontends_.find(key);
      if (held != frontends_.end()) {
        if (same_bytes(held->second, value)) continue;
        // Old backends are better than none when the new ones could not be written.
        if (count == 0 && !target.backends.empty() && held->second.count > 0) continue;
      }
      keys.push_back(key);
      values.push_back(value);
      targets.push_back(i);
    }
  }
  round.report.writes += write_all(
      keys.size(),
      [&](size_t at) { return maps_.update(MapId::frontends, from(keys, at), from(values, at)); },
      [&](size_t i) {
        auto held = frontends_.find(keys[i]);
        if (held != frontends_.end()) round.touched.insert(held->second.service);
        point(keys[i], values[i]);
      },
      [&](size_t i, int error) {
        round.targets[targets[i]].trouble =
            cat(to_text(keys[i]), ": ", reason(MapId::frontends, error));
      });
}

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
        round.touched.insert(frontends_.at(keys[i]).service);
        unpoint(keys[i]);
      },
      [&](size_t, int) { round.leftovers = true; });
}

void ServiceSync::erase_slots(Round& round, bool sweep) {
  if (sweep) {
    for (const auto& [id, service] : kernel_) round.touched.insert(id);
  }
  std::vector<fl_backend_key> keys;
  for (uint32_t id : round.touched) {
    auto service = kernel_.find(id);
    if (service == kernel_.end()) continue;
    uint32_t reachable = 0;
    for (const fl_frontend_key& key : service->second.frontends) {
      reachable = std::max(reachable, frontends_.at(key).count);
    }
    const auto& slots = service->second.slots;
    for (uint32_t slot = reachable; slot < slots.size(); ++slot) {
      if (slots[slot].service != 0) keys.push_back({id, slot});
    }
  }
  round.report.writes += write_all(
      keys.size(), [&](size_t at) { return maps_.erase(MapId::backends, from(keys, at)); },
      [&](size_t i) { set_slot(keys[i], fl_backend{}); },
      [&](size_t, int) { round.leftovers = true; });
  for (uint32_t id : round.touched) {
    auto service = kernel_.find(id);
    if (service == kernel_.end()) continue;
    auto& slots = service->second.slots;
    while (!slots.empty() && slots.back().service == 0) slots.pop_back();
    if (slots.empty() && service->second.frontends.empty()) kernel_.erase(service);
  }
}

void ServiceSync::point(const fl_frontend_key& key, const fl_frontend& value) {
  unpoint(key);
  frontends_[key] = value;
  kernel_[value.service].frontends.push_back(key);
}

void ServiceSync::unpoint(const fl_frontend_key& key) {
  auto held = frontends_.find(key);
  if (held == frontends_.end()) return;
  std::erase_if(kernel_[held->second.service].frontends,
                [&](const fl_frontend_key& other) { return same_bytes(other, key); });
  frontends_.erase(held);
}

void ServiceSync::set_slot(const fl_backend_key& key, const fl_backend& value) {
  auto& slots = kernel_[key.service].slots;
  if (slots.size() <= key.slot) slots.resize(key.slot + 1);
  backend_count_ -= slots[key.slot].service != 0;
  backend_count_ += value.service != 0;
  slots[key.slot] = value;
}

}  // namespace fairlead::dataplane::ebpf
