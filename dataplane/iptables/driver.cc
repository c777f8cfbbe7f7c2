#include "dataplane/iptables/driver.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/driver_flows.h"
#include "dataplane/iptables/listing.h"
#include "dataplane/iptables/restorer.h"
#include "dataplane/iptables/wanted.h"
#include "dataplane/stale_flows.h"

namespace fairlead::dataplane {
namespace {

using ipt::RestoreInput;
using ipt::SavedRules;
using ipt::Table;
using ipt::Wanted;

constexpr std::string_view route_localnet = "net/ipv4/conf/all/route_localnet";

std::string_view family_name(bool ipv6) { return ipv6 ? "IPv6" : "IPv4"; }

// One address family.
struct Family {
  bool ipv6 = false;
  std::optional<Wanted> wanted;  // from the first apply() on
  bool in_sync = false;
  bool told = false;                // that this host cannot do it, and nobody needs it
  std::optional<SavedRules> found;  // by start(), for the first apply()
};

class IptablesDriver final : public Driver {
 public:
  IptablesDriver(IptablesOptions options, net::EventLoop& loop, const Log& log, Registry& registry,
                 std::unique_ptr<IptablesRunner> runner, std::unique_ptr<net::Conntrack> conntrack)
      : options_(options),
        loop_(loop),
        log_(log.named("iptables")),
        runner_(std::move(runner)),
        restorer_(*runner_, registry),
        flows_(std::move(conntrack), "iptables", log_, registry) {
    families_[1].ipv6 = true;
  }

