#include "dataplane/ipvs/driver.h"

#include <optional>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/driver_flows.h"
#include "dataplane/ipvs/claim_sync.h"
#include "dataplane/ipvs/host.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

class IpvsDriver final : public Driver {
 public:
  IpvsDriver(IpvsOptions options, net::EventLoop& loop, const Log& log, Registry& registry,
             IpvsDoors doors)
      : options_(std::move(options)),
        loop_(loop),
        log_(log.named("ipvs")),
        leaving_(registry.gauge("fairlead_ipvs_leaving_destinations",
                                "Destinations that finish their last connections.")),
        doors_(std::move(doors)),
        flows_(std::move(doors_.conntrack), "ipvs", log_, registry),
        wanted_(options_.scheduler),
        kernel_(options_, doors_, log_, registry) {}

  std::string_view mode() const override { return "ipvs"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override { return kernel_.dump(); }
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> prepare_retire(std::string_view successor) override {
    // Its sockets come after IPVS, which would refuse what finds no destination.
    after_ = successor == to_string(Mode::userspace) ? NewFlows::to_node : NewFlows::refused;
    return {};
  }
  void stay() override { after_ = NewFlows::refused; }
  Result<void> retire() override;
  bool drained() const override;

 private:
  void flush(ApplyReport& report);
  void repair_flows(ApplyReport& report);
  void check_leaving();
  void watch_leaving();

  const IpvsOptions options_;
  net::EventLoop& loop_;
  const Log log_;
  Gauge& leaving_;
  IpvsDoors doors_;
  DriverFlows flows_;

  Wanted wanted_;
  ClaimSync kernel_;
  std::optional<NodeConfig> node_;      // of the last apply()
  NewFlows after_ = NewFlows::refused;  // when it is retired
  std::set<ServiceKey> retired_;
  net::Timer drain_timer_;
};

Result<void> IpvsDriver::start() {
  FL_TRY_VOID(check_scheduler(options_.scheduler));
  FL_TRY_VOID(kernel_.load());
  const std::set<ServiceKey> found = kernel_.services();
  for (const ServiceKey& key : found) {
    // Those that the first apply() names have not gone.
    if (key.protocol == Protocol::udp) flows_.left({key.ip, key.port});
  }
  // What is ours depends on the node's configuration, which the first apply() brings.
  kernel_.unload();
  log_.info("found", {{"services", found.size()}});
  return {};
}

ApplyReport IpvsDriver::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                              bool full) {
  ApplyReport report;
  if (!node_ || *node_ != table.node) {
    kernel_.set_node(table.node);
    node_ = table.node;
    full = true;
  }
  report.services_changed = full ? table.services.size() : changed.size();
  flows_.update(table, changed, full);
  for (const ServiceKey& key : wanted_.update(table, changed, full)) {
    kernel_.set_claim(key, wanted_.claim(table, key));
  }
  std::set<api::ObjectKey> services = changed;
  if (full) {
    for (const auto& [service, extras] : kernel_.extras()) services.insert(service);
    for (const auto& [service, entry] : table.services) services.insert(service);
    kernel_.unload();
  }
  for (const api::ObjectKey& service : services) {
    const auto entry = table.services.find(service);
    const bool there = entry != table.services.end();
    kernel_.set_extras(
        service, there ? std::optional(Wanted::extras(table.node, entry->second)) : std::nullopt);
  }
  flush(report);
  return report;
}

ApplyReport IpvsDriver::retry() {
  ApplyReport report;
  if (!node_) return report;
  if (kernel_.loaded()) {
    repair_flows(report);
  } else {
    flush(report);
  }
  return report;
}

void IpvsDriver::flush(ApplyReport& report) {
  if (!kernel_.loaded()) flows_.check_all();
  kernel_.flush(report);
  watch_leaving();
  if (report.ok()) repair_flows(report);
}

void IpvsDriver::repair_flows(ApplyReport& report) {
  // No new flow chooses a destination that left any more. IPVS ends the connections of its own
  // table by itself; what it never saw, or another mode translated, only the tracker knows.
  if (const auto repaired = flows_.repair(); !repaired) {
    report.errors.push_back(cat("ipvs: stale UDP flows stay: ", repaired.error().message));
  }
}

void IpvsDriver::watch_leaving() {
  leaving_.set(static_cast<int64_t>(kernel_.leaving()));
  if (kernel_.leaving() == 0) {
    drain_timer_.reset();
  } else if (!drain_timer_) {
    drain_timer_ = loop_.after(options_.drain_interval, [this] { check_leaving(); });
  }
}

void IpvsDriver::check_leaving() {
  ApplyReport report;
  if (const auto looked = kernel_.drain(); !looked) {
    kernel_.unload();
    report.errors.push_back(looked.error().message);
    log_.warn("cannot look after leaving destinations", {{"reason", looked.error().message}});
  }
  // After a failure this reads the kernel and starts over with all that is left.
  flush(report);
  drain_timer_.reset();
  if (report.ok()) return watch_leaving();
  drain_timer_ = loop_.after(options_.drain_interval, [this] { check_leaving(); });
}

Result<void> IpvsDriver::cleanup() {
  drain_timer_.reset();
  return kernel_.remove(retired_);
}

Result<std::vector<Drift>> IpvsDriver::verify(bool repair) {
  if (!node_) return fail("ipvs: nothing has been applied yet");
  FL_TRY(std::vector<Drift> out, kernel_.drifts());
  if (!repair && !out.empty()) {
    kernel_.unload();
    return out;
  }
  if (!out.empty()) flows_.check_all();
  // Also without drifts: destinations that leave are looked after again.
  ApplyReport report;
  flush(report);
  for (Drift& drift : out) drift.repaired = report.ok();
  return out;
}

std::vector<std::string> IpvsDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> out;
  for (const ServiceKey& key : wanted_.keys_of(service)) {
    const Claim* claim = kernel_.claim_of(key);
    const VirtualService* held = kernel_.held(key);
    if (claim == nullptr || claim->owner != service || held == nullptr) continue;
    for (const std::string& line : lines(key, *held)) out.push_back(cat("ipvsadm ", line));
    for (std::string& line : kernel_.rule_lines(key)) out.push_back(std::move(line));
  }
  return out;
}

// The new driver's rules take every new flow before it would come here, or it is passed on; what is
// under way has its entries in IPVS and comes to the service addresses as before.
Result<void> IpvsDriver::retire() {
  drain_timer_.reset();
  if (!kernel_.loaded()) FL_TRY_VOID(kernel_.load());
  retired_ = kernel_.services();
  return kernel_.stop(retired_, after_);
}

bool IpvsDriver::drained() const {
  for (const ServiceKey& key : retired_) {
    if (key.protocol != Protocol::tcp) continue;
    const auto destinations = doors_.table->destinations(key);
    if (!destinations) continue;  // nothing can be said: then nothing shall wait for it
    for (const auto& [address, destination] : *destinations) {
      if (address != itself(key) && destination.active != 0) return false;
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
  return make_ipvs_driver(
      std::move(options), loop, log, registry,
      {make_kernel_table(), make_kernel_host(), make_nft_runner(), net::make_conntrack()});
}

}  // namespace fairlead::dataplane
