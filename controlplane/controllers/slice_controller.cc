#include "controlplane/controllers/slice_controller.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr Duration first_retry = std::chrono::milliseconds(50);
constexpr Duration last_retry = std::chrono::seconds(10);
// A write whose echo has not come by then: the feed may have skipped it (a relist), go on.
constexpr Duration echo_timeout = std::chrono::seconds(5);

std::string slices_path(const std::string& ns) {
  return cat("/apis/discovery.k8s.io/v1/namespaces/", ns, "/endpointslices");
}

std::string label_key(std::string_view ns, std::string_view label, std::string_view value) {
  return cat(ns, ' ', label, '=', value);
}

uint64_t revision(std::string_view text) {
  return static_cast<uint64_t>(parse_int(text, 0).value_or(0));
}

}  // namespace

SliceController::SliceController(net::EventLoop& loop, ApiWriter& writer, const Clock& clock,
                                 const Log& log, Registry& registry)
    : loop_(loop),
      writer_(writer),
      clock_(clock),
      log_(log.named("endpointslice")),
      writes_(registry.counter("fairlead_endpointslice_writes_total", "Writes of the controller")),
      failures_(registry.counter("fairlead_endpointslice_write_failures_total",
                                 "Writes that were refused or got lost")) {}

void SliceController::on_tick(std::shared_ptr<const api::Snapshot> snapshot,
                              const api::Changes& changes) {
  snapshot_ = std::move(snapshot);
  const bool nodes = std::ranges::any_of(
      changes.objects, [](const api::Change& change) { return change.kind == api::Kind::node; });
  bool moved = false, weighed = false;
  if (nodes || changes.everything) {
    ClusterZones zones = cluster_zones(*snapshot_);
    moved = zones.zone_of != zones_.zone_of;
    weighed = zones != zones_;
    zones_ = std::move(zones);
  }
  if (moved || changes.everything) return enqueue_all();
  std::set<api::ObjectKey> touched = changes.services;
  if (weighed) add_hinted(touched);
  for (const api::Change& change : changes.objects) {
    if (change.kind != api::Kind::service) continue;
    index_service(change.key);
    match_pods(change.key);
    touched.insert(change.key);
  }
  for (const api::Change& change : changes.objects) {
    if (change.kind == api::Kind::pod) touch_pod(change.key, touched);
  }
  for (const api::ObjectKey& key : touched) sync(key);
}

// The CPU of the zones matters to those that share it out only.
void SliceController::add_hinted(std::set<api::ObjectKey>& services) const {
  snapshot_->each<api::Service>([&](const api::Service& service) {
    if (wants_zone_hints(service)) services.insert(service.meta.key);
  });
}

void SliceController::enqueue_all() {
  std::set<api::ObjectKey> all;
  snapshot_->each<api::Service>([&](const api::Service& service) {
    index_service(service.meta.key);
    all.insert(service.meta.key);
  });
  snapshot_->each<api::Pod>([&](const api::Pod& pod) { touch_pod(pod.meta.key, all); });
  // Slices whose Service went away while nobody watched.
  snapshot_->each<api::EndpointSlice>([&](const api::EndpointSlice& slice) {
    if (is_managed(slice)) all.insert({slice.meta.key.ns, slice.service});
  });
  for (const api::ObjectKey& key : all) sync(key);
}

void SliceController::index_service(const api::ObjectKey& key) {
  if (const auto old = label_of_.find(key); old != label_of_.end()) {
    const auto holder = by_label_.find(old->second);
    holder->second.erase(key);
    if (holder->second.empty()) by_label_.erase(holder);
    label_of_.erase(old);
  }
  const auto service = snapshot_->find<api::Service>(key);
  if (!service || !wants_slices(*service)) return;
  const auto& [label, value] = *service->selector.begin();
  label_of_[key] = label_key(key.ns, label, value);
  by_label_[label_of_[key]].insert(key);
}

// After a change of the Service itself: its selector may be another one.
void SliceController::match_pods(const api::ObjectKey& key) {
  if (const auto pods = pods_of_.find(key); pods != pods_of_.end()) {
    for (const api::ObjectKey& pod : pods->second) matched_[pod].erase(key);
    pods_of_.erase(pods);
  }
  const auto service = snapshot_->find<api::Service>(key);
  if (!service || !wants_slices(*service)) return;
  snapshot_->each<api::Pod>([&](const api::Pod& pod) {
    if (!selects(*service, pod)) return;
    matched_[pod.meta.key].insert(key);
    pods_of_[key].insert(pod.meta.key);
  });
}

// The Services that selected the pod before, and those that do now.
void SliceController::touch_pod(const api::ObjectKey& pod, std::set<api::ObjectKey>& services) {
  if (const auto before = matched_.find(pod); before != matched_.end()) {
    for (const api::ObjectKey& service : before->second) {
      services.insert(service);
      pods_of_[service].erase(pod);
    }
    matched_.erase(before);
  }
  const auto object = snapshot_->find<api::Pod>(pod);
  if (!object) return;
  for (const auto& [label, value] : object->meta.labels) {
    const auto candidates = by_label_.find(label_key(pod.ns, label, value));
    if (candidates == by_label_.end()) continue;
    for (const api::ObjectKey& key : candidates->second) {
      const auto service = snapshot_->find<api::Service>(key);
      if (!service || !selects(*service, *object)) continue;
      services.insert(key);
      matched_[pod].insert(key);
      pods_of_[key].insert(pod);
    }
  }
}