  std::string_view mode() const override { return "iptables"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> prepare_retire(std::string_view successor) override;
  Result<void> retire() override;
  bool drained() const override { return !flows_.any_to(retired_); }

 private:
  Result<SavedRules> read_kernel(bool ipv6) const;
  void plan_all(const ServiceTable& table);
  void keep(const ServiceTable& table, const std::set<api::ObjectKey>& changed);
  void send_change(Family& family, const RestoreInput& input, ApplyReport& report);
  void reconcile(Family& family, ApplyReport& report);
  void finish(ApplyReport& report);
  Result<void> remove(RestoreInput (*removal)(const SavedRules&));
  void allow_localhost(ApplyReport& report);
  void watch_canary();
  void look_at_canary();

  const IptablesOptions options_;
  net::EventLoop& loop_;
  const Log log_;
  const std::unique_ptr<IptablesRunner> runner_;
  ipt::Restorer restorer_;
  DriverFlows flows_;

  Family families_[2];
  ServiceTable table_;  // of the last apply()
  bool applied_ = false;
  std::optional<std::string> old_localnet_;  // what route_localnet was before us
  bool tracker_stays_ = false;               // the successor's rules keep the tracker at work
  std::set<SocketAddress> retired_;          // what was dialled through us until retire()
  net::Timer canary_timer_;
  size_t canary_turn_ = 0;
};

Result<SavedRules> IptablesDriver::read_kernel(bool ipv6) const {
  ipt::SavedRulesReader reader;
  Result<void> read;
  FL_TRY_VOID(runner_->save(ipv6, [&](std::string_view line) {
    if (read) read = reader.line(line);
  }));
  FL_TRY_VOID(read);
  return reader.finish();
}

Result<void> IptablesDriver::start() {
  const auto version = runner_->version();
  if (!version) return fail("iptables: no usable program", version.error());
  log_.info("iptables", {{"version", *version}});
  for (Family& family : families_) {
    auto found = read_kernel(family.ipv6);
    if (!found) {
      if (!family.ipv6) return fail("iptables: the rules cannot be read", found.error());
      log_.warn("the IPv6 rules cannot be read", {{"reason", found.error().message}});
      continue;  // the first apply() tries again
    }
    if (!found->empty()) {
      log_.info("found the chains of an earlier run",
                {{"family", family_name(family.ipv6)},
                 {"chains",
                  found->chains[0].size() + found->chains[1].size() + found->chains[2].size()}});
    }
    family.found = std::move(*found);
  }
  return {};
}

// What depends on everything: the node, and whether rules have comments.
void IptablesDriver::plan_all(const ServiceTable& table) {
  table_ = table;
  size_t endpoints = 0;
  for (const auto& [key, entry] : table_.services) {
    for (const PortRule& rule : entry.ports) endpoints += rule.backends.size();
  }
  for (Family& family : families_) {
    const ipt::Style style{family.ipv6, options_.masquerade_mark, options_.tcp_be_liberal,
                           endpoints <= options_.comments_up_to};
    family.wanted.emplace(ipt::Layout(table_.node, style));
    family.wanted->reset(table_);
    family.in_sync = false;
  }
}

void IptablesDriver::keep(const ServiceTable& table, const std::set<api::ObjectKey>& changed) {
  for (const api::ObjectKey& key : changed) {
    const auto entry = table.services.find(key);
    if (entry == table.services.end()) {
      table_.services.erase(key);
    } else {
      table_.services.insert_or_assign(key, entry->second);
    }
  }
}

ApplyReport IptablesDriver::apply(const ServiceTable& table,
                                  const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  full |= !applied_ || table_.node != table.node;
  report.services_changed = full ? table.services.size() : changed.size();
  flows_.update(table, changed, full);
  if (full) {
    plan_all(table);
    applied_ = true;
  } else {
    for (Family& family : families_) {
      const RestoreInput input = family.wanted->change(table_, table, changed);
      if (family.in_sync && !input.empty()) send_change(family, input, report);
    }
    keep(table, changed);
  }
  for (Family& family : families_) {
    if (!family.in_sync) reconcile(family, report);
  }
  finish(report);
  if (!canary_timer_) watch_canary();
  return report;
}

ApplyReport IptablesDriver::retry() {
  ApplyReport report;
  for (Family& family : families_) {
    if (applied_ && !family.in_sync) reconcile(family, report);
  }
  if (applied_) finish(report);
  return report;
}

// What can only be done when no new flow chooses a backend that left.
void IptablesDriver::finish(ApplyReport& report) {
  if (!families_[0].in_sync || !families_[1].in_sync) return;
  if (const auto repaired = flows_.repair(); !repaired) {
    report.errors.push_back(cat("iptables: stale UDP flows stay: ", repaired.error().message));
  }
}

void IptablesDriver::send_change(Family& family, const RestoreInput& input, ApplyReport& report) {
  const auto sent = restorer_.send_change(family.ipv6, input, report);
  if (sent) return;
  family.in_sync = false;
  log_.warn("a change was refused; comparing everything",
            {{"family", family_name(family.ipv6)}, {"reason", sent.error().message}});
}

void IptablesDriver::reconcile(Family& family, ApplyReport& report) {
  const auto name = family_name(family.ipv6);
  auto kernel =
      family.found ? Result<SavedRules>(std::move(*family.found)) : read_kernel(family.ipv6);
  family.found.reset();
  if (!kernel) {
    // A host without ip6tables, and nothing for it to do.
    if (family.ipv6 && !family.wanted->has_services()) {
      family.in_sync = true;
      if (!std::exchange(family.told, true)) {
        log_.warn("no IPv6 rules on this host", {{"reason", kernel.error().message}});
      }
      return;
    }
    log_.error("the rules cannot be read", {{"family", name}, {"reason", kernel.error().message}});
    report.errors.push_back(cat("iptables: ", name, ": ", kernel.error().message));
    return;
  }
  const auto difference = family.wanted->difference(table_, *kernel, runner_->chains_at_once());
  kernel = SavedRules();
  for (const RestoreInput& input : difference.inputs) {
    if (const auto sent = restorer_.send(family.ipv6, input, report); !sent) {
      log_.error("the rules were refused", {{"family", name}, {"reason", sent.error().message}});
      report.errors.push_back(
          cat("iptables: ", name, ": ", input.writes(), " writes refused: ", sent.error().message));
      return;
    }
  }
  family.in_sync = true;
  if (!family.ipv6) allow_localhost(report);
}

// Once its guard stands: see Layout::base_chains().
void IptablesDriver::allow_localhost(ApplyReport& report) {
  if (!table_.node.localhost_node_ports) return;
  auto old = runner_->set_sysctl(std::string(route_localnet), "1");
  if (!old) {
    log_.warn("NodePorts will not answer on 127.0.0.1", {{"reason", old.error().message}});
    return;
  }
  if (*old == "1") return;
  ++report.writes;
  if (!old_localnet_) old_localnet_ = std::move(*old);
}

void IptablesDriver::watch_canary() {
  canary_timer_ = loop_.after(options_.canary_interval, [this] {
    look_at_canary();
    watch_canary();
  });
}

// One child at a time: the tables of both families take turns.
void IptablesDriver::look_at_canary() {
  const size_t turn = canary_turn_++ % 6;
  Family& family = families_[turn / 3];
  if (family.told) return;
  if (family.in_sync) {
    const Table table = ipt::all_tables[turn % 3];
    const auto chain = runner_->list_chain(family.ipv6, table, std::string(ipt::canary_name));
    if (!chain) {
      log_.warn("cannot look for a flush", {{"reason", chain.error().message}});
      return;
    }
    if (*chain && (*chain)->find(cat("-A ", ipt::canary_name)) != std::string::npos) return;
    restorer_.saw_flush();
    log_.warn("somebody flushed a table; writing it again",
              {{"family", family_name(family.ipv6)}, {"table", to_string(table)}});
  }
  ApplyReport report;
  for (Family& one : families_) {  // who flushes one mostly flushes all
    one.in_sync = false;
    reconcile(one, report);
  }
}

Result<std::vector<Drift>> IptablesDriver::verify(bool repair) {
  std::vector<Drift> drifts;
  if (!applied_) return drifts;
  for (Family& family : families_) {
    if (family.told) continue;
    FL_TRY(const SavedRules kernel, read_kernel(family.ipv6));
    auto difference = family.wanted->difference(table_, kernel, runner_->chains_at_once());
    for (size_t i = 0; repair && i < difference.inputs.size(); ++i) {
      ApplyReport report;
      const auto sent = restorer_.send(family.ipv6, difference.inputs[i], report);
      family.in_sync = sent.has_value();
      if (!sent) return fail(cat("iptables: ", family_name(family.ipv6)), sent.error());
    }
    for (Drift& drift : difference.drifts) {
      drift.repaired = repair;
      drifts.push_back(std::move(drift));
    }
  }
  return drifts;
}

std::vector<std::string> IptablesDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> out;
  for (const Family& family : families_) {
    if (!family.wanted) continue;
    const Wanted::Entries entries = family.wanted->entries(table_, service);
    if (entries.chains.empty() && entries.shared.empty()) continue;
    ipt::EntryLister lister(family.ipv6, entries, out);
    const auto read = runner_->save(family.ipv6, [&](std::string_view line) { lister.line(line); });
    if (!read) out.push_back(cat("error: ", read.error().message));
  }
  return out;
}

std::string IptablesDriver::dump() const {
  std::string out;
  for (const Family& family : families_) {
    ipt::Listing listing;
    const auto read =
        runner_->save(family.ipv6, [&](std::string_view line) { listing.line(line); });
    if (!read) {
      append(out, cat("error: ", read.error().message, "\n"));
      continue;
    }
    append(out, listing.text(family.ipv6));
  }
  return out;
}

Result<void> IptablesDriver::prepare_retire(std::string_view successor) {
  tracker_stays_ = successor == to_string(Mode::nftables) || successor == to_string(Mode::ipvs);
  return {};
}

Result<void> IptablesDriver::retire() {
  if (tracker_stays_) return cleanup();
  for (const auto& [key, entry] : table_.services) {
    for (const PortRule& rule : entry.ports) {
      for (const SocketAddress& one : dialled_addresses(table_.node, rule)) retired_.insert(one);
    }
  }
  return remove(ipt::retirement_of);
}

Result<void> IptablesDriver::cleanup() {
  if (old_localnet_) {  // before its guard goes
    FL_TRY_VOID(runner_->set_sysctl(std::string(route_localnet), *old_localnet_));
    old_localnet_.reset();
  }
  FL_TRY_VOID(remove(ipt::removal_of));
  applied_ = false;
  return {};
}

// What `input` says of the kernel's rules, if they are ours.
Result<void> IptablesDriver::remove(RestoreInput (*removal)(const SavedRules&)) {
  canary_timer_.reset();
  for (Family& family : families_) {
    family.in_sync = false;
    family.found.reset();
    const auto kernel = read_kernel(family.ipv6);
    if (!kernel && family.ipv6 && !(family.wanted && family.wanted->has_services())) continue;
    if (!kernel) return fail("iptables: cleanup", kernel.error());
    if (!applied_ && !ipt::has_our_canary(*kernel)) {
      if (!kernel->empty()) log_.info("another proxy's chains stay; none of them is ours");
      continue;
    }
    const RestoreInput input = removal(*kernel);
    if (input.empty()) continue;
    if (const auto sent = runner_->restore(family.ipv6, input.text()); !sent) {
      return fail(cat("iptables: cleanup of ", family_name(family.ipv6)), sent.error());
    }
  }
  return {};
}

}  // namespace

std::unique_ptr<Driver> make_iptables_driver(IptablesOptions options, net::EventLoop& loop,
                                             const Log& log, Registry& registry,
                                             std::unique_ptr<IptablesRunner> runner,
                                             std::unique_ptr<net::Conntrack> conntrack) {
  return std::make_unique<IptablesDriver>(options, loop, log, registry, std::move(runner),
                                          std::move(conntrack));
}

std::unique_ptr<Driver> make_iptables_driver(IptablesOptions options, net::EventLoop& loop,
                                             const Log& log, Registry& registry) {
  return make_iptables_driver(options, loop, log, registry,
                              make_iptables_runner(options.variant, options.limits),
                              net::make_conntrack());
}

}  // namespace fairlead::dataplane
