#include "dataplane/ipvs/driver.h"

#include <optional>

#include "base/text.h"
#include "dataplane/ipvs/drifts.h"
#include "dataplane/ipvs/host.h"
#include "dataplane/ipvs/rule_sync.h"
#include "dataplane/ipvs/service_sync.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

// More errors of one apply() say nothing new.
constexpr size_t max_errors = 20;

class IpvsDriver final : public Driver {
 public:
  IpvsDriver(IpvsOptions options, net::EventLoop& loop, const Log& log, Registry& registry,
             IpvsDoors doors)
      : options_(std::move(options)),
        loop_(loop),
        log_(log.named("ipvs")),
        writes_(registry.counter("fairlead_ipvs_writes_total",
                                 "Messages to IPVS and set elements that the kernel took.")),
        failures_(registry.counter("fairlead_ipvs_failures_total",
                                   "Requests of IPVS mode that the kernel refused.")),
        leaving_(registry.gauge("fairlead_ipvs_leaving_destinations",
                                "Destinations that finish their last connections.")),
        doors_(std::move(doors)),
        wanted_(options_.scheduler),
        services_(*doors_.table),
        rules_({options_.table, options_.masquerade_mark}, *doors_.rules) {}

  std::string_view mode() const override { return "ipvs"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> retire() override;
  bool drained() const override;

 private:
  const Claim* claim_of(const ServiceKey& key) const {
    const auto claim = claims_.find(key);
    return claim == claims_.end() ? nullptr : &claim->second;
  }
  void set_claim(const ServiceKey& key, std::optional<Claim> claim);
  void change_extras(const ServiceTable& table, const api::ObjectKey& service);
  Result<void> load();
  bool is_ours(const ServiceKey& key, const std::set<ServiceKey>& own) const;
  std::set<ServiceKey> our_services() const;
  bool wants_address(const Ip& ip) const;
  void flush(ApplyReport& report);
  void flush_addresses(ApplyReport& report);
  void note(ApplyReport& report, const Error& error);
  void check_leaving();
  void watch_leaving();
  std::set<Ip> wanted_addresses() const;

  const IpvsOptions options_;
  net::EventLoop& loop_;
  const Log log_;
  Counter& writes_;
  Counter& failures_;
  Gauge& leaving_;
  const IpvsDoors doors_;

  Wanted wanted_;
  ServiceSync services_;
  RuleSync rules_;
  HostAddresses addresses_;  // as last read, and changed since
  std::optional<NodeConfig> node_;
  std::map<ServiceKey, Claim> claims_;
  std::map<api::ObjectKey, Extras> extras_;
  std::map<Ip, size_t> vip_users_;
  std::set<ServiceKey> dirty_;  // where the kernel may differ from claims_
  std::set<Ip> dirty_addresses_;
  bool loaded_ = false;  // false: the kernel is read before anything is written
  std::set<ServiceKey> retired_;
  net::Timer drain_timer_;
};

Result<void> IpvsDriver::start() {
  FL_TRY_VOID(check_scheduler(options_.scheduler));
  FL_TRY_VOID(load());
  // load() decides by the node's configuration, which the first apply() brings.
  loaded_ = false;
  log_.info("found",
            {{"services", our_services().size()}, {"addresses", addresses_.device.size()}});
  return {};
}

Result<void> IpvsDriver::load() {
  FL_TRY_VOID(doors_.table->open());
  FL_TRY_VOID(doors_.host->open(options_.device));
  FL_TRY_VOID(set_sysctls(*doors_.host, options_.strict_arp));
  if (options_.timeouts != Timeouts()) {
    FL_TRY_VOID(doors_.table->set_timeouts(options_.timeouts));
  }
  FL_TRY_VOID(services_.load());
  FL_TRY(addresses_, doors_.host->addresses());
  FL_TRY_VOID(rules_.load());
  for (const auto& [key, claim] : claims_) dirty_.insert(key);
  for (const ServiceKey& key : our_services()) dirty_.insert(key);
  for (const ServiceKey& key : rules_.own()) dirty_.insert(key);
  for (const auto& [ip, users] : vip_users_) dirty_addresses_.insert(ip);
  dirty_addresses_.insert(addresses_.device.begin(), addresses_.device.end());
  loaded_ = true;
  return {};
}

// A service is ours when our table names it or its address is on our interface.
bool IpvsDriver::is_ours(const ServiceKey& key, const std::set<ServiceKey>& own) const {
  return claims_.contains(key) || own.contains(key) || addresses_.device.contains(key.ip);
}

std::set<ServiceKey> IpvsDriver::our_services() const {
  const std::set<ServiceKey> own = rules_.own();
  std::set<ServiceKey> out;
  for (const auto& [key, service] : services_.held()) {
    if (is_ours(key, own)) out.insert(key);
  }
  return out;
}

void IpvsDriver::set_claim(const ServiceKey& key, std::optional<Claim> claim) {
  const auto old = claims_.find(key);
  const Claim* from = old == claims_.end() ? nullptr : &old->second;
  if (from == nullptr ? !claim : claim == *from) return;
  rules_.change_claim(key, from, claim ? &*claim : nullptr);
  if (claim && claim->on_device) ++vip_users_[key.ip];
  if (from != nullptr && from->on_device && --vip_users_[key.ip] == 0) vip_users_.erase(key.ip);
  dirty_.insert(key);
  dirty_addresses_.insert(key.ip);
  if (claim) {
    claims_.insert_or_assign(key, std::move(*claim));
  } else {
    claims_.erase(old);
  }
}

void IpvsDriver::change_extras(const ServiceTable& table, const api::ObjectKey& service) {
  const auto entry = table.services.find(service);
  const auto old = extras_.find(service);
  std::optional<Extras> next;
  if (entry != table.services.end()) next = Wanted::extras(table.node, entry->second);
  rules_.change_extras(old == extras_.end() ? nullptr : &old->second, next ? &*next : nullptr);
  if (next) {
    extras_.insert_or_assign(service, std::move(*next));
  } else if (old != extras_.end()) {
    extras_.erase(old);
  }
}

ApplyReport IpvsDriver::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                              bool full) {
  ApplyReport report;
  if (!node_ || *node_ != table.node) {
    rules_.set_node(table.node);
    node_ = table.node;
    full = true;
  }
  report.services_changed = full ? table.services.size() : changed.size();
  for (const ServiceKey& key : wanted_.update(table, changed, full)) {
    set_claim(key, wanted_.claim(table, key));
  }
  std::set<api::ObjectKey> services = changed;
  if (full) {
    for (const auto& [service, extras] : extras_) services.insert(service);
    for (const auto& [service, entry] : table.services) services.insert(service);
    loaded_ = false;
  }
  for (const api::ObjectKey& service : services) change_extras(table, service);
  flush(report);
  return report;
}

