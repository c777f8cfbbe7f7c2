#include "dataplane/userspace/wanted.h"

#include <algorithm>

#include "base/check.h"

namespace fairlead::dataplane::userspace {
namespace {

Cidr host(const Ip& ip) { return {ip, static_cast<uint8_t>(ip.is_v4() ? 32 : 128)}; }

// As classify_source() has it. What the node has wins over a network of pods.
std::map<Cidr, SourceClass> sources_of(const NodeConfig& node) {
  std::map<Cidr, SourceClass> out;
  for (const Cidr& pods : node.local_pod_cidrs) {
    // To the kernel's trie IPv4 is a part of it.
    if (pods.base == Ip{}) out.try_emplace({Ip::v4(0), 0}, SourceClass::outside);
  }
  for (const Cidr& pods : node.local_pod_cidrs) out[pods] = SourceClass::local_pod;
  for (const Ip& ip : node.node_ips) out[host(ip)] = SourceClass::node;
  out[{Ip::v4(0x7f000000), 8}] = SourceClass::node;
  out[host(*Ip::parse("::1"))] = SourceClass::node;
  return out;
}

}  // namespace

Verdicts verdicts_of(const NodeConfig& node, const Route& route) {
  const PortRule& rule = route.rule->rule;
  const Verdict if_empty = rule.if_empty == NoBackend::reject ? Verdict::refuse : Verdict::drop;
  Verdicts out;
  for (const SourceClass from : {SourceClass::node, SourceClass::local_pod, SourceClass::outside}) {
    const bool empty = treatment(node, rule, route.frontend, from).backends.empty();
    out.by_source[static_cast<size_t>(from)] = empty ? if_empty : Verdict::carry;
  }
  out.guarded = route.frontend.kind == FrontendKind::load_balancer && !rule.source_ranges.empty();
  return out;
}

std::vector<Cidr> admitted_by(const NodeConfig& node, const Route& route) {
  std::vector<Cidr> out = route.rule->rule.source_ranges;
  const Ip& dialled = route.frontend.ip;
  if (may_dial(node, route.rule->rule, route.frontend, dialled)) out.push_back(host(dialled));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void Wanted::forget(const api::ObjectKey& key, std::set<FlowKey>& flows, Touched& touched) {
  const auto service = services_.find(key);
  if (service == services_.end()) return;
  for (const auto& [flow, route] : service->second.rows) {
    flows.insert(flow);
    const auto claim = claims_.find(flow);
    std::erase(claim->second, key);
    if (claim->second.empty()) claims_.erase(claim);
  }
  for (const Ip& ip : service->second.vips) {
    touched.entries.insert(Vip{ip});
    const auto count = vips_.find(ip);
    if (--count->second == 0) vips_.erase(count);
  }
  services_.erase(service);
}

void Wanted::remember(const NodeConfig& node, const api::ObjectKey& key, const ServiceEntry& entry,
                      std::set<FlowKey>& flows, Touched& touched) {
  Service& service = services_[key];
  service.rows = rows_of(node, key, entry);
  for (const auto& [flow, route] : service.rows) {
    flows.insert(flow);
    auto& claims = claims_[flow];
    claims.insert(std::lower_bound(claims.begin(), claims.end(), key), key);
    if (route.frontend.kind != FrontendKind::node_port) service.vips.insert(flow.to.ip);
  }
  for (const Ip& ip : service.vips) {
    touched.entries.insert(Vip{ip});
    ++vips_[ip];
  }
}

void Wanted::set_sources(const NodeConfig& node, Touched& touched) {
  const auto begin = entries_.lower_bound(Cidr{});
  for (auto at = begin; at != entries_.end(); ++at) touched.entries.insert(at->first);
  entries_.erase(begin, entries_.end());
  for (const auto& [network, source] : sources_of(node)) {
    entries_.emplace(network, source);
    touched.entries.insert(network);
  }
}

std::vector<CaptureKey> Wanted::guards_of(const FlowKey& key) const {
  std::vector<CaptureKey> out;
  for (auto at = entries_.lower_bound(Admitted{key, {}}); at != entries_.end(); ++at) {
    const auto* admitted = std::get_if<Admitted>(&at->first);
    if (admitted == nullptr || admitted->to != key) break;
    out.push_back(at->first);
  }
  return out;
}

void Wanted::decide(const NodeConfig& node, const FlowKey& key, Touched& touched) {
  touched.entries.insert(key);
  for (const CaptureKey& guard : guards_of(key)) {
    touched.entries.insert(guard);
    entries_.erase(guard);
  }
  const auto claim = claims_.find(key);
  if (claim == claims_.end()) {
    entries_.erase(key);
    touched.routes.emplace_back(key, std::nullopt);
    return;
  }
  const Route& route = route_of(claim->second.front(), key);
  const Verdicts verdicts = verdicts_of(node, route);
  entries_.insert_or_assign(key, verdicts);
  touched.routes.emplace_back(key, route);
  if (!verdicts.guarded) return;
  for (const Cidr& from : admitted_by(node, route)) {
    entries_.emplace(Admitted{key, from}, CaptureValue{});
    touched.entries.insert(Admitted{key, from});
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
  std::set<FlowKey> flows;
  std::set<api::ObjectKey> all;
  if (full) {
    set_sources(table.node, touched);
    for (const auto& [key, service] : services_) all.insert(key);
    for (const auto& [key, entry] : table.services) all.insert(key);
  }
  for (const api::ObjectKey& key : full ? all : services) {
    forget(key, flows, touched);
    const auto entry = table.services.find(key);
    if (entry != table.services.end()) remember(table.node, key, entry->second, flows, touched);
  }
  for (const FlowKey& key : flows) decide(table.node, key, touched);
  return touched;
}

std::vector<CaptureKey> Wanted::keys_of(const api::ObjectKey& service) const {
  std::vector<CaptureKey> keys;
  const auto found = services_.find(service);
  if (found == services_.end()) return keys;
  for (const auto& [key, route] : found->second.rows) {
    if (claims_.at(key).front() != service) continue;
    keys.push_back(key);
    const auto guards = guards_of(key);
    keys.insert(keys.end(), guards.begin(), guards.end());
  }
  return keys;
}

std::vector<Ip> Wanted::vips_of(const api::ObjectKey& service) const {
  const auto found = services_.find(service);
  if (found == services_.end()) return {};
  return {found->second.vips.begin(), found->second.vips.end()};
}

}  // namespace fairlead::dataplane::userspace
