#include "dataplane/userspace/handover.h"

#include <algorithm>
#include <span>

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

// Nobody translates it and it is none of `clients`, which are sorted.
bool is_nobodys(const TrackedFlow& flow, const Handover::Serves& serves,
                std::span<const ConnectionSide> clients) {
  if (flow.translated() || flow.stage == FlowStage::opening) return false;
  const auto is_carried = [&](const SocketAddress& client, const SocketAddress& dialled) {
    return std::binary_search(clients.begin(), clients.end(), ConnectionSide{client, dialled});
  };
  if (serves(flow.destination)) return !is_carried(flow.source, flow.destination);
  // What the tracker saw first was an answer, so it takes the server for the client.
  return serves(flow.source) && !is_carried(flow.destination, flow.source);
}

bool is_former(const TrackedFlow& flow, const Handover::Serves& serves) {
  return flow.translated() && flow.stage == FlowStage::ended && serves(flow.destination);
}

std::string remove_commands() {
  return cat("add table inet ", Handover::table, "\ndelete table inet ", Handover::table, "\n");
}

}  // namespace

// What has ended goes before the tracker is at work: its translation would take a client on the
// same ports along. What is open is known before, and once more after: some have begun meanwhile.
Result<Handover::Begun> Handover::begin(const Serves& serves, const Carried& carried) {
  FL_TRY(const size_t forgotten, forget(serves, carried, Translated::go));
  FL_TRY(const size_t first, adopt(carried()));
  FL_TRY_VOID(track());
  FL_TRY(const size_t later, adopt(carried()));
  return Begun{forgotten, first + later};
}

Result<size_t> Handover::forget_ended(const Serves& serves, const Carried& carried) {
  return forget(serves, carried, Translated::stay);
}

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

// Both sides: the tracker changes the port of a connection that it first sees in the middle, when
// another one that it remembers has had it.
Result<size_t> Handover::adopt(const CarriedConnections& connections) {
  size_t adopted = 0;
  if (conntrack_ == nullptr) return adopted;
  for (const auto* side : {&connections.clients, &connections.backends}) {
    for (const ConnectionSide& one : *side) {
      FL_TRY(const bool added, conntrack_->adopt_open(one.client, one.dialled));
      adopted += added;
    }
  }
  return adopted;
}

Result<size_t> Handover::forget(const Serves& serves, const Carried& carried,
                                Translated translated) {
  size_t forgotten = 0;
  if (conntrack_ == nullptr) return forgotten;
  FL_TRY(const std::vector<TrackedFlow> flows, conntrack_->flows(Protocol::tcp));
  // Asked after the tracker, so that none is missing that it has seen open.
  std::vector<ConnectionSide> clients = carried().clients;
  std::sort(clients.begin(), clients.end());
  for (const TrackedFlow& flow : flows) {
    const bool former = translated == Translated::go && is_former(flow, serves);
    if (!former && !is_nobodys(flow, serves, clients)) continue;
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
