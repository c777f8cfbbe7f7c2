// The EndpointSlices that a Service should have, as a pure function of it, its pods and the slices
// that are there. Source: Kubernetes pkg/controller/endpointslice (KEP-752, KEP-1669, KEP-1672).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "api/objects.h"
#include "controlplane/controllers/zone_hints.h"

namespace fairlead::controlplane {

inline constexpr std::string_view slice_manager = "endpointslice-controller.k8s.io";
inline constexpr std::string_view managed_by_label = "endpointslice.kubernetes.io/managed-by";
inline constexpr size_t max_endpoints_per_slice = 100;

using PodList = std::vector<std::shared_ptr<const api::Pod>>;
using SliceList = std::vector<std::shared_ptr<const api::EndpointSlice>>;

struct SlicePlan {
  std::vector<json::value> create;  // whole documents with generateName
  struct Update {
    std::string name;
    json::value document;  // whole, with the resourceVersion that it replaces
  };
  std::vector<Update> update;
  std::vector<std::string> remove;           // names
  std::vector<ZoneHintsVerdict> zone_hints;  // of a Service that asks for them, by family

  bool empty() const { return create.empty() && update.empty() && remove.empty(); }
};

// True for a Service whose slices are this controller's to keep: it has a selector and addresses.
bool wants_slices(const api::Service& service);
bool selects(const api::Service& service, const api::Pod& pod);
bool is_managed(const api::EndpointSlice& slice);

// `pods`: those that the Service selects. `existing`: its slices that is_managed(). Hints come from
// the annotation topology-mode (KEP-2433), else from spec's trafficDistribution (KEP-4444,
// KEP-3015). `now`: RFC 3339, for the annotation that measures programming latency. Slices keep
// their endpoints as long as these are wanted: a change touches as few slices as possible.
SlicePlan plan_slices(const api::Service& service, const PodList& pods, const SliceList& existing,
                      const ClusterZones& zones, std::string_view now);

}  // namespace fairlead::controlplane
