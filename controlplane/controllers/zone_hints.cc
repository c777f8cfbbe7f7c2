#include "controlplane/controllers/zone_hints.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

// What one zone should have, and what it has so far.
struct Quota {
  std::string_view zone;
  size_t minimum = 0;  // with fewer its endpoints get more than 20 % too much
  double desired = 0;  // its part of the endpoints by CPU, and never less than the minimum
  std::vector<size_t> holds = {};  // endpoints, by index; those that came last are given first

  double surplus() const { return static_cast<double>(holds.size()) - desired; }
  size_t spare() const { return holds.size() > minimum ? holds.size() - minimum : 0; }
};

Result<std::vector<Quota>> quotas(const ClusterZones& zones, size_t count) {
  if (!zones.problem.empty()) return fail(zones.problem);
  const std::string size = cat(" (", count, " endpoints, ", zones.cpu_millis.size(), " zones)");
  if (count < zones.cpu_millis.size()) return fail(cat("Insufficient number of endpoints", size));
  int64_t total = 0;
  for (const auto& [zone, millis] : zones.cpu_millis) total += millis;
  std::vector<Quota> out;
  size_t minima = 0;
  for (const auto& [zone, millis] : zones.cpu_millis) {
    const int64_t part = static_cast<int64_t>(count) * millis;
    // ceil(part / total / 1.2) in integers, so that an exact fit is one.
    const auto minimum = static_cast<size_t>((part * 5 + total * 6 - 1) / (total * 6));
    const double desired = static_cast<double>(part) / static_cast<double>(total);
    out.push_back({zone, minimum, std::max(desired, static_cast<double>(minimum))});
    minima += minimum;
  }
  if (minima <= count) return out;
  return fail(cat("Unable to allocate minimum required endpoints to each zone without exceeding ",
                  "overload threshold", size));
}

Quota* find_quota(std::vector<Quota>& quotas, std::string_view zone) {
  const auto found = std::ranges::find(quotas, zone, &Quota::zone);
  return found == quotas.end() ? nullptr : &*found;
}

Quota& most_lacking(std::vector<Quota>& quotas) {
  return *std::ranges::min_element(quotas, {}, &Quota::surplus);
}

void move_one(Quota& from, Quota& to) {
  to.holds.push_back(from.holds.back());
  from.holds.pop_back();
}

// The hints that are there, new endpoints for their own zone; false when a zone is short then.
bool keep_present(std::vector<Quota>& quotas, std::span<const ZonedEndpoint> endpoints) {
  bool any = false;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Quota* own = find_quota(quotas, endpoints[i].zone);
    Quota* present = find_quota(quotas, endpoints[i].present);
    any |= present != nullptr;
    if (present == nullptr) present = own;
    if (present == nullptr) return false;
    present->holds.push_back(i);
  }
  return any && std::ranges::all_of(
                    quotas, [](const Quota& quota) { return quota.holds.size() >= quota.minimum; });
}

// Every endpoint for its own zone, then as few for others as the quotas ask.
void distribute(std::vector<Quota>& quotas, std::span<const ZonedEndpoint> endpoints) {
  std::vector<size_t> strays;  // in zones without a ready node: nobody there would use them
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Quota* own = find_quota(quotas, endpoints[i].zone);
    (own == nullptr ? strays : own->holds).push_back(i);
  }
  for (const size_t stray : strays) most_lacking(quotas).holds.push_back(stray);
  for (;;) {
    Quota& from = *std::ranges::max_element(quotas, {}, &Quota::surplus);
    Quota& to = most_lacking(quotas);
    const double surplus = from.surplus(), lack = -to.surplus();
    if (surplus < 0.5 || lack < 0.5 || (surplus < 1 && lack < 1)) break;
    move_one(from, to);
  }
  for (Quota& to : quotas) {
    while (to.holds.size() < to.minimum) {
      move_one(*std::ranges::max_element(quotas, {}, &Quota::spare), to);
    }
  }
}

// Why nothing can be said about the CPU of the zones; "": it can.
std::string node_problem(const api::Node& node) {
  if (node.zone.empty()) {
    return cat("Insufficient Node information: zone not specified on node ", node.meta.key.name);
  }
  if (node.cpu_millis > 0) return {};
  return cat("Insufficient Node information: allocatable CPU not specified on node ",
             node.meta.key.name);
}

