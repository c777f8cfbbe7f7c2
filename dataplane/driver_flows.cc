#include "dataplane/driver_flows.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/stale_flows.h"

namespace fairlead::dataplane {
namespace {

ServiceEntry udp_part(const ServiceTable& table, const api::ObjectKey& key) {
  ServiceEntry out;
  const auto entry = table.services.find(key);
  if (entry == table.services.end()) return out;
  for (const PortRule& rule : entry->second.ports) {
    if (rule.protocol == Protocol::udp) out.ports.push_back(rule);
  }
  return out;
}

std::set<SocketAddress> addresses(const NodeConfig& node, const ServiceEntry& entry) {
  std::set<SocketAddress> out;
  for (const PortRule& rule : entry.ports) {
    for (const SocketAddress& address : dialled_addresses(node, rule)) out.insert(address);
  }
  return out;
}

// Whether every backend of these rules is still one of the same port's.
bool keeps_backends(const ServiceEntry& old, const ServiceEntry& next) {
  return std::all_of(old.ports.begin(), old.ports.end(), [&](const PortRule& rule) {
    return std::any_of(next.ports.begin(), next.ports.end(), [&](const PortRule& now) {
      const std::set<Backend> backends(now.backends.begin(), now.backends.end());
      return now.port_name == rule.port_name && now.ipv6 == rule.ipv6 &&
             std::all_of(rule.backends.begin(), rule.backends.end(),
                         [&](const Backend& one) { return backends.contains(one); });
    });
  });
}

}  // namespace

DriverFlows::DriverFlows(std::unique_ptr<net::Conntrack> conntrack, std::string_view mode,
                         const Log& log, Registry& registry)
    : conntrack_(std::move(conntrack)),
      log_(log),
      removed_(registry.counter(cat("fairlead_", mode, "_stale_flows_removed_total"),
                                "UDP flows removed because their backend had left.")) {}

void DriverFlows::change(const api::ObjectKey& key, ServiceEntry next, const NodeConfig& node) {
  const ServiceEntry old = udp_part(table_, key);
  if (old.ports == next.ports && node == table_.node) return;
  const auto before = addresses(table_.node, old), after = addresses(node, next);
  for (const SocketAddress& address : before) {
    if (!after.contains(address)) former_.insert(address);
  }
  for (const SocketAddress& address : after) former_.erase(address);
  wanted_ |= before != after || !keeps_backends(old, next);
  if (next.ports.empty()) {
    table_.services.erase(key);
  } else {
    table_.services.insert_or_assign(key, std::move(next));
  }
}

void DriverFlows::update(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                         bool full) {
  if (conntrack_ == nullptr) return;
  if (!full) {
    for (const api::ObjectKey& key : changed) change(key, udp_part(table, key), table_.node);
    return;
  }
  std::set<api::ObjectKey> keys;
  for (const auto& [key, entry] : table_.services) keys.insert(key);
  for (const auto& [key, entry] : table.services) keys.insert(key);
  for (const api::ObjectKey& key : keys) change(key, udp_part(table, key), table.node);
  table_.node = table.node;
  wanted_ = true;  // what an earlier run, or another mode, has left
}

void DriverFlows::left(const SocketAddress& frontend) {
  if (conntrack_ == nullptr) return;
  former_.insert(frontend);
  wanted_ = true;
}

Result<void> DriverFlows::repair() {
  if (conntrack_ == nullptr || !wanted_) return {};
  FL_TRY(const auto flows, conntrack_->flows(Protocol::udp));
  size_t removed = 0;
  for (const TrackedFlow& flow : stale_flows(table_, flows, former_)) {
    FL_TRY(const bool was_there, conntrack_->remove(flow));
    removed += was_there;
  }
  if (removed != 0) log_.info("removed stale UDP flows", {{"flows", removed}});
  removed_.add(removed);
  former_.clear();
  wanted_ = false;
  return {};
}

bool DriverFlows::any_left(const RetiredAddresses& retired) const {
  if (conntrack_ == nullptr || retired.dialled.empty()) return false;
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    const auto flows = conntrack_->flows(protocol);
    if (!flows) return true;
    const bool any = std::any_of(flows->begin(), flows->end(), [&](const TrackedFlow& flow) {
      if (flow.translated()) return retired.dialled.contains(flow.destination);
      return flow.port_changed() && flow.stage != FlowStage::ended &&
             retired.backends.contains(flow.destination);
    });
    if (any) return true;
  }
  return false;
}

}  // namespace fairlead::dataplane
