#include "dataplane/iptables/wanted.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane::ipt {
namespace {

const ServiceEntry* find_entry(const ServiceTable& table, const api::ObjectKey& key) {
  const auto entry = table.services.find(key);
  return entry == table.services.end() ? nullptr : &entry->second;
}

// The shortest prefix that has both addresses; of the family's own length.
Cidr common_prefix(const Ip& a, const Ip& b) {
  const size_t first = a.is_v4() ? 12 : 0;
  uint8_t bits = 0;
  for (size_t i = first; i < 16; ++i) {
    const uint8_t differ = a.bytes[i] ^ b.bytes[i];
    if (differ == 0) {
      bits = static_cast<uint8_t>(bits + 8);
      continue;
    }
    bits = static_cast<uint8_t>(bits + __builtin_clz(static_cast<unsigned>(differ)) - 24);
    break;
  }
  const auto cidr = Cidr::parse(cat(a.to_string(), "/", bits));  // clears the host bits
  CHECK(cidr);
  return *cidr;
}

}  // namespace

void Wanted::claim(const api::ObjectKey& key, const FrontendKey& frontend) {
  auto& who = claims_[frontend];
  const auto at = std::lower_bound(who.begin(), who.end(), key);
  if (at == who.end() || *at != key) who.insert(at, key);
  const bool cluster_ip = frontend.protocol == 0 && !frontend.ip.is_unspecified();
  if (cluster_ip && !layout_.in_service_cidrs(frontend.ip)) stray_cluster_ips_.insert(frontend.ip);
}

void Wanted::unclaim(const api::ObjectKey& key, const FrontendKey& frontend) {
  const auto who = claims_.find(frontend);
  if (who == claims_.end()) return;
  std::erase(who->second, key);
  if (!who->second.empty()) return;
  claims_.erase(who);
  if (frontend.protocol == 0) stray_cluster_ips_.erase(frontend.ip);
}

std::vector<SharedRule> Wanted::rules_of(const ServiceTable& table,
                                         const FrontendKey& frontend) const {
  const auto who = claims_.find(frontend);
  if (who == claims_.end()) return {};
  const api::ObjectKey& owner = who->second.front();
  const ServiceEntry* entry = find_entry(table, owner);
  CHECK(entry != nullptr);
  return layout_.shared_rules(owner, *entry, frontend);
}

// Whether some Service wants a NodePort of these.
bool Wanted::has_ports(const PortRange& range) const {
  const Ip any = layout_.ipv6() ? Ip{} : Ip::v4(0);
  auto claim = claims_.lower_bound({any, range.first, 0});
  for (; claim != claims_.end() && claim->first.ip == any && claim->first.port <= range.last();
       ++claim) {
    if (claim->first.protocol == static_cast<uint8_t>(range.protocol)) return true;
  }
  return false;
}

std::vector<Cidr> Wanted::cluster_prefixes() const {
  if (stray_cluster_ips_.empty()) return {};
  return {common_prefix(*stray_cluster_ips_.begin(), *stray_cluster_ips_.rbegin())};
}

std::vector<SharedRule> Wanted::guards() const {
  std::vector<SharedRule> out;
  for (std::string& rule : layout_.tail(Shared::filter_services, cluster_prefixes())) {
    out.push_back({Shared::filter_services, std::move(rule)});
  }
  return out;
}

void Wanted::reset(const ServiceTable& table) {
  claims_.clear();
  stray_cluster_ips_.clear();
  for (const auto& [key, entry] : table.services) {
    for (const FrontendKey& frontend : layout_.frontends(entry)) claim(key, frontend);
  }
}

namespace {

// Chains of one Service, both sorted by name.
void change_chains(const std::vector<Chain>& before, const std::vector<Chain>& after,
                   RestoreInput& input) {
  auto old = before.begin();
  for (const Chain& chain : after) {
    for (; old != before.end() && old->name < chain.name; ++old)
      input.remove(old->table, old->name);
    const bool known = old != before.end() && old->name == chain.name;
    if (!known || *old != chain) input.write(chain);
    if (known) ++old;
  }
  for (; old != before.end(); ++old) input.remove(old->table, old->name);
}

template <class T>
std::vector<T> without(const std::vector<T>& these, const std::vector<T>& those) {
  std::vector<T> out;
  for (const T& one : these) {
    if (std::find(those.begin(), those.end(), one) == those.end()) out.push_back(one);
  }
  return out;
}

}  // namespace

