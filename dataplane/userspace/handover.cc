#include "dataplane/userspace/handover.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

// `carried` is sorted.
bool has_ended(const TrackedFlow& flow, const Handover::Serves& serves,
               std::span<const ConnectionSide> carried, bool translated) {
  const auto is_carried = [&](const SocketAddress& client, const SocketAddress& dialled) {
    return std::binary_search(carried.begin(), carried.end(), ConnectionSide{client, dialled});
  };
  if (flow.stage == FlowStage::opening) return false;
  if (serves(flow.destination)) {
    if (flow.translated()) return translated && flow.stage == FlowStage::ended;
    return !is_carried(flow.source, flow.destination);
  }
  // What the tracker saw first was an answer, so it takes the server for the client.
  return !flow.translated() && serves(flow.source) && !is_carried(flow.destination, flow.source);
}

std::string remove_commands() {
  return cat("add table inet ", Handover::table, "\ndelete table inet ", Handover::table, "\n");
}

}  // namespace

// A rule that asks for the state of connections is what makes the kernel track them.
Result<void> Handover::track() {
  if (rules_ == nullptr) return {};
  const auto done =
      rules_->run(cat(remove_commands(), "add table inet ", table, "\nadd chain inet ", table,
                      " tracked { type filter hook prerouting priority -150; }\nadd rule inet ",
                      table, " tracked ct state established accept\n"));
  if (!done) return fail("userspace: connections cannot be tracked", done.error());
  return {};
}

Result<size_t> Handover::adopt(std::span<const ConnectionSide> connections) {
  size_t adopted = 0;
  if (conntrack_ == nullptr) return adopted;
  for (const ConnectionSide& one : connections) {
    FL_TRY(const bool added, conntrack_->adopt_open(one.client, one.dialled));
    adopted += added;
  }
  return adopted;
}

Result<size_t> Handover::forget_ended(const Serves& serves, const Connections& connections,
                                      bool translated) {
  size_t forgotten = 0;
  if (conntrack_ == nullptr) return forgotten;
  FL_TRY(const std::vector<TrackedFlow> flows, conntrack_->flows(Protocol::tcp));
  std::vector<ConnectionSide> carried = connections();
  std::sort(carried.begin(), carried.end());
  for (const TrackedFlow& flow : flows) {
    if (!has_ended(flow, serves, carried, translated)) continue;
    FL_TRY(const bool removed, conntrack_->remove_unchanged(flow));
    forgotten += removed;
  }
  return forgotten;
}

Result<void> Handover::end() {
  if (rules_ == nullptr) return {};
  const auto there = rules_->read_table(std::string(table));
  if (!there || !*there) return {};
  if (const auto removed = rules_->run(remove_commands()); !removed) {
    return fail(cat("userspace: cannot remove table inet ", table), removed.error());
  }
  return {};
}

}  // namespace fairlead::dataplane::userspace
