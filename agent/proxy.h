// The service proxy of one node: keeps a ServiceTable in step with snapshots and has a driver make
// the kernel equal to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/health_check_ports.h"
#include "agent/node_facts.h"
#include "agent/proxy_health.h"
#include "agent/retirement.h"
#include "agent/sync_metrics.h"
#include "agent/table_counts.h"
#include "agent/verifier.h"
#include "api/snapshot.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/capability.h"
#include "dataplane/driver.h"
#include "dataplane/explain.h"
#include "net/event_loop.h"

namespace fairlead::agent {

struct ProxyStatus {
  std::string mode;
  std::string why;       // why `auto` chose it, or that it was switched to
  bool applied = false;  // a full table is in the kernel
  size_t services = 0, backends = 0;
  MonoTime last_apply{};
  Duration last_duration{};
  dataplane::ApplyReport last_report;
  std::vector<std::string> lacking;  // what Services ask for and this mode does not have
};

// Null: this program was built without the mode.
using MakeDriver = std::function<std::unique_ptr<dataplane::Driver>(dataplane::Mode mode)>;

// Belongs to the feed loop.
class Proxy {
 public:
  // `make` makes the drivers of other modes: to switch to, and to clean up what they left behind.
  // Without it there are none.
  Proxy(net::EventLoop& loop, const AgentConfig& config, std::string node_name,
        std::unique_ptr<dataplane::Driver> driver, std::string why, const Log& log,
        Registry& registry, MakeDriver make = {}, HostAddresses addresses = read_host_addresses);

  Result<void> start() { return driver_->start(); }
  void update(const api::Snapshot& snapshot, const api::Changes& changes);

  // Puts the driver of `mode` in place beside the present one, then retires that one. On an error
  // nothing has changed, and the error says why.
  Result<void> switch_mode(dataplane::Mode mode);

  // Compares the kernel with the table now.
  Result<std::vector<dataplane::Drift>> verify(bool repair) { return verifier_.run(repair); }

  // An error that says where else Services of this name are.
  Result<void> expect_service(const api::ObjectKey& key) const;

  // With flows from `source`, if any: to `to`, or to all that the Service has.
  dataplane::ServiceExplanation explain(
      const api::ObjectKey& key, const std::optional<Ip>& source,
      const std::optional<std::pair<SocketAddress, Protocol>>& to) const;
  dataplane::FlowExplanation explain(const dataplane::FlowQuery& flow) const;

  const ProxyStatus& status() const { return status_; }
  const VerifyStatus& verify_status() const { return verifier_.status(); }
  const Retirement& retirement() const { return retirement_; }
  const ProxyHealth& health() const { return health_; }
  const HealthCheckPorts& health_checks() const { return health_checks_; }
  const dataplane::ServiceTable& table() const { return table_; }
  dataplane::Driver& driver() { return *driver_; }

 private:
  dataplane::NodeConfig node_config(const api::Node* node);
  std::vector<Ip> host_addresses();
  void apply(const std::set<api::ObjectKey>& changed, bool full);
  void note_lacking(const api::ObjectKey& key);
  void note_lacking(const std::set<api::ObjectKey>& changed, bool full);
  void finish(dataplane::ApplyReport report, MonoTime started, bool full);
  void retry_after(Duration pause);
  void up_to_date();
  void clean_leftovers();
  struct InPlace {
    std::unique_ptr<dataplane::Driver> driver;
    dataplane::ApplyReport report;
  };
  Result<InPlace> put_in_place(dataplane::Mode mode);

  net::EventLoop& loop_;
  const AgentConfig& config_;
  std::string node_name_;
  std::unique_ptr<dataplane::Driver> driver_;
  Log log_;
  MakeDriver make_;
  HostAddresses addresses_;
  Counter& applies_;
  Counter& apply_errors_;
  Gauge& services_;
  Histogram& duration_s_;
  RealClock clock_;
  SyncMetrics sync_metrics_;
  ProxyHealth health_;
  HealthCheckPorts health_checks_;
  Retirement retirement_;
  api::Snapshot snapshot_;  // the one that table_ was compiled from
  dataplane::ServiceTable table_;
  TableCounts counts_;
  std::map<api::ObjectKey, std::vector<std::string>> lacking_;  // by Service; never an empty list
  ProxyStatus status_;
  std::vector<Ip> host_ips_;
  MonoTime host_ips_read_{};
  bool cleaned_ = false;  // what other modes left behind, once
  net::Timer retry_, cleaning_;
  Verifier verifier_;
};

}  // namespace fairlead::agent
