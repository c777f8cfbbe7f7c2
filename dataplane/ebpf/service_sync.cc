#include "dataplane/ebpf/service_sync.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace fairlead::dataplane::ebpf {

Result<void> ServiceSync::load() {
  int error = each_entry<fl_backend_key, fl_backend>(
      maps_, MapId::backends, [&](const fl_backend_key& key, fl_backend value) {
        value.list = key.list;
        // A slot far beyond every limit would only make this vector huge.
        if (key.slot < maps_.capacity(MapId::backends)) set_slot(key, value);
      });
  if (error != 0) return fail(cat("cannot read the backends map: ", std::strerror(error)));
  error = each_entry<fl_frontend_key, fl_frontend>(
      maps_, MapId::frontends,
      [&](const fl_frontend_key& key, const fl_frontend& value) { point(key, value); });
  if (error != 0) return fail(cat("cannot read the frontends map: ", std::strerror(error)));
  error = each_entry<fl_member_key, uint32_t>(maps_, MapId::members,
                                              [&](const fl_member_key& key, uint32_t sets) {
                                                kernel_[key.service].members.push_back({key, sets});
                                              });
  if (error != 0) return fail(cat("cannot read the members map: ", std::strerror(error)));
  error = each_entry<fl_source_range, uint32_t>(
      maps_, MapId::source_ranges,
      [&](const fl_source_range& key, uint32_t) { kernel_[key.service].ranges.push_back(key); });
  if (error != 0) return fail(cat("cannot read the source_ranges map: ", std::strerror(error)));
  for (auto& [id, service] : kernel_) {
    next_id_ = std::max(next_id_, id + 1);
    std::sort(service.members.begin(), service.members.end(),
              [](const Member& a, const Member& b) { return BytesLess()(a.key, b.key); });
    std::sort(service.ranges.begin(), service.ranges.end(), BytesLess());
  }
  FL_TRY_VOID(maglev_.load());
  return addresses_.load();
}

std::string ServiceSync::name_of(uint32_t id) const {
  auto owner = id_owner_.find(id);
  if (owner == id_owner_.end()) return {};
  for (const Rule& rule : owned_.at(owner->second).rules) {
    if (rule.id == id || rule.local_id == id) return rule.label;
  }
  return {};
}

std::set<uint32_t> ServiceSync::ids_of(const api::ObjectKey& owner) const {
  std::set<uint32_t> ids;
  auto found = owned_.find(owner);
  if (found == owned_.end()) return ids;
  for (const Rule& rule : found->second.rules) {
    ids.insert(rule.id);
    if (rule.local_id != 0) ids.insert(rule.local_id);
  }
  return ids;
}

ApplyReport ServiceSync::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                               bool full) {
  // Who may dial depends on the node's addresses.
  if (std::exchange(node_ips_, table.node.node_ips) != table.node.node_ips) full = true;
  std::map<api::ObjectKey, const ServiceEntry*> wanted;
  auto add = [&](const api::ObjectKey& key) {
    auto found = table.services.find(key);
    wanted[key] = found == table.services.end() ? nullptr : &found->second;
  };
  for (const api::ObjectKey& key : changed) add(key);
  for (const auto& [key, entry] : pending_) add(key);
  if (full) {
    for (const auto& [key, owned] : owned_) add(key);
    for (const auto& [key, entry] : waiting_) add(key);
    for (const auto& [key, entry] : table.services) wanted[key] = &entry;
    swept_ = true;
    addresses_.forget_inherited();
  } else {
    for (const api::ObjectKey& key : beside(wanted)) add(key);
  }
  return run(wanted, full || (swept_ && sweep_pending_));
}

ApplyReport ServiceSync::retry() {
  auto entries = pending_;  // run() changes pending_
  std::map<api::ObjectKey, const ServiceEntry*> wanted;
  for (const auto& [key, entry] : entries) wanted[key] = &entry;
  return run(wanted, swept_ && sweep_pending_);
}

ApplyReport ServiceSync::run(const std::map<api::ObjectKey, const ServiceEntry*>& wanted,
                             bool sweep) {
  Round round;
  std::map<api::ObjectKey, std::vector<Rule>> before;
  for (const auto& [key, entry] : wanted) {
    if (auto found = owned_.find(key); found != owned_.end()) before[key] = found->second.rules;
    release(key, round);
  }
  for (const auto& [key, entry] : wanted) {
    if (entry == nullptr || entry->ports.empty()) continue;
    claim(key, *entry, before[key], round);
  }
  for (size_t i = 0; i < round.targets.size(); ++i) {
    round.target_of[round.targets[i].rule->id] = i;
  }
  ApplyReport early;  // what fails is tried again by write(), which says so
  addresses_.erase_unwanted(early);
  round.report.writes += early.writes;
  pass(round, sweep);
  // What did not fit may fit now that the rest has gone.
  bool troubled = false;
  for (Target& target : round.targets) {
    troubled |= !target.unhashed.empty() || !std::exchange(target.trouble, {}).empty();
  }
  if (troubled) pass(round, sweep);
  note_troubles(round);
  addresses_.write(round.report);

  std::map<api::ObjectKey, ServiceEntry> kept, waiting;
  for (const auto& [key, entry] : wanted) {
    if (troubles_.contains(key) && entry != nullptr) kept[key] = *entry;
    if (round.waiting.contains(key)) waiting[key] = *entry;
  }
  for (const auto& [key, entry] : wanted) {
    pending_.erase(key);
    waiting_.erase(key);
  }
  pending_.merge(kept);
  waiting_.merge(waiting);
  sweep_pending_ = round.leftovers || (sweep_pending_ && !sweep);
  for (const auto& [key, lines] : troubles_) {
    for (const std::string& line : lines) round.report.errors.push_back(line);
  }
  if (sweep_pending_) round.report.errors.push_back("removed services: entries are left behind");
  round.report.services_changed = wanted.size();
  return std::move(round.report);
}

void ServiceSync::note_troubles(Round& round) {
  for (const Target& target : round.targets) {
    if (!target.unhashed.empty()) {
      troubles_[target.owner].push_back(
          cat(target.rule->label, ": ", target.unhashed, "; backends are chosen at random"));
    }
    if (target.trouble.empty()) continue;
    const auto& wanted =
        target.cluster.backends.empty() ? target.local.backends : target.cluster.backends;
    uint32_t served = target.rule->frontends.empty() ? 0 : UINT32_MAX;
    for (const WantedFrontend& frontend : target.rule->frontends) {
      auto held = frontends_.find(frontend.key);
      uint32_t count = 0;
      if (held != frontends_.end() && held->second.service == target.rule->id) {
        count = std::max(held->second.count, held->second.local_count);
      }
      served = std::min(served, count);
    }
    troubles_[target.owner].push_back(cat(target.rule->label, ": ", target.trouble, "; ", served,
                                          " of ", wanted.size(), " backends are served"));
  }
}

}  // namespace fairlead::dataplane::ebpf
