#include "dataplane/nftables/driver.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "base/text.h"
#include "dataplane/nftables/affinity_memory.h"
#include "dataplane/nftables/desired.h"
#include "dataplane/nftables/drifts.h"
#include "dataplane/nftables/kernel_state.h"
#include "dataplane/nftables/runner.h"
#include "dataplane/nftables/transaction.h"
#include "dataplane/nftables/udp_flows.h"
#include "dataplane/nftables/wanted.h"

namespace fairlead::dataplane {
namespace {

using nft::ChainKey;
using nft::Row;
using nft::RowKey;

class NftablesDriver final : public Driver {
 public:
  NftablesDriver(NftablesOptions options, const Log& log, Registry& registry,
                 std::unique_ptr<NftRunner> runner, std::unique_ptr<net::Conntrack> conntrack)
      : options_{std::move(options.table), options.masquerade_mark, options.drop_invalid},
        log_(log.named("nftables")),
        transactions_(registry.counter("fairlead_nftables_transactions_total",
                                       "Transactions that the kernel took.")),
        failures_(registry.counter("fairlead_nftables_transaction_failures_total",
                                   "Transactions that the kernel refused.")),
        seconds_(registry.histogram("fairlead_nftables_transaction_seconds",
                                    "Time of one transaction.", latency_bounds_s())),
        bytes_(registry.counter("fairlead_nftables_command_bytes_total",
                                "Bytes of commands in transactions.")),
        runner_(std::move(runner)),
        udp_flows_(std::move(conntrack), log_, registry) {}

