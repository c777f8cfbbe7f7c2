#include "agent/proxy.h"

#include <algorithm>

#include "dataplane/compile.h"

namespace fairlead::agent {
namespace {

constexpr Duration first_retry = std::chrono::milliseconds(100);
constexpr Duration last_retry = std::chrono::seconds(30);
constexpr Duration addresses_last = std::chrono::seconds(10);

}  // namespace

Proxy::Proxy(net::EventLoop& loop, const AgentConfig& config, std::string node_name,
             std::unique_ptr<dataplane::Driver> driver, std::string why, const Log& log,
             Registry& registry, MakeDriver make, HostAddresses addresses)
    : loop_(loop),
      config_(config),
      node_name_(std::move(node_name)),
      driver_(std::move(driver)),
      log_(log.named("proxy")),
      make_(std::move(make)),
      addresses_(std::move(addresses)),
      applies_(registry.counter("fairlead_proxy_applies_total", "Tables handed to the kernel")),
      apply_errors_(registry.counter("fairlead_proxy_apply_errors_total",
                                     "Applies that left something undone")),
      services_(registry.gauge("fairlead_proxy_services", "Services in the table")),
      duration_s_(registry.histogram("fairlead_proxy_apply_duration_seconds",
                                     "Time to bring the kernel up to date", latency_bounds_s())),
      sync_metrics_(registry, clock_.wall()),
      health_(clock_, config.sync_period),
      health_checks_(
          loop, [this] { return health_.healthy(); }, log_),
      retirement_(loop, config.drain_limit, log_),
      verifier_(
          loop, config.verify_interval, config.verify_repair,
          [this] { return status_.applied && !retry_ ? driver_.get() : nullptr; }, log_, registry) {
  status_.mode = driver_->mode();
  status_.why = std::move(why);
}

// Asked with every update when the settings need them; addresses come and go rarely.
std::vector<Ip> Proxy::host_addresses() {
  const MonoTime now = std::chrono::steady_clock::now();
  if (host_ips_read_ == MonoTime{} || now - host_ips_read_ > addresses_last) {
    host_ips_ = addresses_();
    host_ips_read_ = now;
  }
  return host_ips_;
}

dataplane::NodeConfig Proxy::node_config(const api::Node* node) {
  return agent::node_config(config_, node_name_, node, [this] { return host_addresses(); });
}

void Proxy::update(const api::Snapshot& snapshot, const api::Changes& changes) {
  snapshot_ = snapshot;
  sync_metrics_.queued(snapshot, changes, clock_.wall());
  const auto object = snapshot.find<api::Node>({"", node_name_});
  health_.set_node(object.get());
  dataplane::NodeConfig node = node_config(object.get());
  if (changes.everything || !(node == table_.node)) {
    table_ = dataplane::compile(snapshot, node);
    apply({}, true);
    return;
  }
  const auto changed = dataplane::update(table_, snapshot, changes);
  if (!changed.empty()) {
    apply(changed, false);
  } else if (status_.applied && !retry_) {
    sync_metrics_.synced(false, true, {}, counts_.total(), clock_.wall());
  }
}

void Proxy::apply(const std::set<api::ObjectKey>& changed, bool full) {
  health_.queued();
  note_lacking(changed, full);
  if (full) {
    counts_.replace(table_);
  } else {
    counts_.update(table_, changed);
  }
  const MonoTime started = std::chrono::steady_clock::now();
  finish(driver_->apply(table_, changed, full), started, full);
  health_checks_.update(table_, changed, full);
}

void Proxy::note_lacking(const api::ObjectKey& key) {
  const auto mode = dataplane::parse_mode(driver_->mode());
  const auto entry = table_.services.find(key);
  std::vector<std::string> lines;
  if (mode && entry != table_.services.end()) lines = lacking(*mode, key, entry->second);
  if (lines.empty()) {
    lacking_.erase(key);
    return;
  }
  auto& known = lacking_[key];
  if (known == lines) return;
  for (const std::string& line : lines) log_.warn(line);
  known = std::move(lines);
}

void Proxy::note_lacking(const std::set<api::ObjectKey>& changed, bool full) {
  if (full) {
    std::erase_if(lacking_, [&](const auto& one) { return !table_.services.contains(one.first); });
    for (const auto& [key, entry] : table_.services) note_lacking(key);
  } else {
    for (const api::ObjectKey& key : changed) note_lacking(key);
  }
  status_.lacking.clear();
  for (const auto& [key, lines] : lacking_) {
    status_.lacking.insert(status_.lacking.end(), lines.begin(), lines.end());
  }
}

void Proxy::finish(dataplane::ApplyReport report, MonoTime started, bool full) {
  status_.last_apply = std::chrono::steady_clock::now();
  status_.last_duration = status_.last_apply - started;
  status_.services = table_.services.size();
  status_.backends = counts_.total().backends;
  applies_.add();
  services_.set(static_cast<int64_t>(table_.services.size()));
  duration_s_.observe(std::chrono::duration<double>(status_.last_duration).count());
  sync_metrics_.synced(full, report.ok(), status_.last_duration, counts_.total(), clock_.wall());
  if (report.ok()) {
    up_to_date();
  } else {
    apply_errors_.add();
    sync_metrics_.failed(driver_->mode());
    log_.error("the kernel is not up to date; trying again",
               {{"error", report.errors.front()}, {"errors", report.errors.size()}});
    if (!retry_) retry_after(first_retry);
  }
  status_.last_report = std::move(report);
}

// Only failed retries lengthen the pauses. Updates try again by themselves, and neither put the
// retry off nor make it rarer, however many of them fail.
void Proxy::retry_after(Duration pause) {
  retry_ = loop_.after(pause, [this, pause] {
    const MonoTime now = std::chrono::steady_clock::now();
    auto report = driver_->retry();
    if (!report.ok()) retry_after(std::min(pause * 2, last_retry));
    finish(std::move(report), now, false);
  });
}

void Proxy::up_to_date() {
  status_.applied = true;
  retry_.reset();
  health_.synced();
  if (cleaned_ || !make_) return;
  cleaned_ = true;
  // Not inside the apply: the first table is in force, what follows has time.
  cleaning_ = loop_.after(Duration{}, [this] { clean_leftovers(); });
}

// A run that was killed in the middle of a switch, or ran in another mode, leaves kernel state that
// would go on deciding about flows. Drivers remove nothing but their own.
void Proxy::clean_leftovers() {
  for (const dataplane::Mode mode : dataplane::all_modes) {
    const std::string_view name = to_string(mode);
    if (name == driver_->mode() || retirement_.holds(name)) continue;
    const auto other = make_(mode);
    if (other == nullptr) continue;
    if (auto cleaned = other->cleanup(); !cleaned) {
      // Where a mode cannot run it has left nothing: a kernel without IPVS says so at each start.
      log_.debug("could not look for what another mode left behind",
                 {{"mode", name}, {"error", cleaned.error().message}});
    }
  }
}

Result<Proxy::InPlace> Proxy::put_in_place(dataplane::Mode mode) {
  const std::string_view name = to_string(mode);
  auto driver = make_ ? make_(mode) : nullptr;
  if (driver == nullptr) return fail(cat(name, ": this program was built without it"));
  if (auto started = driver->start(); !started) {
    // start() may have got half way.
    if (auto cleaned = driver->cleanup(); !cleaned) log_.warn(cleaned.error().message);
    return fail(cat(name, " mode cannot start"), started.error());
  }
  auto report = driver->apply(table_, {}, true);
  if (!report.ok()) {
    if (auto cleaned = driver->cleanup(); !cleaned) log_.warn(cleaned.error().message);
    return fail(cat(name, " mode cannot take the table: ", report.errors.front(),
                    report.errors.size() > 1 ? cat(" (and ", report.errors.size() - 1, " more)")
                                             : std::string()));
  }
  return InPlace{std::move(driver), std::move(report)};
}

Result<void> Proxy::switch_mode(dataplane::Mode mode) {
  const std::string name(to_string(mode));
  if (name == driver_->mode()) return {};
  if (!status_.applied) return fail("the present mode has not taken a table yet: try again soon");
  if (retirement_.holds(name)) {
    if (!can(mode, dataplane::Capability::live_flows)) {
      return fail(
          cat(name, " mode still carries flows from before: try again when they have ended"));
    }
    // Like a restart: what the old one left in the kernel is taken over by the new one.
    retirement_.release(name);
  }
  const MonoTime started = std::chrono::steady_clock::now();
  if (auto prepared = driver_->prepare_retire(name); !prepared) {
    log_.warn("open connections may end with the switch", {{"error", prepared.error().message}});
  }
  auto next = put_in_place(mode);
  if (!next) {
    driver_->stay();
    return fail(cat("still in ", driver_->mode(), " mode"), next.error());
  }
  log_.info("switched the proxy mode", {{"from", driver_->mode()}, {"to", name}});
  auto old = std::exchange(driver_, std::move(next->driver));
  status_.mode = name;
  status_.why = cat("switched to at run time from ", old->mode(), "; a restart goes back to ",
                    format_setting(config_.proxy_mode));
  lacking_.clear();
  note_lacking({}, true);
  finish(std::move(next->report), started, true);
  retirement_.add(std::move(old));
  return {};
}

Result<void> Proxy::expect_service(const api::ObjectKey& key) const {
  if (snapshot_.find<api::Service>(key) != nullptr) return {};
  if (!status_.applied) return fail("nothing is known of the cluster yet: see fairlead status");
  std::vector<std::string> others;
  snapshot_.each<api::Service>([&](const api::Service& service) {
    const api::ObjectKey& other = service.meta.key;
    if (other.name == key.name) others.push_back(other.to_string());
  });
  std::sort(others.begin(), others.end());
  return fail(cat("there is no Service ", key.to_string(),
                  others.empty() ? "" : "; of this name there is ", join(others, ", ")));
}

dataplane::ServiceExplanation Proxy::explain(
    const api::ObjectKey& key, const std::optional<Ip>& source,
    const std::optional<std::pair<SocketAddress, Protocol>>& to) const {
  const auto mode = dataplane::parse_mode(driver_->mode());
  auto out = dataplane::explain_service(snapshot_, table_, key, mode);
  out.mode = driver_->mode();
  if (source && to) {
    out.flows.push_back(dataplane::explain_flow(table_, {*source, to->first, to->second}, mode));
  } else if (source) {
    for (const auto& flow : dataplane::flows_to(table_, key, *source)) {
      out.flows.push_back(dataplane::explain_flow(table_, flow, mode));
    }
  }
  out.kernel = driver_->kernel_entries(key);
  return out;
}

dataplane::FlowExplanation Proxy::explain(const dataplane::FlowQuery& flow) const {
  auto out = dataplane::explain_flow(table_, flow, dataplane::parse_mode(driver_->mode()));
  out.mode = driver_->mode();
  const auto served = dataplane::resolve(table_, flow.source, flow.destination.ip,
                                         flow.destination.port, flow.protocol);
  if (!served.service.name.empty()) out.kernel = driver_->kernel_entries(served.service);
  return out;
}

}  // namespace fairlead::agent
