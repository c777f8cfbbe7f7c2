#include "dataplane/userspace/handover.h"

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

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

Result<size_t> Handover::adopt(std::span<const ClientConnection> connections) {
  size_t adopted = 0;
  if (conntrack_ == nullptr) return adopted;
  for (const ClientConnection& one : connections) {
    FL_TRY(const bool added, conntrack_->adopt(one.client, one.dialled));
    adopted += added;
  }
  return adopted;
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
