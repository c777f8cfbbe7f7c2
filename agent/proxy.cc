#include "agent/proxy.h"

#include "dataplane/capability.h"
#include "dataplane/compile.h"

namespace fairlead::agent {
namespace {

constexpr Duration first_retry = std::chrono::milliseconds(100);
constexpr Duration last_retry = std::chrono::seconds(30);

size_t count_backends(const dataplane::ServiceTable& table) {
  size_t count = 0;
  for (const auto& [key, entry] : table.services) {
    for (const auto& port : entry.ports) count += port.backends.size();
  }
  return count;
}

}  // namespace

Proxy::Proxy(net::EventLoop& loop, const AgentConfig& config, std::string node_name,
             std::unique_ptr<dataplane::Driver> driver, std::string why, const Log& log,
             Registry& registry)
    : loop_(loop),
      config_(config),
      node_name_(std::move(node_name)),
      driver_(std::move(driver)),
      log_(log.named("proxy")),
      applies_(registry.counter("fairlead_proxy_applies_total", "Tables handed to the kernel")),
      apply_errors_(registry.counter("fairlead_proxy_apply_errors_total",
                                     "Applies that left something undone")),
      services_(registry.gauge("fairlead_proxy_services", "Services in the table")),
      duration_s_(registry.histogram("fairlead_proxy_apply_duration_seconds",
                                     "Time to bring the kernel up to date", latency_bounds_s())) {
  status_.mode = driver_->mode();
  status_.why = std::move(why);
}

dataplane::NodeConfig Proxy::node_config(const api::Snapshot& snapshot) const {
  dataplane::NodeConfig node{node_name_, config_.node_ips, config_.local_pod_cidrs};
  if (const auto object = snapshot.find<api::Node>({"", node_name_})) {
    if (node.node_ips.empty()) node.node_ips = object->internal_ips;
    if (node.local_pod_cidrs.empty()) node.local_pod_cidrs = object->pod_cidrs;
  }
  return node;
}

void Proxy::update(const api::Snapshot& snapshot, const api::Changes& changes) {
  dataplane::NodeConfig node = node_config(snapshot);
  if (changes.everything || !(node == table_.node)) {
    table_ = dataplane::compile(snapshot, node);
    apply({}, true);
    return;
  }
  const auto changed = dataplane::update(table_, snapshot, changes);
  if (!changed.empty()) apply(changed, false);
}

void Proxy::apply(const std::set<api::ObjectKey>& changed, bool full) {
  note_lacking(changed, full);
  const MonoTime started = std::chrono::steady_clock::now();
  finish(driver_->apply(table_, changed, full), started);
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

void Proxy::finish(dataplane::ApplyReport report, MonoTime started) {
  status_.last_apply = std::chrono::steady_clock::now();
  status_.last_duration = status_.last_apply - started;
  status_.services = table_.services.size();
  status_.backends = count_backends(table_);
  applies_.add();
  services_.set(static_cast<int64_t>(table_.services.size()));
  duration_s_.observe(std::chrono::duration<double>(status_.last_duration).count());
  if (report.ok()) {
    status_.applied = true;
    backoff_ = {};
    retry_.reset();
  } else {
    apply_errors_.add();
    backoff_ = backoff_ == Duration{} ? first_retry : std::min(backoff_ * 2, last_retry);
    log_.error("the kernel is not up to date; trying again",
               {{"error", report.errors.front()}, {"errors", report.errors.size()}});
    retry_ = loop_.after(backoff_, [this] {
      const MonoTime now = std::chrono::steady_clock::now();
      finish(driver_->retry(), now);
    });
  }
  status_.last_report = std::move(report);
}

}  // namespace fairlead::agent
