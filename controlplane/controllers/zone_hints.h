// Topology-aware routing by the CPU of the zones, as a pure function: annotation
// `service.kubernetes.io/topology-mode: Auto` (KEP-2433). Each zone gets endpoints in proportion to
// the CPU of its nodes, its own first; when that cannot be done without giving some zone's
// endpoints more than 20 % above their part of the traffic, nobody gets hints.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "api/objects.h"
#include "api/snapshot.h"
#include "base/result.h"

namespace fairlead::controlplane {

// What the nodes say about zones.
struct ClusterZones {
  std::map<std::string, std::string> zone_of;  // node -> zone, of nodes that have one
  std::map<std::string, int64_t> cpu_millis;   // zone -> allocatable CPU of its ready workers
  std::string problem;                         // why cpu_millis says nothing; "": it does
  friend bool operator==(const ClusterZones&, const ClusterZones&) = default;
};
ClusterZones cluster_zones(const api::Snapshot& snapshot);

// `Auto` or `auto`; the older annotation topology-aware-hints comes first, as in Kubernetes.
bool wants_zone_hints(const api::Service& service);

// A ready endpoint of one family.
struct ZonedEndpoint {
  std::string_view zone;     // where it runs; "": nobody knows
  std::string_view present;  // the zone that its hint names now; "": none
};

// The zone that each endpoint is for, in their order; an error says why there are no hints. Hints
// that are there stay as long as no zone is short of its minimum, so that a node that comes or
// goes does not rewrite every slice.
Result<std::vector<std::string>> allocate_zones(const ClusterZones& zones,
                                                std::span<const ZonedEndpoint> endpoints);

// What became of the annotation, for one family.
struct ZoneHintsVerdict {
  std::string address_type;
  std::string problem;  // "": the endpoints have hints
  friend bool operator==(const ZoneHintsVerdict&, const ZoneHintsVerdict&) = default;
};

// The Events of a Service whose verdicts were `before` and are `now` (kubectl describe service).
// `time`: RFC 3339.
std::vector<json::value> verdict_events(const api::Service& service,
                                        const std::vector<ZoneHintsVerdict>& before,
                                        const std::vector<ZoneHintsVerdict>& now,
                                        std::string_view time);

}  // namespace fairlead::controlplane
