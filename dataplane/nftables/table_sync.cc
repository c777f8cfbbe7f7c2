#include "dataplane/nftables/table_sync.h"

#include <utility>

#include "base/clock.h"
#include "base/text.h"
#include "dataplane/nftables/kernel_state.h"

namespace fairlead::dataplane::nft {

TableSync::TableSync(std::string table, NftRunner& runner, const Log& log, Registry& registry)
    : table_(std::move(table)),
      runner_(runner),
      log_(log),
      transactions_(registry.counter("fairlead_nftables_transactions_total",
                                     "Transactions that the kernel took.")),
      failures_(registry.counter("fairlead_nftables_transaction_failures_total",
                                 "Transactions that the kernel refused.")),
      seconds_(registry.histogram("fairlead_nftables_transaction_seconds",
                                  "Time of one transaction.", latency_bounds_s())),
      bytes_(registry.counter("fairlead_nftables_command_bytes_total",
                              "Bytes of commands in transactions.")) {}

Result<std::optional<RowMap>> TableSync::take_over() {
  FL_TRY(found_, runner_.read_table(table_));
  if (!found_) return std::optional<RowMap>();
  RowMap rows = rows_in(*found_);
  log_.info("found the table of an earlier run", {{"table", table_}, {"rows", rows.size()}});
  return std::optional(std::move(rows));
}

void TableSync::run(const std::string& commands, size_t writes, ApplyReport& report) {
  const RealClock clock;
  const MonoTime begin = clock.now();
  const Result<void> sent = runner_.run(commands);
  seconds_.observe(std::chrono::duration<double>(clock.now() - begin).count());
  in_sync_ = sent.has_value();
  if (sent) {
    transactions_.add();
    bytes_.add(commands.size());
    report.writes += writes;
    return;
  }
  failures_.add();
  log_.error("transaction refused", {{"writes", writes}, {"reason", sent.error().message}});
  report.errors.push_back(
      cat("nftables: transaction of ", writes, " writes refused: ", sent.error().message));
}

void TableSync::delete_unused(const Desired& desired, const std::set<ChainKey>& chains,
                              Transaction& transaction) {
  for (const ChainKey& key : chains) {
    if (desired.uses(key) || left_.contains(key) || chains_.erase(key) == 0) continue;
    transaction.delete_chain(key);
  }
}

void TableSync::send(const Desired& desired, Transaction& transaction, ApplyReport& report) {
  delete_unused(desired, idle_, transaction);
  idle_ = std::exchange(left_, {});
  if (!transaction.empty()) run(transaction.commands(), transaction.writes(), report);
}

void TableSync::reconcile(const Desired& desired, const Layout& layout, ApplyReport& report) {
  left_.clear();
  idle_.clear();
  if (found_) {
    return send_difference(desired, layout, *std::exchange(found_, std::nullopt), report);
  }
  auto kernel = runner_.read_table(table_);
  if (!kernel) return replace_table(desired, layout, kernel.error().message, report);
  if (!*kernel) return replace_table(desired, layout, "", report);
  send_difference(desired, layout, std::move(**kernel), report);
}

void TableSync::send_difference(const Desired& desired, const Layout& layout, NftTable kernel,
                                ApplyReport& report) {
  const auto differ = rule_differences(kernel, layout);
  if (!differ.empty()) {
    const std::string reason = join(differ, "; ");
    if (!layout.can_refresh(kernel)) return replace_table(desired, layout, reason, report);
    return refresh(desired, layout, std::move(kernel), reason, report);
  }
  Transaction transaction(layout);
  chains_ = chains_in(kernel);
  for (const auto& [key, users] : desired.chains()) transaction.need_chain(key, chains_);
  for (const auto& one : differences(desired, layout, std::move(kernel))) {
    if (one.held) transaction.remove(one.set, one.key);
    if (one.wanted) transaction.add(one.set, one.key, *one.wanted);
  }
  delete_unused(desired, std::set(chains_), transaction);
  in_sync_ = true;
  if (!transaction.empty()) run(transaction.commands(), transaction.writes(), report);
}

void TableSync::refresh(const Desired& desired, const Layout& layout, NftTable kernel,
                        const std::string& reason, ApplyReport& report) {
  log_.warn("making the rules again", {{"table", table_}, {"reason", reason}});
  Transaction transaction(layout);
  chains_.clear();
  for (const auto& [key, users] : desired.chains()) transaction.need_chain(key, chains_);
  const std::string unused =
      delete_other_chains(kernel, layout.refresh_commands() + transaction.commands(), table_);
  for (const auto& one : differences(desired, layout, std::move(kernel))) {
    if (layout.fixed_elements().contains(one.set)) continue;
    if (one.held) transaction.remove(one.set, one.key);
    if (one.wanted) transaction.add(one.set, one.key, *one.wanted);
  }
  run(layout.refresh_commands() + transaction.commands() + unused, transaction.writes(), report);
  if (in_sync_) return;
  replace_table(desired, layout, std::exchange(report.errors.back(), ""), report);
  std::erase(report.errors, "");
}

// `reason` is "" when there is no table.
void TableSync::replace_table(const Desired& desired, const Layout& layout, std::string_view reason,
                              ApplyReport& report) {
  if (!reason.empty()) log_.warn("replacing the table", {{"table", table_}, {"reason", reason}});
  Transaction transaction(layout);
  chains_.clear();
  for (const auto& [key, users] : desired.chains()) transaction.need_chain(key, chains_);
  for (const auto& [set, elements] : desired.ips()) {
    for (const std::string& element : elements) transaction.add(set, element);
  }
  for (const auto& [key, row] : desired.rows()) transaction.change_row(key, nullptr, &row);
  if (!reason.empty()) {
    // One transaction: packets see the old table or the new one.
    return run(layout.replace_commands() + transaction.commands(), transaction.writes(), report);
  }
  const std::vector<std::string> stages = transaction.stages(layout.replace_commands());
  for (size_t i = 0; i < stages.size(); ++i) {
    run(stages[i], i + 1 == stages.size() ? transaction.writes() : 0, report);
    if (!in_sync_) return;
  }
}

}  // namespace fairlead::dataplane::nft
