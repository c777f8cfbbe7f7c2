#include "dataplane/fake_driver.h"

#include "base/text.h"

namespace fairlead::dataplane {

Result<void> FakeDriver::start() {
  started_ = true;
  return {};
}

void FakeDriver::write(const api::ObjectKey& key, ApplyReport& report) {
  if (std::string error = write_error(key); !error.empty()) {
    pending_.insert(key);
    report.errors.push_back(cat("service ", key.to_string(), ": ", error));
    return;
  }
  ++report.writes;
  if (auto it = wanted_.services.find(key); it != wanted_.services.end()) {
    kernel_.services[key] = it->second;
  } else {
    kernel_.services.erase(key);
  }
}

ApplyReport FakeDriver::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                              bool full) {
  ++applies_;
  last_changed_ = changed;
  wanted_ = table;
  kernel_.node = table.node;
  std::set<api::ObjectKey> keys = std::exchange(pending_, {});
  keys.insert(changed.begin(), changed.end());
  if (full) {
    for (const auto& [key, entry] : table.services) keys.insert(key);
    for (const auto& [key, entry] : kernel_.services) keys.insert(key);
  }
  ApplyReport report;
  report.services_changed = keys.size();
  for (const api::ObjectKey& key : keys) write(key, report);
  return report;
}

ApplyReport FakeDriver::retry() {
  ApplyReport report;
  for (const api::ObjectKey& key : std::exchange(pending_, {})) write(key, report);
  return report;
}

Result<void> FakeDriver::cleanup() {
  kernel_ = {};
  pending_.clear();
  return {};
}

Result<void> FaultyDriver::start() {
  if (!start_error_.empty()) return fail(start_error_);
  return FakeDriver::start();
}

std::string FaultyDriver::write_error(const api::ObjectKey& key) {
  if (!all_error_.empty()) return all_error_;
  return failing_.contains(key) ? "write refused" : "";
}

}  // namespace fairlead::dataplane
