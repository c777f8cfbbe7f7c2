#include "dataplane/nftables/driver.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "base/text.h"
#include "dataplane/nftables/kernel_state.h"
#include "dataplane/nftables/runner.h"
#include "dataplane/nftables/transaction.h"
#include "dataplane/nftables/wanted.h"

namespace fairlead::dataplane {
namespace {

using nft::ChainKey;
using nft::KernelState;
using nft::Row;
using nft::RowKey;

class NftablesDriver final : public Driver {
 public:
  NftablesDriver(NftablesOptions options, const Log& log, Registry& registry,
                 std::unique_ptr<NftRunner> runner)
      : options_(std::move(options)),
        log_(log.named("nftables")),
        transactions_(registry.counter("fairlead_nftables_transactions_total",
                                       "Transactions that the kernel took.")),
        failures_(registry.counter("fairlead_nftables_transaction_failures_total",
                                   "Transactions that the kernel refused.")),
        seconds_(registry.histogram("fairlead_nftables_transaction_seconds",
                                    "Time of one transaction.", latency_bounds_s())),
        runner_(std::move(runner)) {}

  std::string_view mode() const override { return "nftables"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;

 private:
  Result<std::optional<KernelState>> read_kernel() const;
  void set_row(const RowKey& key, std::optional<Row> row);
  void change_rows(const ServiceTable& table, const std::set<RowKey>& touched,
                   nft::Transaction* transaction, ApplyReport& report);
  void change_hairpin(bool full, nft::Transaction* transaction);
  void delete_unused_chains(nft::Transaction& transaction);
  void send(const std::string& commands, size_t writes, ApplyReport& report);
  void reconcile(ApplyReport& report);
  void send_difference(const KernelState& kernel, ApplyReport& report);
  void replace_table(ApplyReport& report);

  const NftablesOptions options_;
  const Log log_;
  Counter& transactions_;
  Counter& failures_;
  Histogram& seconds_;
  std::unique_ptr<NftRunner> runner_;

  nft::Wanted wanted_;
  std::optional<NodeConfig> node_;     // of the last apply()
  std::optional<nft::Layout> layout_;  // for node_
  // What the kernel shall hold, slots included; it does when in_sync_.
  nft::RowMap rows_;
  std::unordered_set<Ip> hairpin_;
  std::map<ChainKey, size_t> chain_users_;
  std::set<ChainKey> chains_;  // in the kernel; meaningful when in_sync_
  bool in_sync_ = false;
  std::optional<KernelState> found_;  // by start(), for the first apply()
};

Result<std::optional<KernelState>> NftablesDriver::read_kernel() const {
  FL_TRY(const auto listing, runner_->list_table(options_.table));
  if (!listing) return std::optional<KernelState>();
  auto state = nft::parse_kernel_state(*listing);
  if (!state) return fail(cat("table inet ", options_.table), state.error());
  return std::optional(std::move(*state));
}

Result<void> NftablesDriver::start() {
  const auto listing = runner_->list_table(options_.table);
  if (!listing) return fail("nftables: cannot list tables", listing.error());
  if (!*listing) return {};
  auto state = nft::parse_kernel_state(**listing);
  if (!state) {
    log_.warn("the table cannot be taken over and will be replaced",
              {{"table", options_.table}, {"reason", state.error().message}});
    return {};
  }
  // The slots of today stay where they are. Whether the rules are ours is asked when the node's
  // configuration is known: by the first apply().
  log_.info("found the table of an earlier run",
            {{"table", options_.table}, {"rows", state->rows.size()}});
  for (const auto& [key, row] : state->rows) set_row(key, row);
  found_ = std::move(*state);
  return {};
}

void NftablesDriver::set_row(const RowKey& key, std::optional<Row> row) {
  if (const auto old = rows_.find(key); old != rows_.end()) {
    const auto users = chain_users_.find(nft::chain_of(key, old->second));
    if (--users->second == 0) chain_users_.erase(users);
    if (!row) rows_.erase(old);
  }
  if (!row) return;
  ++chain_users_[nft::chain_of(key, *row)];
  rows_.insert_or_assign(key, std::move(*row));
}

// `transaction` gets the difference; nullptr when the kernel will be read anyway.
void NftablesDriver::change_rows(const ServiceTable& table, const std::set<RowKey>& touched,
                                 nft::Transaction* transaction, ApplyReport& report) {
  std::set<api::ObjectKey> truncated;
  for (const RowKey& key : touched) {
    auto claim = wanted_.claim(table, key);
    const auto old = rows_.find(key);
    const Row* from = old == rows_.end() ? nullptr : &old->second;
    if (!claim) {
      if (transaction != nullptr) transaction->change_row(key, from, nullptr);
      set_row(key, std::nullopt);
      continue;
    }
    if (claim->truncated && truncated.insert(claim->owner).second) {
      report.errors.push_back(cat("service ", claim->owner.to_string(), ": more than ",
                                  nft::max_slots, " backends; the others get no connections"));
    }
    if (from != nullptr) claim->row.slots = nft::assign_slots(from->slots, claim->row.slots);
    if (from != nullptr && *from == claim->row) continue;
    if (transaction != nullptr) {
      transaction->need_chain(nft::chain_of(key, claim->row), chains_);
      transaction->change_row(key, from, &claim->row);
    }
    set_row(key, std::move(claim->row));
  }
}

void NftablesDriver::change_hairpin(bool full, nft::Transaction* transaction) {
  std::set<Ip> touched = wanted_.touched_hairpin();
  if (full) touched.insert(hairpin_.begin(), hairpin_.end());
  for (const Ip& ip : touched) {
    if (wanted_.hairpin().contains(ip)) {
      const bool added = hairpin_.insert(ip).second;
      if (added && transaction != nullptr) transaction->add_hairpin(ip);
    } else if (hairpin_.erase(ip) != 0 && transaction != nullptr) {
      transaction->remove_hairpin(ip);
    }
  }
}

void NftablesDriver::delete_unused_chains(nft::Transaction& transaction) {
  std::erase_if(chains_, [&](const ChainKey& key) {
    if (chain_users_.contains(key)) return false;
    transaction.delete_chain(key);
    return true;
  });
}

ApplyReport NftablesDriver::apply(const ServiceTable& table,
                                  const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  if (!node_ || *node_ != table.node) {
    nft::Layout layout(options_.table, options_.masquerade_mark, table.node);
    if (!layout_ || layout_->label() != layout.label()) in_sync_ = false;
    layout_.emplace(std::move(layout));
    node_ = table.node;
    full = true;
  }
  if (full) in_sync_ = false;
  report.services_changed = full ? table.services.size() : changed.size();

  nft::Transaction transaction(*layout_);
  std::set<RowKey> touched = wanted_.update(table, changed, full);
  if (full) {
    for (const auto& [key, row] : rows_) touched.insert(key);
  }
  change_rows(table, touched, in_sync_ ? &transaction : nullptr, report);
  change_hairpin(full, in_sync_ ? &transaction : nullptr);
  if (in_sync_) {
    if (!transaction.empty()) send(transaction.commands(), transaction.writes(), report);
  } else {
    reconcile(report);
  }
  return report;
}

ApplyReport NftablesDriver::retry() {
  ApplyReport report;
  if (node_ && !in_sync_) reconcile(report);
  return report;
}

void NftablesDriver::send(const std::string& commands, size_t writes, ApplyReport& report) {
  const RealClock clock;
  const MonoTime begin = clock.now();
  const Result<void> sent = runner_->run(commands);
  seconds_.observe(std::chrono::duration<double>(clock.now() - begin).count());
  in_sync_ = sent.has_value();
  if (sent) {
    transactions_.add();
    report.writes += writes;
    return;
  }
  failures_.add();
  log_.error("transaction refused", {{"writes", writes}, {"reason", sent.error().message}});
  report.errors.push_back(
      cat("nftables: transaction of ", writes, " writes refused: ", sent.error().message));
}

void NftablesDriver::reconcile(ApplyReport& report) {
  const auto kernel = found_ ? std::exchange(found_, std::nullopt) : read_kernel();
  if (kernel && *kernel) {
    const auto differ = nft::rules_differ(**kernel, *layout_);
    if (!differ) return send_difference(**kernel, report);
    log_.info("replacing the table", {{"table", options_.table}, {"reason", *differ}});
  } else if (!kernel) {
    log_.warn("replacing the table",
              {{"table", options_.table}, {"reason", kernel.error().message}});
  }
  replace_table(report);
}

void NftablesDriver::send_difference(const KernelState& kernel, ApplyReport& report) {
  nft::Transaction transaction(*layout_);
  chains_ = kernel.chains;
  for (const auto& [key, row] : rows_) {
    const auto held = kernel.rows.find(key);
    const Row* from = held == kernel.rows.end() ? nullptr : &held->second;
    transaction.need_chain(nft::chain_of(key, row), chains_);
    transaction.change_row(key, from, &row);
  }
  for (const auto& [key, row] : kernel.rows) {
    if (!rows_.contains(key)) transaction.change_row(key, &row, nullptr);
  }
  for (const Ip& ip : hairpin_) {
    if (!kernel.hairpin.contains(ip)) transaction.add_hairpin(ip);
  }
  for (const Ip& ip : kernel.hairpin) {
    if (!hairpin_.contains(ip)) transaction.remove_hairpin(ip);
  }
  delete_unused_chains(transaction);
  in_sync_ = true;
  if (!transaction.empty()) send(transaction.commands(), transaction.writes(), report);
}

void NftablesDriver::replace_table(ApplyReport& report) {
  nft::Transaction transaction(*layout_);
  chains_.clear();
  for (const auto& [key, row] : rows_) {
    transaction.need_chain(nft::chain_of(key, row), chains_);
    transaction.change_row(key, nullptr, &row);
  }
  for (const Ip& ip : hairpin_) transaction.add_hairpin(ip);
  // One transaction: packets see the old table or the new one.
  send(layout_->replace_commands() + transaction.commands(), transaction.writes(), report);
}

std::string NftablesDriver::dump() const {
  const auto kernel = read_kernel();
  if (!kernel) return cat("error: ", kernel.error().message, "\n");
  if (!*kernel) return "";
  std::string out = nft::to_text((*kernel)->rows);
  const std::set<Ip> hairpin((*kernel)->hairpin.begin(), (*kernel)->hairpin.end());
  for (const Ip& ip : hairpin) append(out, cat("hairpin ", ip.to_string(), "\n"));
  return out;
}

Result<void> NftablesDriver::cleanup() {
  const NodeConfig no_node;
  const nft::Layout layout(options_.table, options_.masquerade_mark, no_node);
  if (const auto removed = runner_->run(layout.remove_commands()); !removed) {
    return fail(cat("nftables: cannot remove table inet ", options_.table), removed.error());
  }
  in_sync_ = false;
  return {};
}

}  // namespace

std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry,
                                             std::unique_ptr<NftRunner> runner) {
  return std::make_unique<NftablesDriver>(std::move(options), log, registry, std::move(runner));
}

std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry) {
  return make_nftables_driver(std::move(options), log, registry, make_nft_runner());
}

}  // namespace fairlead::dataplane
