#include "dataplane/nftables/driver.h"

#include <optional>

#include "base/text.h"
#include "dataplane/driver_flows.h"
#include "dataplane/nftables/affinity_memory.h"
#include "dataplane/nftables/kernel_state.h"
#include "dataplane/nftables/table_sync.h"
#include "dataplane/nftables/wanted.h"

namespace fairlead::dataplane {
namespace {

using nft::Row;
using nft::RowKey;

class NftablesDriver final : public Driver {
 public:
  NftablesDriver(NftablesOptions options, const Log& log, Registry& registry,
                 std::unique_ptr<NftRunner> runner, std::unique_ptr<net::Conntrack> conntrack)
      : options_{std::move(options.table), options.masquerade_mark, options.drop_invalid},
        log_(log.named("nftables")),
        runner_(std::move(runner)),
        flows_(std::move(conntrack), "nftables", log_, registry),
        sync_(options_.table, *runner_, log_, registry) {}

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
  bool drained() const override { return !flows_.any_left(retired_); }

 private:
  void change_rows(const ServiceTable& table, const std::set<RowKey>& touched,
                   nft::Transaction* transaction, ApplyReport& report);
  void change_row(const RowKey& key, const Row* from, std::optional<Row> to,
                  nft::Transaction* transaction);
  void change_ips(bool full, nft::Transaction* transaction);
  void change_ips(const std::string& set, const nft::CountedIps& wanted,
                  const std::set<Ip>& touched, nft::Transaction* transaction);
  void reconcile(ApplyReport& report);
  void finish(ApplyReport& report);
  void forget_clients(ApplyReport& report);
  // The table is gone: nothing is put right until the next apply(), which is a full one.
  void forget() {
    node_.reset();
    sync_.forget();
  }

  const nft::LayoutOptions options_;
  const Log log_;
  const std::unique_ptr<NftRunner> runner_;
  DriverFlows flows_;

  nft::Wanted wanted_;
  std::optional<NodeConfig> node_;     // of the last apply()
  std::optional<nft::Layout> layout_;  // for node_
  nft::Desired desired_;
  nft::TableSync sync_;
  // Affinities whose memory may name backends that left.
  std::set<uint64_t> to_forget_;
  bool forget_all_ = false;
  RetiredAddresses retired_;
};

Result<void> NftablesDriver::start() {
  auto rows = sync_.take_over();
  if (!rows) return fail("nftables: cannot read tables", rows.error());
  if (!*rows) return {};
  // The slots of today stay where they are. Whether the rules are ours is asked when the node's
  // configuration is known: by the first apply().
  for (auto& [key, row] : **rows) desired_.set_row(key, std::move(row));
  return {};
}

void NftablesDriver::change_row(const RowKey& key, const Row* from, std::optional<Row> to,
                                nft::Transaction* transaction) {
  if (!to && key.protocol == Protocol::udp && !key.outside) flows_.left({key.ip, key.port});
  const bool had_affinity = from != nullptr && from->affinity.timeout_s != 0;
  if (had_affinity) {
    to_forget_.insert(from->affinity.id);
    sync_.row_left(nft::chain_of(key, *from));
    sync_.row_left(nft::remember_chain_of(key, *from));
  }
  if (transaction != nullptr) {
    if (to) transaction->need_chains(key, *to, sync_.chains());
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

ApplyReport NftablesDriver::apply(const ServiceTable& table,
                                  const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  if (!node_ || *node_ != table.node) {
    nft::Layout layout(options_, table.node);
    if (!layout_ || layout_->label() != layout.label()) sync_.lose_sync();
    layout_.emplace(std::move(layout));
    node_ = table.node;
    full = true;
  }
  if (full) sync_.lose_sync();
  report.services_changed = full ? table.services.size() : changed.size();

  nft::Transaction transaction(*layout_);
  nft::Transaction* const into = sync_.in_sync() ? &transaction : nullptr;
  std::set<RowKey> touched = wanted_.update(table, changed, full);
  if (full) {
    for (const auto& [key, row] : desired_.rows()) touched.insert(key);
  }
  flows_.update(table, changed, full);
  change_rows(table, touched, into, report);
  change_ips(full, into);
  if (sync_.in_sync()) {
    sync_.send(desired_, transaction, report);
  } else {
    reconcile(report);
  }
  finish(report);
  return report;
}

ApplyReport NftablesDriver::retry() {
  ApplyReport report;
  if (node_ && !sync_.in_sync()) reconcile(report);
  finish(report);
  return report;
}

// What can only be done when no new flow chooses a backend that left.
void NftablesDriver::finish(ApplyReport& report) {
  if (!sync_.in_sync()) return;
  if (const auto cleaned = flows_.repair(); !cleaned) {
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

void NftablesDriver::reconcile(ApplyReport& report) {
  forget_all_ = true;
  flows_.check_all();
  sync_.reconcile(desired_, *layout_, report);
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

Result<std::vector<Drift>> NftablesDriver::verify(bool repair) {
  if (!node_) return std::vector<Drift>();
  auto kernel = runner_->read_table(options_.table);
  if (!kernel) return fail("nftables: cannot verify", kernel.error());
  const std::string owner = sync_.in_sync() ? nft::likely_owner(*runner_, options_.table)
                                            : "fairlead: a transaction was refused";
  std::vector<Drift> out;
  if (*kernel) {
    const auto rules = nft::rule_differences(**kernel, *layout_);
    out = nft::drifts_of(rules, nft::differences(desired_, *layout_, std::move(**kernel)), owner);
  } else {
    out = {{cat("table inet ", options_.table, " is missing"), owner}};
  }
  if (!repair || (out.empty() && sync_.in_sync())) return out;
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
  for (const auto& [key, row] : desired_.rows()) {
    retired_.dialled.insert({key.ip, key.port});
    retired_.backends.insert(row.slots.begin(), row.slots.end());
  }
  const nft::Layout layout(options_, NodeConfig());
  if (const auto retired = runner_->run(layout.retire_commands()); !retired) {
    return fail(cat("nftables: cannot retire table inet ", options_.table), retired.error());
  }
  forget();
  return {};
}

Result<void> NftablesDriver::cleanup() {
  const auto removed = runner_->run(nft::remove_table_commands(options_.table));
  if (!removed) {
    return fail(cat("nftables: cannot remove table inet ", options_.table), removed.error());
  }
  forget();
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
