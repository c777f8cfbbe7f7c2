// Which node's and which zone's traffic the endpoints of a plan are for.
#include "tests/controlplane/slice_plan_lab.h"

namespace fairlead::controlplane {
namespace {

// Zone and hints of the first endpoint: "zone=a for-zones=a for-nodes=node1".
std::string topology_of(const SlicePlan& plan) {
  const json::value& endpoint = find(plan.create.at(0), "endpoints")->get_array().at(0);
  std::string out = cat("zone=", find_string(endpoint, "zone"));
  for (const auto& [field, label] :
       {std::pair{"forZones", "for-zones"}, {"forNodes", "for-nodes"}}) {
    const json::value* hints = find(endpoint, "hints", field);
    if (hints != nullptr)
      out += cat(' ', label, '=', find_string(hints->get_array().at(0), "name"));
  }
  return out;
}

TEST(SlicePlan, TrafficDistributionBecomesHints) {
  struct Case {
    std::string_view wish;
    std::map<std::string, std::string> zone_of;
    std::string_view topology;
  };
  const Case cases[] = {
      {"", {{"node1", "a"}}, "zone=a"},
      {"PreferClose", {{"node1", "a"}}, "zone=a for-zones=a"},
      {"PreferSameZone", {{"node1", "a"}}, "zone=a for-zones=a"},
      {"PreferSameNode", {{"node1", "a"}}, "zone=a for-zones=a for-nodes=node1"},
      {"PreferSameNode", {}, "zone= for-nodes=node1"},
      {"PreferSameZone", {{"node2", "b"}}, "zone="},
      {"Elsewhere", {{"node1", "a"}}, "zone=a"},
  };
  for (const Case& c : cases) {
    const ClusterZones zones{.zone_of = c.zone_of};
    api::Service service = web();
    service.traffic_distribution = c.wish;
    const SlicePlan plan = plan_slices(service, {pod(1)}, {}, zones, now);
    EXPECT_EQ(topology_of(plan), c.topology) << c.wish;
    const SliceList made = after(plan, {});
    EXPECT_TRUE(plan_slices(service, {pod(1)}, made, zones, now).empty()) << "settled";
    service.traffic_distribution = c.wish.empty() ? "PreferClose" : "";
    const bool same = c.topology.find("for-") == c.topology.npos && !c.wish.empty();
    EXPECT_EQ(plan_slices(service, {pod(1)}, made, zones, now).update.size(), same ? 0u : 1u);
  }
}

// "p1=a p2=b p3": the zone that each endpoint is hinted to.
std::string hints_of(const std::vector<json::value>& slices) {
  std::vector<std::string> out;
  for (const json::value& slice : slices) {
    for (const auto& endpoint : find(slice, "endpoints")->get_array()) {
      out.emplace_back(find_string(endpoint, "targetRef", "name"));
      const json::value* hints = find(endpoint, "hints", "forZones");
      if (hints != nullptr) out.back() += cat('=', find_string(hints->get_array().at(0), "name"));
    }
  }
  return join(out, " ");
}

// Nodes na and nb in zones a and b; pods p1, p2, ... on the nodes that the text names.
struct ZonedWeb {
  ClusterZones zones{.zone_of = {{"na", "a"}, {"nb", "b"}},
                     .cpu_millis = {{"a", 1000}, {"b", 1000}},
                     .problem = {}};
  api::Service service = web();
  PodList pods;

  explicit ZonedWeb(std::string_view nodes) {
    service.meta.annotations["service.kubernetes.io/topology-mode"] = "Auto";
    for (const std::string_view node : split(nodes, ' ')) {
      const auto one = pod(static_cast<int>(pods.size()) + 1);
      one->node_name = node;
      pods.push_back(one);
    }
  }
  SlicePlan plan(const SliceList& existing) const {
    return plan_slices(service, pods, existing, zones, now);
  }
};

TEST(SlicePlan, TopologyModeAutoSharesEndpointsOut) {
  ZonedWeb lab("na na na nb");
  const SlicePlan plan = lab.plan({});
  EXPECT_EQ(hints_of(plan.create), "p1=a p2=a p3=b p4=b");
  EXPECT_EQ(plan.zone_hints, (std::vector<ZoneHintsVerdict>{{"IPv4", ""}}));
  const SliceList made = after(plan, {});
  EXPECT_TRUE(lab.plan(made).empty()) << "settled";
  lab.service.meta.annotations.clear();
  const SlicePlan without = lab.plan(made);
  ASSERT_EQ(without.update.size(), 1u);
  EXPECT_EQ(hints_of({without.update[0].document}), "p1 p2 p3 p4");
  EXPECT_TRUE(without.zone_hints.empty());
}

TEST(SlicePlan, TopologyModeGoesBeforeTrafficDistribution) {
  ZonedWeb lab("na na na nb");
  lab.service.traffic_distribution = "PreferClose";
  EXPECT_EQ(hints_of(lab.plan({}).create), "p1=a p2=a p3=b p4=b");
  lab.zones.problem = "No node is ready";
  EXPECT_EQ(hints_of(lab.plan({}).create), "p1 p2 p3 p4");
  lab.service.meta.annotations["service.kubernetes.io/topology-mode"] = "Disabled";
  EXPECT_EQ(hints_of(lab.plan({}).create), "p1=a p2=a p3=a p4=b");
}

TEST(SlicePlan, TopologyModeCountsReadyEndpointsOnly) {
  ZonedWeb lab("na na nb nb nb");
  lab.pods[4] = pod(5, false);
  EXPECT_EQ(hints_of(lab.plan({}).create), "p1=a p2=a p3=b p4=b p5");
  lab.pods.resize(1);
  const SlicePlan few = lab.plan({});
  EXPECT_EQ(hints_of(few.create), "p1");
  EXPECT_EQ(few.zone_hints,
            (std::vector<ZoneHintsVerdict>{
                {"IPv4", "Insufficient number of endpoints (1 endpoints, 2 zones)"}}));
}

TEST(SlicePlan, TopologyModeCountsAllPortsOfAFamilyTogether) {
  ZonedWeb lab("na nb");
  const auto other = pod(2);
  other->node_name = "nb";
  other->ports = {{"http", 9090, Protocol::tcp}};
  lab.pods[1] = other;
  EXPECT_EQ(hints_of(lab.plan({}).create), "p1=a p2=b");
  lab.service.ip_families = {"IPv4", "IPv6"};
  const SlicePlan dual = lab.plan({});
  EXPECT_EQ(hints_of(dual.create), "p1=a p2=b");
  EXPECT_EQ(
      dual.zone_hints,
      (std::vector<ZoneHintsVerdict>{
          {"IPv4", ""}, {"IPv6", "Insufficient number of endpoints (0 endpoints, 2 zones)"}}));
}

TEST(SlicePlan, TopologyModeKeepsItsHintsWhileTheyAreFair) {
  ZonedWeb lab("na na na nb");
  SliceList slices = after(lab.plan({}), {});
  lab.zones.cpu_millis["a"] = 1100;
  EXPECT_TRUE(lab.plan(slices).empty()) << "a little more CPU is no reason to write";
  lab.zones.cpu_millis["a"] = 3000;
  const SlicePlan shifted = lab.plan(slices);
  ASSERT_EQ(shifted.update.size(), 1u);
  EXPECT_EQ(hints_of({shifted.update[0].document}), "p1=a p2=a p3=a p4=b");
}

}  // namespace
}  // namespace fairlead::controlplane