ApplyReport IpvsDriver::retry() {
  ApplyReport report;
  if (node_ && !loaded_) flush(report);
  return report;
}

void IpvsDriver::note(ApplyReport& report, const Error& error) {
  loaded_ = false;
  failures_.add();
  if (report.errors.size() < max_errors) report.errors.push_back(cat("ipvs: ", error.message));
}

bool IpvsDriver::wants_address(const Ip& ip) const {
  if (addresses_.elsewhere.contains(ip)) return false;
  if (vip_users_.contains(ip)) return true;
  // The connections of a service that is gone still come to its address.
  for (auto at = services_.held().lower_bound({ip, Protocol::tcp, 0});
       at != services_.held().end() && at->first.ip == ip; ++at) {
    if (services_.is_draining(at->first) && addresses_.device.contains(ip)) return true;
  }
  return false;
}

// Rules that let less through, destinations, addresses, rules that let more through: a packet never
// meets an address whose service is not ready.
void IpvsDriver::flush(ApplyReport& report) {
  if (!loaded_) {
    if (const auto good = load(); !good) return note(report, good.error());
  }
  for (const Ip& ip : dirty_addresses_) {
    if (wants_address(ip)) rules_.set_vip(ip, true);
  }
  const auto before = rules_.before();
  if (!before) return note(report, before.error());
  report.writes += *before;
  const std::set<ServiceKey> keys = std::exchange(dirty_, {});
  for (const ServiceKey& key : keys) {
    const Claim* claim = claim_of(key);
    const auto good = services_.sync(key, claim);
    if (!good) note(report, good.error());
    // One that could not be removed stays ours, too.
    if (claim == nullptr) rules_.set_draining(key, !good || services_.is_draining(key));
  }
  report.writes += services_.take_writes();
  flush_addresses(report);
  const auto after = rules_.after();
  if (!after) return note(report, after.error());
  report.writes += *after;
  writes_.add(report.writes);
  watch_leaving();
}

void IpvsDriver::flush_addresses(ApplyReport& report) {
  for (const Ip& ip : std::exchange(dirty_addresses_, {})) {
    const bool wants = wants_address(ip), has = addresses_.device.contains(ip);
    rules_.set_vip(ip, wants);
    if (wants == has) continue;
    const auto good = wants ? doors_.host->add(ip) : doors_.host->remove(ip);
    if (!good) {
      note(report, good.error());
      continue;
    }
    ++report.writes;
    if (wants) {
      addresses_.device.insert(ip);
    } else {
      addresses_.device.erase(ip);
    }
  }
}

void IpvsDriver::watch_leaving() {
  leaving_.set(static_cast<int64_t>(services_.leaving()));
  if (services_.leaving() == 0) {
    drain_timer_.reset();
  } else if (!drain_timer_) {
    drain_timer_ = loop_.after(options_.drain_interval, [this] { check_leaving(); });
  }
}