// Chains of the tree of NodePorts come and go with the first and the last port that needs them.
void Wanted::change_ports(const std::map<PortRange, bool>& before, std::set<std::string>& gone,
                          RestoreInput& input) const {
  for (const auto& [range, had] : before) {
    if (had && !has_ports(range)) gone.insert(Layout::chain_of(range));
  }
  for (const auto& [range, had] : before) {
    const bool has = has_ports(range);
    if (had == has) continue;
    const std::string chain = Layout::chain_of(range);
    const SharedRule way = Layout::way_to(range);
    if (has) {
      input.write({Table::nat, chain, {}});
      input.prepend(way.table(), way.chain_name(), way.rule);
    } else {
      input.remove(Table::nat, chain);
      if (!gone.contains(way.leaf)) input.erase(way.table(), way.chain_name(), way.rule);
    }
  }
}

RestoreInput Wanted::change(const ServiceTable& before, const ServiceTable& after,
                            const std::set<api::ObjectKey>& keys) {
  RestoreInput input;
  std::map<FrontendKey, std::vector<SharedRule>> touched;  // with what stood there
  std::vector<std::pair<api::ObjectKey, FrontendKey>> claims, unclaims;
  const std::vector<SharedRule> old_guards = guards();
  for (const api::ObjectKey& key : keys) {
    const ServiceEntry* old = find_entry(before, key);
    const ServiceEntry* next = find_entry(after, key);
    std::vector<Chain> old_chains, next_chains;
    if (old != nullptr) {
      old_chains = layout_.service_chains(key, *old);
      for (const auto& one : layout_.frontends(*old)) unclaims.emplace_back(key, one);
    }
    if (next != nullptr) {
      next_chains = layout_.service_chains(key, *next);
      for (const auto& one : layout_.frontends(*next)) claims.emplace_back(key, one);
    }
    change_chains(old_chains, next_chains, input);
  }
  std::map<PortRange, bool> ports;  // and whether somebody had some of them
  for (const auto* list : {&claims, &unclaims}) {
    for (const auto& [key, one] : *list) {
      touched.try_emplace(one, rules_of(before, one));
      for (const PortRange& range : layout_.port_ranges(one))
        ports.emplace(range, has_ports(range));
    }
  }
  for (const auto& [key, one] : unclaims) unclaim(key, one);
  for (const auto& [key, one] : claims) claim(key, one);
  std::set<std::string> gone;  // with all their rules
  change_ports(ports, gone, input);
  for (const auto& [frontend, old] : touched) {
    const std::vector<SharedRule> next = rules_of(after, frontend);
    for (const SharedRule& one : without(next, old)) {
      input.prepend(one.table(), one.chain_name(), one.rule);
    }
    for (const SharedRule& one : without(old, next)) {
      if (!gone.contains(one.leaf)) input.erase(one.table(), one.chain_name(), one.rule);
    }
  }
  const std::vector<SharedRule> next_guards = guards();
  for (const SharedRule& one : without(next_guards, old_guards)) {
    input.append_rule(one.table(), one.chain_name(), one.rule);
  }
  for (const SharedRule& one : without(old_guards, next_guards)) {
    input.erase(one.table(), one.chain_name(), one.rule);
  }
  return input;
}

Wanted::Entries Wanted::entries(const ServiceTable& table, const api::ObjectKey& key) const {
  Entries out;
  const ServiceEntry* entry = find_entry(table, key);
  if (entry == nullptr) return out;
  for (const Chain& chain : layout_.service_chains(key, *entry)) out.chains.insert(chain.name);
  for (const FrontendKey& frontend : layout_.frontends(*entry)) {
    const auto who = claims_.find(frontend);
    if (who == claims_.end() || who->second.front() != key) continue;
    for (const SharedRule& rule : layout_.shared_rules(key, *entry, frontend)) {
      out.shared.insert({rule.chain, normal_form(rule.rule), rule.leaf});
    }
  }
  return out;
}

}  // namespace fairlead::dataplane::ipt
