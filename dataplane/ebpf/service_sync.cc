#include "dataplane/ebpf/service_sync.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace fairlead::dataplane::ebpf {
namespace {

std::string rule_name(const PortRule& port) {
  return cat(port.ipv6 ? "IPv6 " : "IPv4 ", to_string(port.protocol), " ", port.port_name);
}

std::string rule_label(const api::ObjectKey& owner, const PortRule& port) {
  std::string port_part =
      port.port_name.empty() ? std::string(to_string(port.protocol)) : port.port_name;
  return cat(owner.to_string(), ":", port_part, port.ipv6 ? " (IPv6)" : "");
}

}  // namespace

Result<void> ServiceSync::load() {
  int error = each_entry<fl_backend_key, fl_backend>(
      maps_, MapId::backends, [&](const fl_backend_key& key, fl_backend value) {
        value.service = key.service;
        // A slot far beyond every limit would only make this vector huge.
        if (key.slot < maps_.capacity(MapId::backends)) set_slot(key, value);
      });
  if (error != 0) return fail(cat("cannot read the backends map: ", std::strerror(error)));
  error = each_entry<fl_frontend_key, fl_frontend>(
      maps_, MapId::frontends,
      [&](const fl_frontend_key& key, const fl_frontend& value) { point(key, value); });
  if (error != 0) return fail(cat("cannot read the frontends map: ", std::strerror(error)));
  for (const auto& [id, service] : kernel_) next_id_ = std::max(next_id_, id + 1);
  return {};
}

std::string ServiceSync::name_of(uint32_t service) const {
  auto owner = id_owner_.find(service);
  if (owner == id_owner_.end()) return {};
  for (const Rule& rule : owned_.at(owner->second)) {
    if (rule.id == service) return rule.label;
  }
  return {};
}

ApplyReport ServiceSync::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                               bool full) {
  std::map<api::ObjectKey, const ServiceEntry*> wanted;
  auto add = [&](const api::ObjectKey& key) {
    auto found = table.services.find(key);
    wanted[key] = found == table.services.end() ? nullptr : &found->second;
  };
  for (const api::ObjectKey& key : changed) add(key);
  for (const auto& [key, entry] : pending_) add(key);
  if (full) {
    for (const auto& [key, rules] : owned_) add(key);
    for (const auto& [key, entry] : table.services) wanted[key] = &entry;
    swept_ = true;
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
    if (auto found = owned_.find(key); found != owned_.end()) before[key] = found->second;
    release(key, round);
  }
  std::map<api::ObjectKey, ServiceEntry> kept;
  for (const auto& [key, entry] : wanted) {
    if (entry == nullptr || entry->ports.empty()) continue;
    claim(key, *entry, before[key], round);
  }
  write_slots(round);
  write_frontends(round);
  erase_frontends(round, sweep);
  erase_slots(round, sweep);
  // What did not fit may fit now that the rest has gone.
  bool troubled = false;
  for (Target& target : round.targets) troubled |= !std::exchange(target.trouble, {}).empty();
  if (troubled) {
    write_slots(round);
    write_frontends(round);
    erase_slots(round, sweep);
  }
  note_troubles(round);

  for (const auto& [key, entry] : wanted) {
    bool failed = troubles_.contains(key) && entry != nullptr;
    if (failed) {
      kept[key] = *entry;
    }
  }
  for (const auto& [key, entry] : wanted) pending_.erase(key);
  pending_.merge(kept);
  sweep_pending_ = round.leftovers || (sweep_pending_ && !sweep);
  for (const auto& [key, lines] : troubles_) {
    for (const std::string& line : lines) round.report.errors.push_back(line);
  }
  if (sweep_pending_) round.report.errors.push_back("removed services: entries are left behind");
  round.report.services_changed = wanted.size();
  return std::move(round.report);
}

// The service owns nothing any more; the maps are not touched yet.
void ServiceSync::release(const api::ObjectKey& owner, Round& round) {
  troubles_.erase(owner);
  auto found = owned_.find(owner);
  if (found == owned_.end()) return;
  for (const Rule& rule : found->second) {
    for (const fl_frontend_key& key : rule.frontends) {
      owner_of_.erase(key);
      round.released.push_back(key);
    }
    id_owner_.erase(rule.id);
    round.touched.insert(rule.id);
  }
  owned_.erase(found);
}

