#include "dataplane/userspace/wanted.h"

#include <algorithm>

#include "base/check.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane::userspace {

CaptureAction action_of(const NodeConfig& node, const Route& route) {
  const PortRule& rule = route.rule->rule;
  const bool tcp = rule.protocol == Protocol::tcp;
  bool empty = true;
  for (const SourceClass from : {SourceClass::node, SourceClass::local_pod, SourceClass::outside}) {
    empty = empty && treatment(node, rule, route.frontend, from).backends.empty();
  }
  // A datagram that is taken and not answered is dropped, as it should be.
  if (empty && (tcp || rule.if_empty == NoBackend::reject)) return CaptureAction::refuse;
  return tcp ? CaptureAction::tcp : CaptureAction::udp;
}

void Wanted::forget(const api::ObjectKey& key, Touched& touched) {
  const auto service = services_.find(key);
  if (service == services_.end()) return;
  for (const auto& [flow, route] : service->second.rows) {
    touched.keys.insert(flow);
    const auto claim = claims_.find(flow);
    std::erase(claim->second, key);
    if (claim->second.empty()) claims_.erase(claim);
  }
  for (const Ip& ip : service->second.vips) {
    touched.vips.insert(ip);
    const auto count = vips_.find(ip);
    if (--count->second == 0) vips_.erase(count);
  }
  services_.erase(service);
}

void Wanted::remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                      Touched& touched) {
  Service& service = services_[key];
  service.rows = rows_of(node, key, entry);
  for (const auto& [flow, route] : service.rows) {
    touched.keys.insert(flow);
    auto& claims = claims_[flow];
    claims.insert(std::lower_bound(claims.begin(), claims.end(), key), key);
    if (route.frontend.kind != FrontendKind::node_port) service.vips.insert(flow.to.ip);
  }
  for (const Ip& ip : service.vips) {
    touched.vips.insert(ip);
    ++vips_[ip];
  }
}

const Route& Wanted::route_of(const api::ObjectKey& owner, const FlowKey& key) const {
  const Rows& rows = services_.at(owner).rows;
  const auto row = std::lower_bound(rows.begin(), rows.end(), key,
                                    [](const auto& a, const FlowKey& b) { return a.first < b; });
  CHECK(row != rows.end() && row->first == key);
  return row->second;
}

Wanted::Touched Wanted::update(const ServiceTable& table, const std::set<api::ObjectKey>& services,
                               bool full) {
  Touched touched;
  std::set<api::ObjectKey> all;
  if (full) {
    for (const auto& [key, service] : services_) all.insert(key);
    for (const auto& [key, entry] : table.services) all.insert(key);
  }
  for (const api::ObjectKey& key : full ? all : services) {
    forget(key, touched);
    const auto entry = table.services.find(key);
    if (entry != table.services.end()) remember(table.node, key, entry->second, touched);
  }
  for (const FlowKey& key : touched.keys) {
    const auto claim = claims_.find(key);
    if (claim == claims_.end()) {
      captured_.erase(key);
      touched.routes.emplace_back(key, std::nullopt);
      continue;
    }
    const Route& route = route_of(claim->second.front(), key);
    captured_.insert_or_assign(key, action_of(table.node, route));
    touched.routes.emplace_back(key, route);
  }
  return touched;
}

std::vector<FlowKey> Wanted::keys_of(const api::ObjectKey& service) const {
  std::vector<FlowKey> keys;
  const auto found = services_.find(service);
  if (found == services_.end()) return keys;
  for (const auto& [key, route] : found->second.rows) {
    if (claims_.at(key).front() == service) keys.push_back(key);
  }
  return keys;
}

std::vector<Ip> Wanted::vips_of(const api::ObjectKey& service) const {
  const auto found = services_.find(service);
  if (found == services_.end()) return {};
  return {found->second.vips.begin(), found->second.vips.end()};
}

}  // namespace fairlead::dataplane::userspace
