#include "dataplane/ipvs/claim_sync.h"

#include "base/text.h"
#include "dataplane/ipvs/drifts.h"

namespace fairlead::dataplane::ipvs {
namespace {

// More errors of one flush() say nothing new.
constexpr size_t max_errors = 20;

}  // namespace

ClaimSync::ClaimSync(const IpvsOptions& options, const IpvsDoors& doors, const Log& log,
                     Registry& registry)
    : options_(options),
      doors_(doors),
      writes_(registry.counter("fairlead_ipvs_writes_total",
                               "Messages to IPVS and set elements that the kernel took.")),
      failures_(registry.counter("fairlead_ipvs_failures_total",
                                 "Requests of IPVS mode that the kernel refused.")),
      services_(*doors.table),
      rules_({options.table, options.masquerade_mark}, *doors.rules, log),
      addresses_(options.device, *doors.host, [this](const Ip& ip) { return is_kept(ip); }) {}

Result<void> ClaimSync::load() {
  loaded_ = false;
  FL_TRY_VOID(doors_.table->open());
  FL_TRY_VOID(addresses_.load());
  FL_TRY_VOID(set_sysctls(*doors_.host, options_.strict_arp));
  if (options_.timeouts != Timeouts()) {
    FL_TRY_VOID(doors_.table->set_timeouts(options_.timeouts));
  }
  FL_TRY_VOID(services_.load());
  FL_TRY_VOID(rules_.load());
  for (const auto& [key, claim] : claims_) dirty_.insert(key);
  for (const ServiceKey& key : services()) dirty_.insert(key);
  for (const ServiceKey& key : rules_.own()) dirty_.insert(key);
  loaded_ = true;
  return {};
}

// A service is ours when our table names it or its address is on our interface.
std::set<ServiceKey> ClaimSync::services() const {
  const std::set<ServiceKey> own = rules_.own();
  std::set<ServiceKey> out;
  for (const auto& [key, service] : services_.held()) {
    if (claims_.contains(key) || own.contains(key) || addresses_.held().contains(key.ip)) {
      out.insert(key);
    }
  }
  return out;
}

const VirtualService* ClaimSync::held(const ServiceKey& key) const {
  const auto held = services_.held().find(key);
  return held == services_.held().end() ? nullptr : &held->second;
}

const Claim* ClaimSync::claim_of(const ServiceKey& key) const {
  const auto claim = claims_.find(key);
  return claim == claims_.end() ? nullptr : &claim->second;
}

void ClaimSync::set_claim(const ServiceKey& key, std::optional<Claim> claim) {
  const Claim* from = claim_of(key);
  if (from == nullptr ? !claim : claim == *from) return;
  rules_.change_claim(key, from, claim ? &*claim : nullptr);
  if (claim && claim->on_device) addresses_.add_user(key.ip);
  if (from != nullptr && from->on_device) addresses_.remove_user(key.ip);
  dirty_.insert(key);
  addresses_.look_at(key.ip);
  if (claim) {
    claims_.insert_or_assign(key, std::move(*claim));
  } else {
    claims_.erase(key);
  }
}

void ClaimSync::set_extras(const api::ObjectKey& service, std::optional<Extras> extras) {
  const auto old = extras_.find(service);
  rules_.change_extras(old == extras_.end() ? nullptr : &old->second, extras ? &*extras : nullptr);
  if (extras) {
    extras_.insert_or_assign(service, std::move(*extras));
  } else if (old != extras_.end()) {
    extras_.erase(old);
  }
}

// The connections of a service that is gone still come to its address.
bool ClaimSync::is_kept(const Ip& ip) const {
  const Services& held = services_.held();
  for (auto at = held.lower_bound({ip, Protocol::tcp, 0}); at != held.end() && at->first.ip == ip;
       ++at) {
    if (services_.is_draining(at->first)) return true;
  }
  return false;
}

void ClaimSync::note(ApplyReport& report, const Error& error) {
  loaded_ = false;
  failures_.add();
  if (report.errors.size() < max_errors) report.errors.push_back(cat("ipvs: ", error.message));
}

// Rules that let less through, destinations, addresses, rules that let more through.
void ClaimSync::flush(ApplyReport& report) {
  if (!loaded_) {
    if (const auto good = load(); !good) return note(report, good.error());
  }
  const size_t writes_before = report.writes;
  if (flush_services(report)) {
    flush_addresses(report);
    const auto after = rules_.after();
    if (after) {
      report.writes += *after;
    } else {
      note(report, after.error());
    }
  }
  writes_.add(report.writes - writes_before);
}

bool ClaimSync::flush_services(ApplyReport& report) {
  for (const Ip& ip : addresses_.dirty()) {
    if (addresses_.wants(ip) || addresses_.held().contains(ip)) rules_.set_vip(ip, true);
  }
  const auto before = rules_.before();
  if (!before) {
    note(report, before.error());
    return false;
  }
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
  return true;
}

void ClaimSync::flush_addresses(ApplyReport& report) {
  for (const Ip& ip : addresses_.take_dirty()) {
    if (const auto written = addresses_.sync(ip)) {
      report.writes += *written;
    } else {
      note(report, written.error());
    }
    // An address that could not be removed stays guarded.
    rules_.set_vip(ip, addresses_.wants(ip) || addresses_.held().contains(ip));
  }
}

Result<void> ClaimSync::drain() {
  // What is leaving may not be what it was: load() finds out.
  if (!loaded_) return {};
  FL_TRY(const std::vector<ServiceKey> gone, services_.drain());
  for (const ServiceKey& key : gone) {
    rules_.set_draining(key, false);
    addresses_.look_at(key.ip);
  }
  return {};
}

Result<std::vector<Drift>> ClaimSync::drifts() {
  FL_TRY_VOID(load());
  std::vector<Drift> out = service_drifts(claims_, services_.held(), services());
  for (auto& more :
       {address_drifts(options_.device, addresses_.wanted(), addresses_.held()), rules_.drifts()}) {
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

std::string ClaimSync::dump() const {
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

Result<void> ClaimSync::stop(const std::set<ServiceKey>& services, NewFlows flows) {
  FL_TRY_VOID(rules_.remove_hooks());
  return services_.stop(services, flows);
}

// Looks before it touches anything: every agent asks for this at its start, also on nodes where
// IPVS was never used. There nothing is loaded, made or set.
Result<void> ClaimSync::remove(const std::set<ServiceKey>& services) {
  loaded_ = false;
  FL_TRY_VOID(addresses_.read());
  FL_TRY_VOID(rules_.load());
  if (services.empty() && !addresses_.has_device() && !rules_.has_table()) return {};
  FL_TRY_VOID(doors_.table->open());
  FL_TRY_VOID(services_.load());
  std::set<ServiceKey> ours = this->services();
  ours.insert(services.begin(), services.end());
  for (const ServiceKey& key : ours) {
    if (services_.held().contains(key)) FL_TRY_VOID(services_.remove(key));
  }
  FL_TRY_VOID(addresses_.remove_device());
  return rules_.remove_table();
}

}  // namespace fairlead::dataplane::ipvs
