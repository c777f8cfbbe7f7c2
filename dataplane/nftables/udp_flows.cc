#include "dataplane/nftables/udp_flows.h"

#include <algorithm>

#include "dataplane/stale_flows.h"

namespace fairlead::dataplane::nft {
namespace {

bool has_udp(const ServiceEntry& entry) {
  return std::any_of(entry.ports.begin(), entry.ports.end(),
                     [](const PortRule& rule) { return rule.protocol == Protocol::udp; });
}

bool lost_one(const Row& from, const Row& to) {
  const std::set<SocketAddress> now(to.slots.begin(), to.slots.end());
  return std::any_of(from.slots.begin(), from.slots.end(),
                     [&](const SocketAddress& slot) { return !now.contains(slot); });
}

}  // namespace

UdpFlows::UdpFlows(std::unique_ptr<net::Conntrack> conntrack, const Log& log, Registry& registry)
    : conntrack_(std::move(conntrack)),
      log_(log),
      removed_(registry.counter("fairlead_nftables_stale_flows_removed_total",
                                "UDP flows removed because their backend had left.")) {}

void UdpFlows::update(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                      bool full) {
  if (conntrack_ == nullptr) return;
  if (full) {
    table_ = {};
    for (const auto& [key, entry] : table.services) {
      if (has_udp(entry)) table_.services.emplace(key, entry);
    }
  }
  table_.node = table.node;
  if (full) return;
  for (const api::ObjectKey& key : changed) {
    const auto entry = table.services.find(key);
    table_.services.erase(key);
    if (entry != table.services.end() && has_udp(entry->second)) table_.services.insert(*entry);
  }
}

void UdpFlows::row_changes(const RowKey& key, const Row* from, const Row* to) {
  if (conntrack_ == nullptr || key.protocol != Protocol::udp) return;
  const SocketAddress address{key.ip, key.port};
  if (to == nullptr) {
    if (!key.outside) former_.insert(address);
  } else {
    former_.erase(address);
  }
  stale_ = stale_ || from == nullptr || to == nullptr || lost_one(*from, *to);
}

bool UdpFlows::any_to(const std::set<SocketAddress>& frontends) const {
  if (conntrack_ == nullptr) return false;
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    const auto flows = conntrack_->flows(protocol);
    if (!flows) return true;
    const bool any = std::any_of(flows->begin(), flows->end(), [&](const TrackedFlow& flow) {
      return flow.reply_source != flow.destination && frontends.contains(flow.destination);
    });
    if (any) return true;
  }
  return false;
}

Result<void> UdpFlows::clean() {
  if (conntrack_ == nullptr || !stale_) return {};
  FL_TRY(const auto flows, conntrack_->flows(Protocol::udp));
  size_t removed = 0;
  for (const TrackedFlow& flow : stale_flows(table_, flows, former_)) {
    FL_TRY(const bool was_there, conntrack_->remove(flow));
    removed += was_there;
  }
  if (removed != 0) log_.info("removed stale UDP flows", {{"flows", removed}});
  removed_.add(removed);
  former_.clear();
  stale_ = false;
  return {};
}

}  // namespace fairlead::dataplane::nft
