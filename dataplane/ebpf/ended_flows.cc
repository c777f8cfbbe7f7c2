#include "dataplane/ebpf/ended_flows.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "dataplane/stale_flows.h"

namespace fairlead::dataplane::ebpf {
namespace {

// Clients use a port again after seconds at the earliest.
constexpr Duration first_wait = std::chrono::milliseconds(500);
constexpr Duration longest_wait = std::chrono::seconds(64);

}  // namespace

Result<ForgottenFlows> forget_ended(net::Conntrack& tracker,
                                    const std::set<SocketAddress>& dialled) {
  FL_TRY(const std::vector<TrackedFlow> flows, tracker.flows(Protocol::tcp));
  ForgottenFlows out;
  for (const TrackedFlow& flow : flows) {
    if (!flow.translated() || !dialled.contains(flow.destination)) continue;
    if (flow.stage != FlowStage::ended) {
      ++out.open;
      continue;
    }
    FL_TRY(const bool removed, tracker.remove_unchanged(flow));
    // If not it is another one now, or gone: the next look says.
    ++(removed ? out.forgotten : out.open);
  }
  return out;
}

void EndedFlows::begin(const ServiceTable& table) {
  dialled_.clear();
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      if (rule.protocol != Protocol::tcp) continue;
      for (const SocketAddress& one : dialled_addresses(table.node, rule)) dialled_.insert(one);
    }
  }
  wait_ = first_wait;
  timer_ = loop_.after(Duration::zero(), [this] { look(); });
}

void EndedFlows::stop() {
  timer_.reset();
  dialled_.clear();
}

void EndedFlows::look() {
  const auto seen = forget_ended(tracker_, dialled_);
  if (!seen) {
    log_.warn(cat("ended connections that others translated stay tracked: ", seen.error().message));
  } else if (seen->forgotten > 0) {
    log_.info("ended connections that others translated are forgotten",
              {{"connections", seen->forgotten}, {"open", seen->open}});
  }
  if (!seen || seen->open == 0) return stop();
  timer_ = loop_.after(wait_, [this] { look(); });
  wait_ = std::min(2 * wait_, longest_wait);
}

}  // namespace fairlead::dataplane::ebpf
