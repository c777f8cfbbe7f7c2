#include "dataplane/nftables/wanted.h"

#include <algorithm>

#include "base/check.h"
#include "dataplane/nftables/layout.h"
#include "dataplane/packet_facts.h"

namespace fairlead::dataplane::nft {
namespace {

std::set<Ip> cluster_ips_of(const ServiceEntry& entry) {
  std::set<Ip> ips;
  for (const PortRule& rule : entry.ports) {
    for (const Frontend& frontend : rule.frontends) {
      if (frontend.kind == FrontendKind::cluster_ip) ips.insert(frontend.ip);
    }
  }
  return ips;
}

}  // namespace

void Wanted::forget(const api::ObjectKey& key, std::set<RowKey>& touched) {
  const auto service = services_.find(key);
  if (service == services_.end()) return;
  for (const RowKey& row : service->second.rows) {
    touched.insert(row);
    const auto claim = claims_.find(row);
    std::erase(claim->second, key);
    if (claim->second.empty()) claims_.erase(claim);
  }
  for (const Ip& ip : service->second.hairpin) hairpin_.remove(ip);
  for (const Ip& ip : service->second.cluster_ips) cluster_ips_.remove(ip);
  services_.erase(service);
}

void Wanted::remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                      std::set<RowKey>& touched) {
  Service& service = services_[key];
  for (const auto& [row, content] : rows_of(node, key, entry)) {
    touched.insert(row);
    service.rows.push_back(row);
    auto& claims = claims_[row];
    claims.insert(std::lower_bound(claims.begin(), claims.end(), key), key);
  }
  service.hairpin = hairpin_ips(node, entry);
  service.cluster_ips = cluster_ips_of(entry);
  for (const Ip& ip : service.hairpin) hairpin_.add(ip);
  for (const Ip& ip : service.cluster_ips) cluster_ips_.add(ip);
}

std::set<RowKey> Wanted::update(const ServiceTable& table, const std::set<api::ObjectKey>& keys,
                                bool full) {
  hairpin_.forget_touched();
  cluster_ips_.forget_touched();
  made_for_.reset();
  std::set<RowKey> touched;
  std::set<api::ObjectKey> all;
  if (full) {
    for (const auto& [key, service] : services_) all.insert(key);
    for (const auto& [key, entry] : table.services) all.insert(key);
  }
  for (const api::ObjectKey& key : full ? all : keys) {
    forget(key, touched);
    const auto entry = table.services.find(key);
    if (entry != table.services.end()) remember(table.node, key, entry->second, touched);
  }
  // Who has the ordinary row decides about the outside one.
  for (RowKey key : std::vector<RowKey>(touched.begin(), touched.end())) {
    key.outside = true;
    if (claims_.contains(key)) touched.insert(key);
  }
  return touched;
}

const api::ObjectKey* Wanted::owner_of(const RowKey& key) const {
  RowKey ordinary = key;
  ordinary.outside = false;
  const auto claim = claims_.find(key), decides = claims_.find(ordinary);
  if (claim == claims_.end() || decides == claims_.end()) return nullptr;
  const api::ObjectKey& owner = decides->second.front();
  const bool has = std::binary_search(claim->second.begin(), claim->second.end(), owner);
  return has ? &owner : nullptr;
}

std::vector<RowKey> Wanted::rows_owned_by(const api::ObjectKey& service) const {
  std::vector<RowKey> out;
  const auto found = services_.find(service);
  if (found == services_.end()) return out;
  for (const RowKey& key : found->second.rows) {
    const api::ObjectKey* owner = owner_of(key);
    if (owner != nullptr && *owner == service) out.push_back(key);
  }
  return out;
}

std::optional<Wanted::Claim> Wanted::claim(const ServiceTable& table, const RowKey& key) {
  const api::ObjectKey* found = owner_of(key);
  if (found == nullptr) return std::nullopt;
  const api::ObjectKey& owner = *found;
  if (made_for_ != owner) {
    const auto entry = table.services.find(owner);
    CHECK(entry != table.services.end());
    made_ = rows_of(table.node, owner, entry->second);
    made_for_ = owner;
  }
  const auto row = std::lower_bound(made_.begin(), made_.end(), key,
                                    [](const auto& a, const RowKey& b) { return a.first < b; });
  CHECK(row != made_.end() && row->first == key);
  Claim out{owner, row->second, row->second.slots.size() > max_slots};
  if (out.truncated) out.row.slots.resize(max_slots);
  return out;
}

}  // namespace fairlead::dataplane::nft