bool is_worker(const api::Node& node) {
  return !node.meta.labels.contains("node-role.kubernetes.io/control-plane") &&
         !node.meta.labels.contains("node-role.kubernetes.io/master");
}

json::value event(const api::Service& service, bool enabled, const std::string& message,
                  std::string_view time) {
  constexpr std::string_view component = "endpoint-slice-controller";
  return {{"apiVersion", "v1"},
          {"kind", "Event"},
          {"metadata",
           {{"generateName", service.meta.key.name + "."}, {"namespace", service.meta.key.ns}}},
          {"involvedObject",
           {{"apiVersion", "v1"},
            {"kind", "Service"},
            {"namespace", service.meta.key.ns},
            {"name", service.meta.key.name},
            {"uid", service.meta.uid},
            {"resourceVersion", service.meta.resource_version}}},
          {"type", enabled ? "Normal" : "Warning"},
          {"reason", enabled ? "TopologyAwareHintsEnabled" : "TopologyAwareHintsDisabled"},
          {"message", message},
          {"source", {{"component", component}}},
          {"reportingComponent", component},
          {"firstTimestamp", time},
          {"lastTimestamp", time},
          {"count", 1}};
}

}  // namespace

ClusterZones cluster_zones(const api::Snapshot& snapshot) {
  ClusterZones out;
  std::map<std::string, std::string> problems;  // by node: the first one is named
  snapshot.each<api::Node>([&](const api::Node& node) {
    if (!node.zone.empty()) out.zone_of[node.meta.key.name] = node.zone;
    if (!node.ready || !is_worker(node)) return;
    if (std::string problem = node_problem(node); !problem.empty()) {
      problems.emplace(node.meta.key.name, std::move(problem));
    } else {
      out.cpu_millis[node.zone] += node.cpu_millis;
    }
  });
  if (!problems.empty()) {
    out.problem = problems.begin()->second;
  } else if (out.cpu_millis.size() < 2) {
    out.problem = out.cpu_millis.empty() ? "No node is ready" : "Nodes only ready in one zone";
  }
  return out;
}

bool wants_zone_hints(const api::Service& service) {
  const auto& annotations = service.meta.annotations;
  auto found = annotations.find("service.kubernetes.io/topology-aware-hints");
  if (found == annotations.end()) found = annotations.find("service.kubernetes.io/topology-mode");
  return found != annotations.end() && (found->second == "Auto" || found->second == "auto");
}

Result<std::vector<std::string>> allocate_zones(const ClusterZones& zones,
                                                std::span<const ZonedEndpoint> endpoints) {
  FL_TRY(std::vector<Quota> shares, quotas(zones, endpoints.size()));
  if (std::ranges::any_of(endpoints, [](const auto& one) { return one.zone.empty(); })) {
    return fail("One or more endpoints do not have a zone specified");
  }
  if (!keep_present(shares, endpoints)) {
    for (Quota& share : shares) share.holds.clear();
    distribute(shares, endpoints);
  }
  std::vector<std::string> out(endpoints.size());
  for (const Quota& share : shares) {
    for (const size_t index : share.holds) out[index] = share.zone;
  }
  return out;
}

std::vector<json::value> verdict_events(const api::Service& service,
                                        const std::vector<ZoneHintsVerdict>& before,
                                        const std::vector<ZoneHintsVerdict>& now,
                                        std::string_view time) {
  std::vector<json::value> out;
  const auto family = [](const ZoneHintsVerdict& one) {
    return cat(", addressType: ", one.address_type);
  };
  for (const ZoneHintsVerdict& one : now) {
    if (std::ranges::find(before, one) != before.end()) continue;
    const bool enabled = one.problem.empty();
    const std::string what = enabled ? "Topology Aware Hints has been enabled" : one.problem;
    out.push_back(event(service, enabled, what + family(one), time));
  }
  for (const ZoneHintsVerdict& one : before) {
    const auto later = std::ranges::find(now, one.address_type, &ZoneHintsVerdict::address_type);
    if (later != now.end() || !one.problem.empty()) continue;
    const std::string what = "Topology Aware Hints has been disabled";
    out.push_back(event(service, false, what + family(one), time));
  }
  return out;
}

}  // namespace fairlead::controlplane
