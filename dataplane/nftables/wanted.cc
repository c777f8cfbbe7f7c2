#include "dataplane/nftables/wanted.h"

#include <algorithm>

#include "base/check.h"
#include "dataplane/nftables/layout.h"

namespace fairlead::dataplane::nft {
namespace {

std::vector<Ip> local_backends_of(const ServiceEntry& entry) {
  std::vector<Ip> ips;
  for (const PortRule& rule : entry.ports) {
    for (const Backend& backend : rule.backends) {
      if (backend.local) ips.push_back(backend.ip);
    }
  }
  std::sort(ips.begin(), ips.end());
  ips.erase(std::unique(ips.begin(), ips.end()), ips.end());
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
  for (const Ip& ip : service->second.local_backends) {
    touched_hairpin_.insert(ip);
    const auto count = hairpin_.find(ip);
    if (--count->second == 0) hairpin_.erase(count);
  }
  services_.erase(service);
}

void Wanted::remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                      std::set<RowKey>& touched) {
  Service& service = services_[key];
  for (const auto& [row, content] : rows_of(node, entry)) {
    touched.insert(row);
    service.rows.push_back(row);
    auto& claims = claims_[row];
    claims.insert(std::lower_bound(claims.begin(), claims.end(), key), key);
  }
  service.local_backends = local_backends_of(entry);
  for (const Ip& ip : service.local_backends) {
    touched_hairpin_.insert(ip);
    ++hairpin_[ip];
  }
}

std::set<RowKey> Wanted::update(const ServiceTable& table, const std::set<api::ObjectKey>& keys,
                                bool full) {
  touched_hairpin_.clear();
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
  return touched;
}

std::optional<Wanted::Claim> Wanted::claim(const ServiceTable& table, const RowKey& key) {
  const auto claim = claims_.find(key);
  if (claim == claims_.end()) return std::nullopt;
  const api::ObjectKey& owner = claim->second.front();
  if (made_for_ != owner) {
    const auto entry = table.services.find(owner);
    CHECK(entry != table.services.end());
    made_ = rows_of(table.node, entry->second);
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
