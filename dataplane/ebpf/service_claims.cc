// What the services of a table claim: frontends, ids, backends. No map is written here.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "dataplane/ebpf/service_sync.h"

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

// The flags that do not depend on what there is to choose from.
uint32_t flags_of(const PortRule& port, const Frontend& frontend, const std::vector<Ip>& node_ips) {
  uint32_t flags = 0;
  if (frontend.local_only) flags |= FL_FRONTEND_LOCAL_ONLY;
  if (frontend.kind != FrontendKind::cluster_ip) {
    flags |= FL_FRONTEND_EXTERNAL;
    if (port.forwarding == Forwarding::dsr) flags |= FL_FRONTEND_DSR;
  }
  if (port.algorithm == Algorithm::maglev) flags |= FL_FRONTEND_MAGLEV;
  if (frontend.kind == FrontendKind::load_balancer && !port.source_ranges.empty()) {
    flags |= FL_FRONTEND_RANGES;
    const bool node_may = std::any_of(node_ips.begin(), node_ips.end(), [&](const Ip& ip) {
      return std::any_of(port.source_ranges.begin(), port.source_ranges.end(),
                         [&](const Cidr& range) { return range.contains(ip); });
    });
    if (node_may) flags |= FL_FRONTEND_NODE_RANGE;
  }
  return flags;
}

std::vector<fl_backend> distinct(std::span<const Backend> backends) {
  std::vector<fl_backend> out;
  std::set<std::pair<Ip, uint16_t>> seen;
  for (const Backend& backend : backends) {
    if (seen.emplace(backend.ip, backend.port).second) out.push_back(to_map(backend));
  }
  return out;
}

}  // namespace

// The service owns nothing any more; the maps are not touched yet.
void ServiceSync::release(const api::ObjectKey& owner, Round& round) {
  troubles_.erase(owner);
  auto found = owned_.find(owner);
  if (found == owned_.end()) return;
  for (const Rule& rule : found->second.rules) {
    for (const WantedFrontend& frontend : rule.frontends) {
      owner_of_.erase(frontend.key);
      round.released.push_back(frontend.key);
    }
    for (uint32_t id : {rule.id, rule.local_id}) {
      if (id == 0) continue;
      id_owner_.erase(id);
      round.touched.insert(id);
    }
  }
  for (const Ip& ip : found->second.cluster_ips) addresses_.remove_cluster_ip(ip);
  owned_.erase(found);
}

void ServiceSync::claim(const api::ObjectKey& owner, const ServiceEntry& entry,
                        const std::vector<Rule>& before, Round& round) {
  std::map<std::string, int> seen;
  Owned owned;
  std::set<Ip> cluster_ips;
  std::vector<Target> targets;
  for (const PortRule& port : entry.ports) {
    for (const Frontend& frontend : port.frontends) {
      if (frontend.kind == FrontendKind::cluster_ip) cluster_ips.insert(frontend.ip);
    }
    Rule rule;
    rule.name = rule_name(port);
    rule.label = rule_label(owner, port);
    if (int ordinal = ++seen[rule.name]; ordinal > 1) rule.name += cat("#", ordinal);
    if (port.protocol == Protocol::sctp) continue;  // see dataplane/capability.cc
    claim_frontends(owner, port, rule, round);
    if (rule.frontends.empty()) continue;
    Target target;
    target.owner = owner;
    target.affinity_s = port.affinity_timeout_s;
    target.drop = port.if_empty == NoBackend::drop;
    target.maglev = port.algorithm == Algorithm::maglev;
    target.cluster.backends = distinct(cluster_backends(port));
    target.local.backends = distinct(local_backends(port));
    claim_ids(owner, before, rule, target);
    claim_ranges(port, rule, target);
    for (uint32_t id : {rule.id, rule.local_id}) {
      if (id != 0) round.touched.insert(id);
    }
    owned.rules.push_back(std::move(rule));
    targets.push_back(std::move(target));
  }
  for (const Ip& ip : cluster_ips) addresses_.add_cluster_ip(ip);
  owned.cluster_ips.assign(cluster_ips.begin(), cluster_ips.end());
  if (owned.rules.empty() && owned.cluster_ips.empty()) return;
  Owned& stored = owned_[owner] = std::move(owned);
  for (size_t i = 0; i < stored.rules.size(); ++i) {
    targets[i].rule = &stored.rules[i];
    round.targets.push_back(std::move(targets[i]));
  }
}

void ServiceSync::claim_frontends(const api::ObjectKey& owner, const PortRule& port, Rule& rule,
                                  Round& round) {
  for (const Frontend& frontend : port.frontends) {
    const fl_frontend_key key = to_map(frontend, port.protocol);
    if (owner_of_.try_emplace(key, owner).second) {
      rule.frontends.push_back({key, flags_of(port, frontend, node_ips_)});
    } else {
      round.waiting.insert(owner);
    }
  }
}

// Of several Services that ask for one frontend the first by name has it. So beside those that
// change there are others to look at: who has one and has to give it away, and who waits for one
// that may become free.
std::set<api::ObjectKey> ServiceSync::beside(
    const std::map<api::ObjectKey, const ServiceEntry*>& wanted) const {
  std::set<api::ObjectKey> out;
  const auto each_owner = [&](const ServiceEntry& entry, const auto& visit) {
    for (const PortRule& port : entry.ports) {
      for (const Frontend& frontend : port.frontends) {
        const auto held = owner_of_.find(to_map(frontend, port.protocol));
        if (held != owner_of_.end()) visit(held->second);
      }
    }
  };
  for (const auto& [key, entry] : wanted) {
    if (entry == nullptr) continue;
    each_owner(*entry, [&](const api::ObjectKey& owner) {
      if (key < owner) out.insert(owner);
    });
  }
  for (const auto& [key, entry] : waiting_) {
    each_owner(entry, [&](const api::ObjectKey& owner) {
      if (wanted.contains(owner)) out.insert(key);
    });
  }
  return out;
}