void IpvsDriver::check_leaving() {
  ApplyReport report;
  const auto gone = services_.drain();
  if (!gone) {
    note(report, gone.error());
    log_.warn("cannot look after leaving destinations", {{"reason", gone.error().message}});
  } else {
    for (const ServiceKey& key : *gone) {
      rules_.set_draining(key, false);
      dirty_addresses_.insert(key.ip);
    }
  }
  // After a failure this reads the kernel and starts over with all that is left.
  flush(report);
  drain_timer_.reset();
  if (report.ok()) return watch_leaving();
  drain_timer_ = loop_.after(options_.drain_interval, [this] { check_leaving(); });
}

std::string IpvsDriver::dump() const {
  const auto services = doors_.table->list();
  if (!services) return cat("error: ", services.error().message, "\n");
  std::string out;
  for (const auto& [key, service] : *services) {
    for (const std::string& line : lines(key, service)) append(out, cat(line, "\n"));
  }
  if (const auto addresses = doors_.host->addresses()) {
    for (const Ip& ip : addresses->device) append(out, cat("address ", ip.to_string(), "\n"));
  }
  return out + rules_.dump();
}

Result<void> IpvsDriver::cleanup() {
  drain_timer_.reset();
  if (!loaded_) FL_TRY_VOID(load());
  std::set<ServiceKey> ours = our_services();
  ours.insert(retired_.begin(), retired_.end());
  for (const ServiceKey& key : ours) {
    if (services_.held().contains(key)) FL_TRY_VOID(services_.remove(key));
  }
  FL_TRY_VOID(doors_.host->remove_device(options_.device));
  FL_TRY_VOID(rules_.remove_table());
  addresses_ = {};
  loaded_ = false;
  return {};
}

std::set<Ip> IpvsDriver::wanted_addresses() const {
  std::set<Ip> out;
  for (const auto& [ip, users] : vip_users_) {
    if (wants_address(ip)) out.insert(ip);
  }
  for (const Ip& ip : addresses_.device) {
    if (wants_address(ip)) out.insert(ip);
  }
  return out;
}

Result<std::vector<Drift>> IpvsDriver::verify(bool repair) {
  if (!node_) return fail("ipvs: nothing has been applied yet");
  std::set<ServiceKey> draining;
  for (const auto& [key, service] : services_.held()) {
    if (services_.is_draining(key)) draining.insert(key);
  }
  FL_TRY_VOID(load());
  // What is leaving is forgotten by load() and found again.
  for (const ServiceKey& key : draining) FL_TRY_VOID(services_.sync(key, nullptr));
  std::vector<Drift> out = service_drifts(claims_, services_.held(), our_services());
  for (auto& more :
       {address_drifts(options_.device, wanted_addresses(), addresses_.device), rules_.drifts()}) {
    out.insert(out.end(), more.begin(), more.end());
  }
  // Also without drifts: destinations that leave are looked after again.
  if (!repair && !out.empty()) {
    loaded_ = false;
    return out;
  }
  ApplyReport report;
  flush(report);
  for (Drift& drift : out) drift.repaired = report.ok();
  return out;
}

std::vector<std::string> IpvsDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> out;
  for (const ServiceKey& key : wanted_.keys_of(service)) {
    const Claim* claim = claim_of(key);
    const auto held = services_.held().find(key);
    if (claim == nullptr || claim->owner != service || held == services_.held().end()) continue;
    for (std::string& line : lines(key, held->second)) out.push_back(cat("ipvsadm ", line));
    for (std::string& line : rules_.lines(key)) out.push_back(std::move(line));
  }
  return out;
}

// The new driver's rules take every new flow before it would come here; what is under way has its
// entries in IPVS and comes to the service addresses as before.
Result<void> IpvsDriver::retire() {
  drain_timer_.reset();
  if (!loaded_) FL_TRY_VOID(load());
  retired_ = our_services();
  FL_TRY_VOID(rules_.remove_hooks());
  return services_.stop(retired_);
}

bool IpvsDriver::drained() const {
  for (const ServiceKey& key : retired_) {
    if (key.protocol != Protocol::tcp) continue;
    const auto destinations = doors_.table->destinations(key);
    if (!destinations) continue;  // nothing can be said: then nothing shall wait for it
    for (const auto& [address, destination] : *destinations) {
      if (destination.active != 0) return false;
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<Driver> make_ipvs_driver(IpvsOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry, IpvsDoors doors) {
  return std::make_unique<IpvsDriver>(std::move(options), loop, log, registry, std::move(doors));
}

std::unique_ptr<Driver> make_ipvs_driver(IpvsOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry) {
  return make_ipvs_driver(std::move(options), loop, log, registry,
                          {make_kernel_table(), make_kernel_host(), make_nft_runner()});
}

}  // namespace fairlead::dataplane
