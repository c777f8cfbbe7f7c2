// The service proxy of one node: keeps a ServiceTable in step with snapshots and has a driver make
// the kernel equal to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "api/snapshot.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "net/event_loop.h"

namespace fairlead::agent {

struct ProxyStatus {
  std::string mode;
  std::string why;       // why `auto` chose it
  bool applied = false;  // a full table is in the kernel
  size_t services = 0, backends = 0;
  MonoTime last_apply{};
  Duration last_duration{};
  dataplane::ApplyReport last_report;
  std::vector<std::string> lacking;  // what Services ask for and this mode does not have
};

// Belongs to the feed loop.
class Proxy {
 public:
  Proxy(net::EventLoop& loop, const AgentConfig& config, std::string node_name,
        std::unique_ptr<dataplane::Driver> driver, std::string why, const Log& log,
        Registry& registry);

  Result<void> start() { return driver_->start(); }
  void update(const api::Snapshot& snapshot, const api::Changes& changes);
  const ProxyStatus& status() const { return status_; }
  const dataplane::ServiceTable& table() const { return table_; }
  dataplane::Driver& driver() { return *driver_; }

 private:
  dataplane::NodeConfig node_config(const api::Snapshot& snapshot) const;
  void apply(const std::set<api::ObjectKey>& changed, bool full);
  void note_lacking(const api::ObjectKey& key);
  void note_lacking(const std::set<api::ObjectKey>& changed, bool full);
  void finish(dataplane::ApplyReport report, MonoTime started);

  net::EventLoop& loop_;
  const AgentConfig& config_;
  std::string node_name_;
  std::unique_ptr<dataplane::Driver> driver_;
  Log log_;
  Counter& applies_;
  Counter& apply_errors_;
  Gauge& services_;
  Histogram& duration_s_;
  dataplane::ServiceTable table_;
  std::map<api::ObjectKey, std::vector<std::string>> lacking_;  // by Service; never an empty list
  ProxyStatus status_;
  Duration backoff_{};
  net::Timer retry_;
};

}  // namespace fairlead::agent
