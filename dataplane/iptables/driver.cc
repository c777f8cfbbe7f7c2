#include "dataplane/iptables/driver.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/driver_flows.h"
#include "dataplane/iptables/family.h"
#include "dataplane/stale_flows.h"

namespace fairlead::dataplane {
namespace {

using ipt::Family;
using ipt::Table;

constexpr std::string_view route_localnet = "net/ipv4/conf/all/route_localnet";
// What it was before an earlier run, of which only the guard is left.
constexpr const char* default_localnet = "0";

// What decides in which style the rules are written.
struct Size {
  size_t services = 0, endpoints = 0;

  static Size of(const ServiceEntry& entry) {
    Size out{1, 0};
    for (const PortRule& rule : entry.ports) out.endpoints += rule.backends.size();
    return out;
  }
  static Size of(const ServiceTable& table) {
    Size out;
    for (const auto& [key, entry] : table.services) out += of(entry);
    return out;
  }
  Size& operator+=(const Size& other) {
    services += other.services;
    endpoints += other.endpoints;
    return *this;
  }
  Size& operator-=(const Size& other) {
    services -= other.services;
    endpoints -= other.endpoints;
    return *this;
  }
};

// Since another style is another set of rules, what is large stays so until it is half as large.
bool is_large(bool was, size_t count, size_t limit) { return count > (was ? limit / 2 : limit); }

class IptablesDriver final : public Driver {
 public:
  IptablesDriver(IptablesOptions options, net::EventLoop& loop, const Log& log, Registry& registry,
                 std::unique_ptr<IptablesRunner> runner, std::unique_ptr<net::Conntrack> conntrack)
      : options_(options),
        loop_(loop),
        log_(log.named("iptables")),
        runner_(std::move(runner)),
        restorer_(*runner_, registry),
        flows_(std::move(conntrack), "iptables", log_, registry),
        families_{{false, *runner_, restorer_, log_}, {true, *runner_, restorer_, log_}} {
    style_.masquerade_mark = options.masquerade_mark;
    style_.tcp_be_liberal = options.tcp_be_liberal;
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
  bool drained() const override { return !flows_.any_left(retired_); }

 private:
  bool choose_style();
  void plan_all();
  void keep(const ServiceTable& table, const std::set<api::ObjectKey>& changed);
  void reconcile(Family& family, ApplyReport& report);
  void finish(ApplyReport& report);
  void finish_repair(ApplyReport report);
  Result<void> remove(ipt::Removal (*removal)(const ipt::SavedRules&, size_t));
  void allow_localhost(ApplyReport& report);
  Result<void> forbid_localhost();
  bool may_unguard(const NodeConfig& node, ApplyReport& report);
  void watch_canary();
  void look_at_canary();

  const IptablesOptions options_;
  net::EventLoop& loop_;
  const Log log_;
  const std::unique_ptr<IptablesRunner> runner_;
  ipt::Restorer restorer_;
  DriverFlows flows_;

  Family families_[2];
  ServiceTable table_;  // of the last apply(), like those below
  Size size_;
  ipt::Style style_;
  bool applied_ = false;
  std::optional<std::string> old_localnet_;  // what route_localnet was before us
  bool tracker_stays_ = false;               // the successor's rules keep the tracker at work
  RetiredAddresses retired_;
  net::Timer canary_timer_;
  size_t canary_turn_ = 0;
};

Result<void> IptablesDriver::start() {
  const auto version = runner_->version();
  if (!version) return fail("iptables: no usable program", version.error());
  log_.info("iptables", {{"version", *version}});
  for (Family& family : families_) FL_TRY_VOID(family.find());
  if (families_[0].has_found(Table::filter, ipt::localnet_name)) old_localnet_ = default_localnet;
  return {};
}

// True: it is another one than before.
bool IptablesDriver::choose_style() {
  const ipt::Style before = style_;
  style_.brief = is_large(style_.brief, size_.endpoints, options_.brief_above);
  style_.tree = is_large(style_.tree, size_.services, options_.tree_above);
  return style_ != before;
}

// What depends on everything: the node, and the style.
void IptablesDriver::plan_all() {
  for (const bool ipv6 : {false, true}) {
    ipt::Style style = style_;
    style.ipv6 = ipv6;
    families_[ipv6].plan(table_, style);
  }
}

void IptablesDriver::keep(const ServiceTable& table, const std::set<api::ObjectKey>& changed) {
  for (const api::ObjectKey& key : changed) {
    if (const auto old = table_.services.find(key); old != table_.services.end()) {
      size_ -= Size::of(old->second);
      table_.services.erase(old);
    }
    if (const auto next = table.services.find(key); next != table.services.end()) {
      size_ += Size::of(next->second);
      table_.services.insert(*next);
    }
  }
}

ApplyReport IptablesDriver::apply(const ServiceTable& table,
                                  const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  const bool kept_guard = std::exchange(style_.keeps_guard, !may_unguard(table.node, report));
  full |= !applied_ || table_.node != table.node || kept_guard != style_.keeps_guard;
  report.services_changed = full ? table.services.size() : changed.size();
  flows_.update(table, changed, full);
  if (full) {
    table_ = table;
    size_ = Size::of(table_);
    choose_style();
    plan_all();
    applied_ = true;
  } else {
    for (Family& family : families_) family.change(table_, table, changed, report);
    keep(table, changed);
    if (choose_style()) plan_all();
  }
  for (Family& family : families_) {
    if (!family.in_sync()) reconcile(family, report);
  }
  finish(report);
  if (!canary_timer_) watch_canary();
  return report;
}

ApplyReport IptablesDriver::retry() {
  ApplyReport report;
  if (style_.keeps_guard && may_unguard(table_.node, report)) {
    style_.keeps_guard = false;
    plan_all();
  }
  for (Family& family : families_) {
    if (applied_ && !family.in_sync()) reconcile(family, report);
  }
  if (applied_) finish(report);
  return report;
}

// What can only be done when no new flow chooses a backend that left.
void IptablesDriver::finish(ApplyReport& report) {
  if (!families_[0].in_sync() || !families_[1].in_sync()) return;
  if (const auto repaired = flows_.repair(); !repaired) {
    report.errors.push_back(cat("iptables: stale UDP flows stay: ", repaired.error().message));
  }
}

void IptablesDriver::reconcile(Family& family, ApplyReport& report) {
  flows_.check_all();
  family.reconcile(table_, report);
  if (&family == &families_[0] && family.in_sync()) allow_localhost(report);
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

// Before its guard goes.
Result<void> IptablesDriver::forbid_localhost() {
  if (!old_localnet_) return {};
  FL_TRY_VOID(runner_->set_sysctl(std::string(route_localnet), *old_localnet_));
  old_localnet_.reset();
  return {};
}

// False: route_localnet is still on although nobody needs it any more.
bool IptablesDriver::may_unguard(const NodeConfig& node, ApplyReport& report) {
  if (node.localhost_node_ports) return true;
  const auto done = forbid_localhost();
  if (!done) report.errors.push_back(cat("iptables: ", done.error().message));
  return done.has_value();
}

void IptablesDriver::watch_canary() {
  canary_timer_ = loop_.after(options_.canary_interval, [this] {
    look_at_canary();
    watch_canary();
  });
}

// One child at a time: the tables of both families take turns.
void IptablesDriver::look_at_canary() {
  constexpr size_t tables = std::size(ipt::our_tables);
  const size_t turn = canary_turn_++ % (2 * tables);
  const Family& family = families_[turn / tables];
  if (family.is_absent()) return;
  if (family.in_sync()) {
    const Table table = ipt::our_tables[turn % tables];
    const auto flushed = family.was_flushed(table);
    if (!flushed) {
      log_.warn("cannot look for a flush", {{"reason", flushed.error().message}});
      return;
    }
    if (!*flushed) return;
    restorer_.saw_flush();
    log_.warn("somebody flushed a table; writing it again",
              {{"family", family.name()}, {"table", to_string(table)}});
  }
  ApplyReport report;
  for (Family& one : families_) {  // who flushes one mostly flushes all
    one.doubt();
    reconcile(one, report);
  }
  finish_repair(std::move(report));
}

// Of what nobody asks for a report.
void IptablesDriver::finish_repair(ApplyReport report) {
  finish(report);
  for (const std::string& error : report.errors) log_.error("not repaired", {{"reason", error}});
}

Result<std::vector<Drift>> IptablesDriver::verify(bool repair) {
  std::vector<Drift> drifts;
  if (!applied_) return drifts;
  for (Family& family : families_) FL_TRY_VOID(family.verify(table_, repair, drifts));
  if (repair && !drifts.empty()) {
    flows_.check_all();
    finish_repair({});
  }
  return drifts;
}

std::vector<std::string> IptablesDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> out;
  for (const Family& family : families_) family.list_entries(table_, service, out);
  return out;
}

std::string IptablesDriver::dump() const { return families_[0].dump() + families_[1].dump(); }

Result<void> IptablesDriver::prepare_retire(std::string_view successor) {
  tracker_stays_ = successor == to_string(Mode::nftables) || successor == to_string(Mode::ipvs);
  return {};
}

Result<void> IptablesDriver::retire() {
  if (tracker_stays_) return cleanup();
  for (const auto& [key, entry] : table_.services) {
    for (const PortRule& rule : entry.ports) {
      for (const SocketAddress& one : dialled_addresses(table_.node, rule)) {
        retired_.dialled.insert(one);
      }
      for (const Backend& one : rule.backends) retired_.backends.insert({one.ip, one.port});
    }
  }
  return remove(ipt::retirement_of);
}

Result<void> IptablesDriver::cleanup() {
  FL_TRY_VOID(remove(ipt::removal_of));
  applied_ = false;
  return {};
}

Result<void> IptablesDriver::remove(ipt::Removal (*removal)(const ipt::SavedRules&, size_t)) {
  canary_timer_.reset();
  for (Family& family : families_) {
    FL_TRY(const ipt::SavedRules kernel, family.removable(!applied_));
    const bool guards = kernel.find(Table::filter, ipt::localnet_name) != nullptr;
    if (guards && !applied_) old_localnet_ = default_localnet;
    if (removal == ipt::removal_of) FL_TRY_VOID(forbid_localhost());
    FL_TRY_VOID(family.send(removal(kernel, runner_->writes_at_once())));
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