  std::string_view mode() const override { return "nftables"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> retire() override;
  bool drained() const override { return !udp_flows_.any_to(retired_); }

 private:
  void change_rows(const ServiceTable& table, const std::set<RowKey>& touched,
                   nft::Transaction* transaction, ApplyReport& report);
  void change_row(const RowKey& key, const Row* from, std::optional<Row> to,
                  nft::Transaction* transaction);
  void change_ips(bool full, nft::Transaction* transaction);
  void change_ips(const std::string& set, const nft::CountedIps& wanted,
                  const std::set<Ip>& touched, nft::Transaction* transaction);
  void delete_idle_chains(std::set<ChainKey> idle, nft::Transaction& transaction);
  void send(const std::string& commands, size_t writes, ApplyReport& report);
  void reconcile(ApplyReport& report);
  void send_difference(NftTable kernel, ApplyReport& report);
  void replace_table(std::string_view reason, ApplyReport& report);
  void finish(ApplyReport& report);
  void forget_clients(ApplyReport& report);
  std::string likely_owner() const;

  const nft::LayoutOptions options_;
  const Log log_;
  Counter& transactions_;
  Counter& failures_;
  Histogram& seconds_;
  Counter& bytes_;
  std::unique_ptr<NftRunner> runner_;
  nft::UdpFlows udp_flows_;

  nft::Wanted wanted_;
  std::optional<NodeConfig> node_;     // of the last apply()
  std::optional<nft::Layout> layout_;  // for node_
  nft::Desired desired_;               // the kernel holds it when in_sync_
  std::set<ChainKey> chains_;          // in the kernel; meaningful when in_sync_
  // Chains of one rule that had no row any more after the last apply(): packets may still be inside
  // them, so they go with the next one.
  std::set<ChainKey> idle_;
  bool in_sync_ = false;
  std::optional<NftTable> found_;  // by start(), for the first apply()
  // Affinities whose memory may name backends that left.
  std::set<uint64_t> to_forget_;
  bool forget_all_ = false;
  std::set<SocketAddress> retired_;  // the frontends at the time of retire()
};

Result<void> NftablesDriver::start() {
  auto table = runner_->read_table(options_.table);
  if (!table) return fail("nftables: cannot read tables", table.error());
  if (!*table) return {};
  // The slots of today stay where they are. Whether the rules are ours is asked when the node's
  // configuration is known: by the first apply().
  nft::RowMap rows = nft::rows_in(**table);
  log_.info("found the table of an earlier run",
            {{"table", options_.table}, {"rows", rows.size()}});
  for (auto& [key, row] : rows) desired_.set_row(key, std::move(row));
  found_ = std::move(*table);
  return {};
}

void NftablesDriver::change_row(const RowKey& key, const Row* from, std::optional<Row> to,
                                nft::Transaction* transaction) {
  udp_flows_.row_changes(key, from, to ? &*to : nullptr);
  const bool had_affinity = from != nullptr && from->affinity.timeout_s != 0;
  if (had_affinity) {
    to_forget_.insert(from->affinity.id);
    idle_.insert(nft::chain_of(key, *from));
    idle_.insert(nft::remember_chain_of(key, *from));
  }
  if (transaction != nullptr) {
    if (to) transaction->need_chains(key, *to, chains_);
    transaction->change_row(key, from, to ? &*to : nullptr);
  }
  desired_.set_row(key, std::move(to));
}

// `transaction` gets the difference; nullptr when the kernel will be read anyway.
void NftablesDriver::change_rows(const ServiceTable& table, const std::set<RowKey>& touched,
                                 nft::Transaction* transaction, ApplyReport& report) {
  std::set<api::ObjectKey> truncated;
  for (const RowKey& key : touched) {
    auto claim = wanted_.claim(table, key);
    const Row* from = desired_.row(key);
    if (!claim) {
      if (from != nullptr) change_row(key, from, std::nullopt, transaction);
      continue;
    }
    if (claim->truncated && truncated.insert(claim->owner).second) {
      report.errors.push_back(cat("service ", claim->owner.to_string(), ": more than ",
                                  nft::max_slots, " backends; the others get no connections"));
    }
    if (from != nullptr) claim->row.slots = nft::assign_slots(from->slots, claim->row.slots);
    if (from != nullptr && *from == claim->row) continue;
    change_row(key, from, std::move(claim->row), transaction);
  }
}

void NftablesDriver::change_ips(const std::string& set, const nft::CountedIps& wanted,
                                const std::set<Ip>& touched, nft::Transaction* transaction) {
  for (const Ip& ip : touched) {
    const bool present = wanted.contains(ip), ipv6 = !ip.is_v4();
    const bool hairpin = set == "hairpin";
    const std::string name = hairpin ? nft::hairpin_set(ipv6) : nft::cluster_ips_set(ipv6);
    const std::string key = hairpin ? nft::hairpin_key(ip) : ip.to_string();
    if (!desired_.set_ip(name, key, present) || transaction == nullptr) continue;
    if (present) {
      transaction->add(name, key);
    } else {
      transaction->remove(name, key);
    }
  }
}

void NftablesDriver::change_ips(bool full, nft::Transaction* transaction) {
  if (full) desired_.clear_ips();
  change_ips("hairpin", wanted_.hairpin(), wanted_.hairpin().touched(), transaction);
  change_ips("cluster-ips", wanted_.cluster_ips(), wanted_.cluster_ips().touched(), transaction);
}

void NftablesDriver::delete_idle_chains(std::set<ChainKey> idle, nft::Transaction& transaction) {
  for (const ChainKey& key : idle) {
    if (desired_.uses(key)) continue;
    idle_.erase(key);
    if (chains_.erase(key) != 0) transaction.delete_chain(key);
  }
}

ApplyReport NftablesDriver::apply(const ServiceTable& table,
                                  const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  if (!node_ || *node_ != table.node) {
    nft::Layout layout(options_, table.node);
    if (!layout_ || layout_->label() != layout.label()) in_sync_ = false;
    layout_.emplace(std::move(layout));
    node_ = table.node;
    full = true;
  }
  if (full) in_sync_ = false;
  report.services_changed = full ? table.services.size() : changed.size();

  nft::Transaction transaction(*layout_);
  nft::Transaction* const into = in_sync_ ? &transaction : nullptr;
  std::set<RowKey> touched = wanted_.update(table, changed, full);
  if (full) {
    for (const auto& [key, row] : desired_.rows()) touched.insert(key);
  }
  udp_flows_.update(table, changed, full);
  std::set<ChainKey> idle = idle_;
  change_rows(table, touched, into, report);
  change_ips(full, into);
  if (in_sync_) {
    delete_idle_chains(std::move(idle), transaction);
    if (!transaction.empty()) send(transaction.commands(), transaction.writes(), report);
  } else {
    reconcile(report);
  }
  finish(report);
  return report;
}

ApplyReport NftablesDriver::retry() {
  ApplyReport report;
  if (node_ && !in_sync_) reconcile(report);
  finish(report);
  return report;
}

// What can only be done when no new flow chooses a backend that left.
void NftablesDriver::finish(ApplyReport& report) {
  if (!in_sync_) return;
  if (const auto cleaned = udp_flows_.clean(); !cleaned) {
    report.errors.push_back(cleaned.error().message);
  }
  forget_clients(report);
}

void NftablesDriver::forget_clients(ApplyReport& report) {
  if (to_forget_.empty() && !forget_all_) return;
  const auto done = nft::forget_clients(*runner_, *layout_, forget_all_ ? nullptr : &to_forget_,
                                        nft::affine_backends(desired_.rows()));
  if (!done) {
    report.errors.push_back(
        cat("nftables: clients keep backends that left: ", done.error().message));
    return;
  }
  to_forget_.clear();
  forget_all_ = false;
}

void NftablesDriver::send(const std::string& commands, size_t writes, ApplyReport& report) {
  const RealClock clock;
  const MonoTime begin = clock.now();
  const Result<void> sent = runner_->run(commands);
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

void NftablesDriver::reconcile(ApplyReport& report) {
  forget_all_ = true;
  udp_flows_.check_all();
  idle_.clear();
  if (found_) return send_difference(*std::exchange(found_, std::nullopt), report);
  auto kernel = runner_->read_table(options_.table);
  if (!kernel) return replace_table(kernel.error().message, report);
  if (!*kernel) return replace_table("", report);
  send_difference(std::move(**kernel), report);
}

void NftablesDriver::send_difference(NftTable kernel, ApplyReport& report) {
  const auto differ = nft::rule_differences(kernel, *layout_);
  if (!differ.empty()) return replace_table(join(differ, "; "), report);
  nft::Transaction transaction(*layout_);
  chains_ = nft::chains_in(kernel);
  for (const auto& [key, users] : desired_.chains()) transaction.need_chain(key, chains_);
  for (const auto& one : nft::differences(desired_, *layout_, std::move(kernel))) {
    if (one.key.starts_with("0x")) {
      return replace_table(cat("set ", one.set, " has an element of another form"), report);
    }
    if (one.held) transaction.remove(one.set, one.key);
    if (one.wanted) transaction.add(one.set, one.key, *one.wanted);
  }
  delete_idle_chains(chains_, transaction);
  in_sync_ = true;
  if (!transaction.empty()) send(transaction.commands(), transaction.writes(), report);
}

// `reason` is "" when there is no table.
void NftablesDriver::replace_table(std::string_view reason, ApplyReport& report) {
  if (!reason.empty()) {
    log_.warn("replacing the table", {{"table", options_.table}, {"reason", reason}});
  }
  nft::Transaction transaction(*layout_);
  chains_.clear();
  for (const auto& [key, users] : desired_.chains()) transaction.need_chain(key, chains_);
  for (const auto& [set, elements] : desired_.ips()) {
    for (const std::string& element : elements) transaction.add(set, element);
  }
  for (const auto& [key, row] : desired_.rows()) transaction.change_row(key, nullptr, &row);
  if (!reason.empty()) {
    // One transaction: packets see the old table or the new one.
    return send(layout_->replace_commands() + transaction.commands(), transaction.writes(), report);
  }
  const std::vector<std::string> stages = transaction.stages(layout_->replace_commands());
  for (size_t i = 0; i < stages.size(); ++i) {
    send(stages[i], i + 1 == stages.size() ? transaction.writes() : 0, report);
    if (!in_sync_) return;
  }
}

std::string NftablesDriver::dump() const {
  const auto kernel = runner_->read_table(options_.table);
  if (!kernel) return cat("error: ", kernel.error().message, "\n");
  if (!*kernel) return "";
  std::string out = nft::to_text(nft::rows_in(**kernel));
  for (const bool hairpin : {false, true}) {
    std::set<Ip> ips;
    for (const bool ipv6 : {false, true}) {
      const auto set =
          (*kernel)->sets.find(hairpin ? nft::hairpin_set(ipv6) : nft::cluster_ips_set(ipv6));
      if (set == (*kernel)->sets.end()) continue;
      for (const auto& [key, value] : set->second) {
        if (const auto ip = Ip::parse(key.substr(0, key.find(' ')))) ips.insert(*ip);
      }
    }
    for (const Ip& ip : ips) {
      append(out, cat(hairpin ? "hairpin " : "cluster-ip ", ip.to_string(), "\n"));
    }
  }
  return out;
}

std::string NftablesDriver::likely_owner() const {
  if (!in_sync_) return "fairlead: a transaction was refused";
  // The kernel does not keep who changed what: whoever else has tables here is the first to ask.
  const auto tables = runner_->other_tables(options_.table);
  const std::string others = tables ? join(*tables, ", ") : "";
  return cat("another user of nf_tables", others.empty() ? "" : "; others have: ", others);
}

Result<std::vector<Drift>> NftablesDriver::verify(bool repair) {
  if (!node_) return std::vector<Drift>();
  auto kernel = runner_->read_table(options_.table);
  if (!kernel) return fail("nftables: cannot verify", kernel.error());
  std::vector<Drift> out = nft::drifts_of(desired_, *layout_, std::move(*kernel), likely_owner());
  if (!repair || (out.empty() && in_sync_)) return out;
  ApplyReport report;
  reconcile(report);
  finish(report);
  for (Drift& drift : out) drift.repaired = report.ok();
  return out;
}

std::vector<std::string> NftablesDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> out;
  for (const RowKey& key : wanted_.rows_owned_by(service)) {
    const Row* row = desired_.row(key);
    if (row == nullptr) continue;
    nft::for_each_element(
        key, *row,
        [&](const std::string& set, const std::string& element, const std::string& value) {
          out.push_back(cat("element inet ", options_.table, " ", set, " { ", element,
                            value.empty() ? "" : cat(" : ", value), " }"));
        });
  }
  return out;
}

Result<void> NftablesDriver::retire() {
  for (const auto& [key, row] : desired_.rows()) retired_.insert({key.ip, key.port});
  const nft::Layout layout(options_, NodeConfig());
  if (const auto retired = runner_->run(layout.retire_commands()); !retired) {
    return fail(cat("nftables: cannot retire table inet ", options_.table), retired.error());
  }
  node_.reset();  // the next apply() is a full one
  layout_.reset();
  in_sync_ = false;
  return {};
}

Result<void> NftablesDriver::cleanup() {
  const NodeConfig no_node;
  const nft::Layout layout(options_, no_node);
  if (const auto removed = runner_->run(layout.remove_commands()); !removed) {
    return fail(cat("nftables: cannot remove table inet ", options_.table), removed.error());
  }
  in_sync_ = false;
  return {};
}

}  // namespace

std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry, std::unique_ptr<NftRunner> runner,
                                             std::unique_ptr<net::Conntrack> conntrack) {
  return std::make_unique<NftablesDriver>(std::move(options), log, registry, std::move(runner),
                                          std::move(conntrack));
}

std::unique_ptr<Driver> make_nftables_driver(NftablesOptions options, const Log& log,
                                             Registry& registry) {
  return make_nftables_driver(std::move(options), log, registry, make_nft_runner(),
                              net::make_conntrack());
}

}  // namespace fairlead::dataplane
