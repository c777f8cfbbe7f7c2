#include "agent/verifier.h"

#include <algorithm>

namespace fairlead::agent {
namespace {

constexpr int64_t pause_per_pass = 100;
constexpr size_t max_lines = 20;  // of the log, for one pass

}  // namespace

std::string to_text(const dataplane::Drift& drift) {
  return cat(drift.what, " (owner: ", drift.owner.empty() ? "unknown" : drift.owner,
             drift.repaired ? "; repaired)" : "; not repaired)");
}

Verifier::Verifier(net::EventLoop& loop, Duration interval, bool repair, CurrentDriver driver,
                   const Log& log, Registry& registry)
    : loop_(loop),
      interval_(interval),
      repair_(repair),
      driver_(std::move(driver)),
      log_(log),
      passes_(registry.counter("fairlead_proxy_verifies_total", "Times the kernel was read back")),
      drifts_(registry.counter("fairlead_proxy_drifts_total",
                               "Differences between kernel and table found by reading back")),
      repairs_(registry.counter("fairlead_proxy_drift_repairs_total", "Drifts put right")),
      duration_s_(registry.histogram("fairlead_proxy_verify_duration_seconds",
                                     "Time to read the kernel back", latency_bounds_s())) {
  schedule();
}

void Verifier::schedule() {
  if (interval_ == Duration{}) return;
  const Duration pause = std::max(interval_, status_.duration * pause_per_pass);
  timer_ = loop_.after(pause, [this] {
    if (driver_() != nullptr) static_cast<void>(run(repair_));  // status() has the outcome
    schedule();
  });
}

Result<std::vector<dataplane::Drift>> Verifier::run(bool repair) {
  dataplane::Driver* driver = driver_();
  if (driver == nullptr) {
    return fail("the kernel is not up to date with the cluster now; try again when it is");
  }
  const MonoTime started = std::chrono::steady_clock::now();
  auto drifts = driver->verify(repair);
  status_.last = std::chrono::steady_clock::now();
  status_.duration = status_.last - started;
  passes_.add();
  duration_s_.observe(std::chrono::duration<double>(status_.duration).count());
  if (!drifts) {
    if (status_.error != drifts.error().message) log_.warn(drifts.error().message);
    status_.error = drifts.error().message;
    status_.drifts.clear();
    return drifts;
  }
  status_.error.clear();
  note(*drifts);
  status_.drifts = *drifts;
  return drifts;
}

void Verifier::note(const std::vector<dataplane::Drift>& drifts) {
  drifts_.add(drifts.size());
  for (size_t i = 0; i < drifts.size(); ++i) {
    const dataplane::Drift& drift = drifts[i];
    if (drift.repaired) repairs_.add();
    if (i == max_lines) log_.warn("more drifts", {{"count", drifts.size() - i}});
    if (i >= max_lines) continue;
    log_.warn(cat("drift: ", drift.what),
              {{"owner", drift.owner.empty() ? "unknown" : std::string_view(drift.owner)},
               {"repaired", drift.repaired ? "yes" : "no"}});
  }
}

}  // namespace fairlead::agent
