// Keeps the EndpointSlices of every Service with a selector in step with its pods.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "api/snapshot.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "controlplane/controllers/api_writer.h"
#include "controlplane/controllers/slice_plan.h"
#include "net/event_loop.h"

namespace fairlead::controlplane {

// Belongs to the loop. Work is per Service that a change touches.
class SliceController {
 public:
  SliceController(net::EventLoop& loop, ApiWriter& writer, const Clock& clock, const Log& log,
                  Registry& registry);

  void on_tick(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes);

 private:
  // What was written and is not in the snapshot yet. Until it is, the snapshot says nothing about
  // what to do next: acting on it would create every slice twice.
  struct Work {
    size_t in_flight = 0;
    std::map<std::string, uint64_t> versions;  // slice name -> revision to wait for; 0: removal
    bool failed = false;                       // a write of this round was refused or lost
    Duration backoff{};
    net::Timer timer;
  };

  void enqueue_all();
  void add_hinted(std::set<api::ObjectKey>& services) const;
  void touch_pod(const api::ObjectKey& pod, std::set<api::ObjectKey>& services);
  void index_service(const api::ObjectKey& key);
  void match_pods(const api::ObjectKey& key);
  void sync(const api::ObjectKey& key);
  bool settled(const api::ObjectKey& key, Work& work) const;
  SlicePlan plan(const api::ObjectKey& key) const;
  void execute(const api::ObjectKey& key, SlicePlan plan);
  void tell(const api::ObjectKey& key, std::vector<ZoneHintsVerdict> verdicts);
  void written(const api::ObjectKey& key, const std::string& name, const ApiAnswer& answer);
  void retry_later(const api::ObjectKey& key, Duration delay);

  net::EventLoop& loop_;
  ApiWriter& writer_;
  const Clock& clock_;
  Log log_;
  Counter& writes_;
  Counter& failures_;
  std::shared_ptr<const api::Snapshot> snapshot_;
  ClusterZones zones_;
  std::map<api::ObjectKey, std::vector<ZoneHintsVerdict>> told_;  // what Events have said last
  // Services by one pair of their selector ("namespace key=value"), so that a pod is compared only
  // with those that may select it; and the way back.
  std::map<std::string, std::set<api::ObjectKey>> by_label_;
  std::map<api::ObjectKey, std::string> label_of_;
  std::map<api::ObjectKey, std::set<api::ObjectKey>> matched_;  // pod -> its Services
  std::map<api::ObjectKey, std::set<api::ObjectKey>> pods_of_;  // Service -> its pods
  std::map<api::ObjectKey, Work> work_;
};

}  // namespace fairlead::controlplane