void ServiceSync::claim(const api::ObjectKey& owner, const ServiceEntry& entry,
                        const std::vector<Rule>& before, Round& round) {
  std::map<std::string, int> seen;
  std::vector<Rule> rules;
  std::vector<Target> targets;
  for (const PortRule& port : entry.ports) {
    Rule rule{.name = rule_name(port), .label = rule_label(owner, port)};
    if (int ordinal = ++seen[rule.name]; ordinal > 1) rule.name += cat("#", ordinal);
    if (port.protocol == Protocol::sctp) continue;  // see dataplane/capability.cc
    claim_frontends(owner, port, rule);
    if (rule.frontends.empty()) continue;
    Target target{
        .owner = owner, .rule = nullptr, .backends = {}, .drop = port.if_empty == NoBackend::drop};
    std::set<std::pair<Ip, uint16_t>> unique;
    for (const Backend& backend : port.backends) {
      if (!unique.emplace(backend.ip, backend.port).second) continue;
      target.backends.push_back(to_map(backend));
    }
    rule.id = choose_id(rule, before, target.backends);
    for (fl_backend& backend : target.backends) backend.service = rule.id;
    id_owner_[rule.id] = owner;
    round.touched.insert(rule.id);
    rules.push_back(std::move(rule));
    targets.push_back(std::move(target));
  }
  if (rules.empty()) return;
  auto& stored = owned_[owner] = std::move(rules);
  for (size_t i = 0; i < stored.size(); ++i) {
    targets[i].rule = &stored[i];
    round.targets.push_back(std::move(targets[i]));
  }
}

void ServiceSync::claim_frontends(const api::ObjectKey& owner, const PortRule& port, Rule& rule) {
  for (const Frontend& frontend : port.frontends) {
    fl_frontend_key key = to_map(frontend, port.protocol);
    auto [place, free] = owner_of_.try_emplace(key, owner);
    if (!free) {
      troubles_[owner].push_back(
          cat(rule.label, ": ", to_text(key), " already belongs to ", place->second.to_string()));
      continue;
    }
    rule.frontends.push_back(key);
  }
}

bool ServiceSync::reaches_others(uint32_t id, const Rule& rule) const {
  auto service = kernel_.find(id);
  if (service == kernel_.end()) return false;
  for (const fl_frontend_key& key : service->second.frontends) {
    bool ours = std::any_of(rule.frontends.begin(), rule.frontends.end(),
                            [&](const fl_frontend_key& own) { return same_bytes(own, key); });
    if (!ours) return true;
  }
  return false;
}

bool ServiceSync::holds_exactly(uint32_t id, const std::vector<fl_backend>& backends) const {
  auto service = kernel_.find(id);
  if (service == kernel_.end()) return false;
  std::set<std::pair<Ip, uint16_t>> held, wanted;
  for (const fl_backend& slot : service->second.slots) {
    if (slot.service != 0) held.emplace(from_map(slot.ip), slot.port);
  }
  for (const fl_backend& backend : backends) wanted.emplace(from_map(backend.ip), backend.port);
  return held == wanted;
}

// An id is kept when all that points at it stays with this rule: its slots are about to become this
// rule's backends, and an address that goes over to another service must not see them.
uint32_t ServiceSync::choose_id(const Rule& rule, const std::vector<Rule>& before,
                                const std::vector<fl_backend>& backends) {
  auto may_keep = [&](uint32_t id) {
    return !id_owner_.contains(id) && (!reaches_others(id, rule) || holds_exactly(id, backends));
  };
  for (const Rule& old : before) {
    if (old.name == rule.name && may_keep(old.id)) return old.id;
  }
  for (const fl_frontend_key& key : rule.frontends) {
    auto held = frontends_.find(key);
    if (held != frontends_.end() && may_keep(held->second.service)) return held->second.service;
  }
  while (next_id_ == 0 || kernel_.contains(next_id_) || id_owner_.contains(next_id_)) ++next_id_;
  return next_id_++;
}

void ServiceSync::note_troubles(Round& round) {
  for (const Target& target : round.targets) {
    if (target.trouble.empty()) continue;
    uint32_t served = target.rule->frontends.empty() ? 0 : UINT32_MAX;
    for (const fl_frontend_key& key : target.rule->frontends) {
      auto held = frontends_.find(key);
      bool ours = held != frontends_.end() && held->second.service == target.rule->id;
      served = std::min(served, ours ? held->second.count : 0);
    }
    troubles_[target.owner].push_back(cat(target.rule->label, ": ", target.trouble, "; ", served,
                                          " of ", target.backends.size(), " backends are served"));
  }
}

}  // namespace fairlead::dataplane::ebpf
