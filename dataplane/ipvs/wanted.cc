#include "dataplane/ipvs/wanted.h"

#include <algorithm>

#include "dataplane/flow.h"
#include "dataplane/packet_facts.h"

namespace fairlead::dataplane::ipvs {
namespace {

// The addresses of a frontend, as keys.
template <class Visit>
void for_each_key(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                  Visit visit) {
  if (frontend.kind != FrontendKind::node_port) {
    visit(ServiceKey{frontend.ip, rule.protocol, frontend.port});
    return;
  }
  for (const Ip& ip : node_port_ips(node)) {
    if (ip.is_v4() != rule.ipv6) visit(ServiceKey{ip, rule.protocol, frontend.port});
  }
}

bool has_key(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
             const ServiceKey& key) {
  if (rule.protocol != key.protocol || frontend.port != key.port) return false;
  bool found = false;
  for_each_key(node, rule, frontend, [&](const ServiceKey& one) { found |= one == key; });
  return found;
}

Settings settings_of(const PortRule& rule, const std::string& scheduler) {
  Settings settings;
  settings.scheduler = rule.algorithm == Algorithm::maglev ? "mh" : scheduler;
  settings.by_source_port = settings.scheduler == "mh";
  settings.timeout_s = rule.affinity_timeout_s;
  return settings;
}

// IPVS knows no source: where policy Local tells outsiders from pods and the node, all of them get
// the local backends as long as there are some.
std::span<const Backend> backends_of(const NodeConfig& node, const PortRule& rule,
                                     const Frontend& frontend, Claim& claim) {
  const Treatment outside = treatment(node, rule, frontend, SourceClass::outside);
  const Treatment inside = treatment(node, rule, frontend, SourceClass::node);
  if (outside.backends.empty() && inside.backends.empty()) {
    claim.gate = rule.if_empty == NoBackend::reject ? Gate::refuse : Gate::discard;
    return {};
  }
  if (!outside.backends.empty()) return outside.backends;
  claim.gate = Gate::insiders;
  return inside.backends;
}

Claim make_claim(const NodeConfig& node, const api::ObjectKey& owner, const PortRule& rule,
                 const Frontend& frontend, const std::string& scheduler) {
  Claim claim;
  claim.owner = owner;
  claim.settings = settings_of(rule, scheduler);
  for (const Backend& backend : backends_of(node, rule, frontend, claim)) {
    claim.backends.push_back({backend.ip, backend.port});
  }
  std::sort(claim.backends.begin(), claim.backends.end());
  claim.backends.erase(std::unique(claim.backends.begin(), claim.backends.end()),
                       claim.backends.end());
  claim.on_device = frontend.kind != FrontendKind::node_port;
  if (frontend.kind == FrontendKind::cluster_ip) {
    claim.masquerade = Masquerade::by_source;
  } else if (frontend.local_only) {
    claim.masquerade = Masquerade::node_only;
  }
  claim.sources = dial_ranges(node, rule, frontend);
  return claim;
}

}  // namespace

void Wanted::forget(const api::ObjectKey& service, std::set<ServiceKey>& touched) {
  const auto old = services_.find(service);
  if (old == services_.end()) return;
  for (const ServiceKey& key : old->second) {
    touched.insert(key);
    const auto claims = claims_.find(key);
    claims->second.erase(service);
    if (claims->second.empty()) claims_.erase(claims);
  }
  services_.erase(old);
}

void Wanted::remember(const NodeConfig& node, const api::ObjectKey& service,
                      const ServiceEntry& entry, std::set<ServiceKey>& touched) {
  std::set<ServiceKey> keys;
  for (const PortRule& rule : entry.ports) {
    for (const Frontend& frontend : rule.frontends) {
      for_each_key(node, rule, frontend, [&](const ServiceKey& key) { keys.insert(key); });
    }
  }
  for (const ServiceKey& key : keys) {
    touched.insert(key);
    claims_[key].insert(service);
  }
  if (!keys.empty()) services_[service].assign(keys.begin(), keys.end());
}

std::set<ServiceKey> Wanted::update(const ServiceTable& table, const std::set<api::ObjectKey>& keys,
                                    bool full) {
  std::set<ServiceKey> touched;
  if (full) {
    for (const auto& [key, claimants] : claims_) touched.insert(key);
    services_.clear();
    claims_.clear();
    for (const auto& [service, entry] : table.services) {
      remember(table.node, service, entry, touched);
    }
    return touched;
  }
  for (const api::ObjectKey& service : keys) {
    forget(service, touched);
    const auto entry = table.services.find(service);
    if (entry != table.services.end()) remember(table.node, service, entry->second, touched);
  }
  return touched;
}

std::optional<Claim> Wanted::claim(const ServiceTable& table, const ServiceKey& key) const {
  const auto claims = claims_.find(key);
  if (claims == claims_.end()) return std::nullopt;
  const api::ObjectKey& owner = *claims->second.begin();
  const auto entry = table.services.find(owner);
  if (entry == table.services.end()) return std::nullopt;
  for (const PortRule& rule : entry->second.ports) {
    for (const Frontend& frontend : rule.frontends) {
      if (has_key(table.node, rule, frontend, key)) {
        return make_claim(table.node, owner, rule, frontend, scheduler_);
      }
    }
  }
  return std::nullopt;
}

std::vector<ServiceKey> Wanted::keys_of(const api::ObjectKey& service) const {
  const auto found = services_.find(service);
  return found == services_.end() ? std::vector<ServiceKey>() : found->second;
}

Extras Wanted::extras(const NodeConfig& node, const ServiceEntry& entry) {
  Extras out;
  out.hairpin = hairpin_ips(node, entry);
  out.health_port = entry.health_check.port;
  return out;
}

}  // namespace fairlead::dataplane::ipvs