bool SliceController::settled(const api::ObjectKey& key, Work& work) const {
  if (work.in_flight > 0) return false;
  std::erase_if(work.versions, [&](const auto& expected) {
    const auto slice = snapshot_->find<api::EndpointSlice>({key.ns, expected.first});
    if (expected.second == 0) return slice == nullptr;
    return slice && revision(slice->meta.resource_version) >= expected.second;
  });
  return work.versions.empty();
}

SlicePlan SliceController::plan(const api::ObjectKey& key) const {
  SliceList existing = snapshot_->slices_of(key);
  std::erase_if(existing, [](const auto& slice) { return !is_managed(*slice); });
  const auto service = snapshot_->find<api::Service>(key);
  if (!service || service->meta.deleting) {
    SlicePlan plan;
    for (const auto& slice : existing) plan.remove.push_back(slice->meta.key.name);
    return plan;
  }
  PodList pods;
  if (const auto own = pods_of_.find(key); own != pods_of_.end()) {
    for (const api::ObjectKey& pod : own->second) {
      if (auto object = snapshot_->find<api::Pod>(pod)) pods.push_back(std::move(object));
    }
  }
  return plan_slices(*service, pods, existing, zones_, to_rfc3339(clock_.wall()));
}

void SliceController::sync(const api::ObjectKey& key) {
  Work& work = work_[key];
  if (!settled(key, work)) return;  // its writes or their echo will come back here
  SlicePlan next = plan(key);
  tell(key, std::move(next.zone_hints));
  if (next.empty()) {
    work_.erase(key);
    return;
  }
  execute(key, std::move(next));
}

// An Event that got lost is not sent again: the next change of mind has another.
void SliceController::tell(const api::ObjectKey& key, std::vector<ZoneHintsVerdict> verdicts) {
  const auto told = told_.find(key);
  if (told == told_.end() && verdicts.empty()) return;
  if (const auto service = snapshot_->find<api::Service>(key)) {
    const std::vector<ZoneHintsVerdict> before =
        told == told_.end() ? std::vector<ZoneHintsVerdict>{} : told->second;
    for (const json::value& event :
         verdict_events(*service, before, verdicts, to_rfc3339(clock_.wall()))) {
      writer_.send("POST", cat("/api/v1/namespaces/", key.ns, "/events"), event,
                   [this, key](const ApiAnswer& answer) {
                     if (answer.ok()) return;
                     log_.warn("event refused",
                               {{"service", key.to_string()}, {"error", answer.error}});
                   });
    }
  }
  if (verdicts.empty()) {
    told_.erase(key);
  } else {
    told_[key] = std::move(verdicts);
  }
}

void SliceController::execute(const api::ObjectKey& key, SlicePlan plan) {
  Work& work = work_[key];
  work.failed = false;
  work.in_flight = plan.create.size() + plan.update.size() + plan.remove.size();
  writes_.add(work.in_flight);
  const std::string path = slices_path(key.ns);
  for (const auto& document : plan.create) {
    writer_.send("POST", path, document, [this, key](const ApiAnswer& answer) {
      written(key, std::string(find_string(answer.body, "metadata", "name")), answer);
    });
  }
  for (const auto& update : plan.update) {
    writer_.send(
        "PUT", cat(path, '/', update.name), update.document,
        [this, key, name = update.name](const ApiAnswer& answer) { written(key, name, answer); });
  }
  for (const auto& name : plan.remove) {
    writer_.send(
        "DELETE", cat(path, '/', name), nullptr, [this, key, name](const ApiAnswer& answer) {
          ApiAnswer removed = answer;
          removed.body = nullptr;  // a Status or the last state: neither will be seen again
          if (answer.status == 404) removed.status = 200;
          written(key, name, removed);
        });
  }
}

void SliceController::written(const api::ObjectKey& key, const std::string& name,
                              const ApiAnswer& answer) {
  Work& work = work_[key];
  --work.in_flight;
  if (answer.ok()) {
    work.versions[name] = revision(find_string(answer.body, "metadata", "resourceVersion"));
  } else {
    failures_.add();
    work.failed = true;
    // A conflict only means that the snapshot is behind: the next tick brings what is missing.
    if (answer.status != 409) {
      log_.warn("write refused, trying again",
                {{"service", key.to_string()}, {"slice", name}, {"error", answer.error}});
    }
  }
  if (work.in_flight > 0) return;
  if (work.failed) {
    work.backoff = std::clamp(work.backoff * 2, first_retry, last_retry);
    retry_later(key, work.backoff);
  } else {
    work.backoff = {};
    retry_later(key, echo_timeout);  // in case the echo is never seen
    sync(key);
  }
}

void SliceController::retry_later(const api::ObjectKey& key, Duration delay) {
  work_[key].timer = loop_.after(delay, [this, key] {
    const auto found = work_.find(key);
    if (found == work_.end() || found->second.in_flight > 0) return;
    found->second.versions.clear();
    sync(key);
  });
}

}  // namespace fairlead::controlplane