void ServiceSync::claim_ranges(const PortRule& port, const Rule& rule, Target& target) {
  const bool asked =
      std::any_of(rule.frontends.begin(), rule.frontends.end(),
                  [](const WantedFrontend& one) { return (one.flags & FL_FRONTEND_RANGES) != 0; });
  if (!asked) return;
  for (const Cidr& range : port.source_ranges) target.ranges.push_back(to_map(range, rule.id));
  std::sort(target.ranges.begin(), target.ranges.end(), BytesLess());
  target.ranges.erase(std::unique(target.ranges.begin(), target.ranges.end(), BytesEqual()),
                      target.ranges.end());
}

void ServiceSync::claim_ids(const api::ObjectKey& owner, const std::vector<Rule>& before,
                            Rule& rule, Target& target) {
  // A frontend that wanted a set may belong to another service.
  bool cluster = false, local = false, direct = false;  // direct: see set_backends()
  for (const WantedFrontend& frontend : rule.frontends) {
    const bool local_only = (frontend.flags & FL_FRONTEND_LOCAL_ONLY) != 0;
    direct |= (frontend.flags & FL_FRONTEND_DSR) != 0;
    local |= local_only;
    cluster |= !local_only || (frontend.flags & FL_FRONTEND_EXTERNAL) != 0;
  }
  if (!cluster) target.cluster.backends.clear();
  rule.id = choose_id(rule, before, target.cluster.backends, &Rule::id, &fl_frontend::service);
  id_owner_[rule.id] = owner;
  target.cluster.id = rule.id;
  if (local) {
    rule.local_id =
        choose_id(rule, before, target.local.backends, &Rule::local_id, &fl_frontend::local_list);
    id_owner_[rule.local_id] = owner;
    target.local.id = rule.local_id;
  }
  std::map<fl_member_key, uint32_t, BytesLess> sets;
  const auto add = [&](List& list, uint32_t set) {
    for (fl_backend& backend : list.backends) {
      backend.list = list.id;
      const bool here = (backend.flags & FL_BACKEND_LOCAL) != 0;
      sets[{rule.id, backend.ip, backend.port, 0}] |= set | (here ? uint32_t{FL_ON_NODE} : 0u);
    }
  };
  add(target.cluster, FL_IN_CLUSTER);
  if (local) {
    add(target.local, FL_IN_LOCAL);
  } else if (direct) {
    for (const fl_backend& backend : std::exchange(target.local.backends, {})) {
      sets[{rule.id, backend.ip, backend.port, 0}] |= FL_ON_NODE;
    }
  } else {
    target.local.backends.clear();
  }
  for (const auto& [key, value] : sets) target.members.push_back({key, value});
}

bool ServiceSync::reaches_others(uint32_t id, const Rule& rule) const {
  auto service = kernel_.find(id);
  if (service == kernel_.end()) return false;
  for (const fl_frontend_key& key : service->second.frontends) {
    bool ours = std::any_of(rule.frontends.begin(), rule.frontends.end(),
                            [&](const WantedFrontend& own) { return same_bytes(own.key, key); });
    if (!ours) return true;
  }
  return false;
}

bool ServiceSync::holds_exactly(uint32_t id, const std::vector<fl_backend>& backends) const {
  auto service = kernel_.find(id);
  if (service == kernel_.end()) return false;
  std::set<std::pair<Ip, uint16_t>> held, wanted;
  for (const fl_backend& slot : service->second.slots) {
    if (slot.list != 0) held.emplace(from_map(slot.ip), slot.port);
  }
  for (const fl_backend& backend : backends) wanted.emplace(from_map(backend.ip), backend.port);
  return held == wanted;
}

// An id is kept when all that points at it stays with this rule: its slots are about to become this
// rule's backends, and an address that goes over to another service must not see them.
uint32_t ServiceSync::choose_id(const Rule& rule, const std::vector<Rule>& before,
                                const std::vector<fl_backend>& backends, uint32_t Rule::* of_rule,
                                uint32_t fl_frontend::* of_frontend) {
  auto may_keep = [&](uint32_t id) {
    return id != 0 && !id_owner_.contains(id) &&
           (!reaches_others(id, rule) || holds_exactly(id, backends));
  };
  // A local list stays with the id whose members its backends are.
  const uint32_t service = rule.id;
  for (const Rule& old : before) {
    if (service != 0 && old.id != service) continue;
    if (old.name == rule.name && may_keep(old.*of_rule)) return old.*of_rule;
  }
  for (const WantedFrontend& frontend : rule.frontends) {
    auto held = frontends_.find(frontend.key);
    if (held == frontends_.end() || (service != 0 && held->second.service != service)) continue;
    if (may_keep(held->second.*of_frontend)) return held->second.*of_frontend;
  }
  while (next_id_ == 0 || kernel_.contains(next_id_) || id_owner_.contains(next_id_)) ++next_id_;
  return next_id_++;
}

}  // namespace fairlead::dataplane::ebpf
