// desired slices as a pure function: each case is a Service, pods, slices that are there, and the
// plan in words.
#include <gtest/gtest.h>

#include "api/codec.h"
#include "base/text.h"
#include "controlplane/controllers/slice_plan.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view now = "2026-01-01T00:00:00Z";

api::Service service_with(std::vector<api::ServicePort> ports) {
  api::Service service;
  service.meta.key = {"default", "web"};
  service.meta.uid = "u-web";
  service.meta.labels = {{"team", "blue"}};
  service.cluster_ips = {*Ip::parse("10.96.0.9")};
  service.ip_families = {"IPv4"};
  service.selector = {{"app", "web"}};
  service.ports = std::move(ports);
  return service;
}

api::Service web() {
  return service_with({{.name = "http", .port = 80, .target_port = std::string("http")}});
}

std::shared_ptr<api::Pod> pod(int number, bool ready = true) {
  auto pod = std::make_shared<api::Pod>();
  pod->meta.key = {"default", cat("p", number)};
  pod->meta.uid = cat("u", number);
  pod->meta.labels = {{"app", "web"}, {"extra", "x"}};
  pod->node_name = "node1";
  pod->phase = "Running";
  pod->ready = ready;
  pod->ips = {Ip::v4(0x0af40000u + static_cast<uint32_t>(number))};
  pod->ports = {{"http", 8080, Protocol::tcp}};
  return pod;
}

// "p1 p2! p3~" : '!' not ready, '~' terminating, '^' serving while terminating.
std::string text_of(const json::value& slice) {
  std::vector<std::string> parts;
  for (const auto& endpoint : find(slice, "endpoints")->get_array()) {
    std::string part(find_string(endpoint, "targetRef", "name"));
    if (!find(endpoint, "conditions", "ready")->get_bool()) part += '!';
    if (find(endpoint, "conditions", "terminating")->get_bool()) part += '~';
    if (!find(endpoint, "conditions", "serving")->get_bool()) part += '-';
    parts.push_back(part);
  }
  std::vector<std::string> ports;
  for (const auto& port : find(slice, "ports")->get_array()) {
    ports.push_back(cat(find_string(port, "name"), '=',
                        static_cast<int64_t>(find(port, "port")->to_number<int64_t>())));
  }
  return cat(find_string(slice, "addressType"), " [", join(ports, " "), "] ", join(parts, " "));
}

std::string text_of(const SlicePlan& plan) {
  std::string out;
  for (const auto& document : plan.create) out += cat("create ", text_of(document), '\n');
  for (const auto& update : plan.update) {
    out += cat("update ", update.name, ' ', text_of(update.document), '\n');
  }
  for (const auto& name : plan.remove) out += cat("remove ", name, '\n');
  return out;
}

// What the feed would show after the plan was carried out.
SliceList after(const SlicePlan& plan, SliceList before) {
  int made = 0;
  const auto add = [&](json::value document, std::string name) {
    document.get_object()["metadata"].get_object()["name"] = name;
    document.get_object()["metadata"].get_object()["resourceVersion"] = "7";
    // Through text, as the feed has it.
    const auto object = api::decode(*parse_json(json::serialize(document)));
    EXPECT_TRUE(object) << (object ? "" : object.error().message);
    before.push_back(std::get<std::shared_ptr<const api::EndpointSlice>>(*object));
  };
  const auto drop = [&](const std::string& name) {
    std::erase_if(before, [&](const auto& slice) { return slice->meta.key.name == name; });
  };
  for (const auto& name : plan.remove) drop(name);
  for (const auto& update : plan.update) {
    drop(update.name);
    add(update.document, update.name);
  }
  for (const auto& document : plan.create) add(document, cat("new", before.size(), "-", made++));
  return before;
}

TEST(SlicePlan, OneSliceOfReadyPods) {
  const SlicePlan plan = plan_slices(web(), {pod(1), pod(2)}, {}, {}, now);
  EXPECT_EQ(text_of(plan), "create IPv4 [http=8080] p1 p2\n");
  const json::value& document = plan.create.at(0);
  EXPECT_EQ(find_string(document, "metadata", "generateName"), "web-");
  EXPECT_EQ(find_string(document, "metadata", "labels", "kubernetes.io/service-name"), "web");
  EXPECT_EQ(find_string(document, "metadata", "labels", "team"), "blue");
  EXPECT_EQ(find_string(document, "metadata", "labels", managed_by_label), slice_manager);
  EXPECT_EQ(find_string(document, "metadata", "annotations",
                        "endpoints.kubernetes.io/last-change-trigger-time"),
            now);
  const auto& owner = find(document, "metadata", "ownerReferences")->get_array().at(0);
  EXPECT_EQ(find_string(owner, "uid"), "u-web");
  const auto& endpoint = find(document, "endpoints")->get_array().at(0);
  EXPECT_EQ(find_string(endpoint, "nodeName"), "node1");
  EXPECT_EQ(find_string(endpoint, "targetRef", "uid"), "u1");
}

TEST(SlicePlan, TwoPodsOnOneNodesAddressAreTwoEndpoints) {
  const auto first = pod(1), second = pod(2);
  second->ips = first->ips;
  const SlicePlan plan = plan_slices(web(), {first, second}, {}, {}, now);
  EXPECT_EQ(text_of(plan), "create IPv4 [http=8080] p1 p2\n");
  EXPECT_TRUE(plan_slices(web(), {first, second}, after(plan, {}), {}, now).empty());
}

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

TEST(SlicePlan, ConditionsFollowThePod) {
  const auto leaving = pod(2);
  leaving->meta.deleting = true;
  const auto gone = pod(3, false);
  gone->meta.deleting = true;
  const auto finished = pod(4);
  finished->phase = "Succeeded";
  const auto failed = pod(5);
  failed->phase = "Failed";
  const auto homeless = pod(6);
  homeless->ips.clear();
  const PodList pods{pod(1, false), leaving, gone, finished, failed, homeless};
  EXPECT_EQ(text_of(plan_slices(web(), pods, {}, {}, now)),
            "create IPv4 [http=8080] p1!- p2!~ p3!~-\n");
  api::Service eager = web();
  eager.publish_not_ready = true;
  EXPECT_EQ(text_of(plan_slices(eager, pods, {}, {}, now)),
            "create IPv4 [http=8080] p1- p2~ p3~-\n");
}

TEST(SlicePlan, PortsAreResolvedPerPod) {
  const auto other = pod(2);
  other->ports = {{"http", 9090, Protocol::tcp}};
  const auto nameless = pod(3);
  nameless->ports.clear();
  EXPECT_EQ(text_of(plan_slices(web(), {pod(1), other, nameless}, {}, {}, now)),
            "create IPv4 [http=8080] p1\ncreate IPv4 [http=9090] p2\ncreate IPv4 [] p3\n");
  const api::Service numbers = service_with({{.name = "a", .port = 80, .target_port = 8081},
                                             {.name = "b", .port = 81, .target_port = 0}});
  EXPECT_EQ(text_of(plan_slices(numbers, {pod(1)}, {}, {}, now)), "create IPv4 [a=8081 b=81] p1\n");
}

TEST(SlicePlan, ANameIsLookedUpWithItsProtocol) {
  const auto both = pod(1);
  both->ports = {{"dns", 53, Protocol::udp}, {"dns", 5353, Protocol::tcp}};
  const api::Service dns = service_with(
      {{.name = "t", .protocol = Protocol::tcp, .port = 53, .target_port = std::string("dns")},
       {.name = "u", .protocol = Protocol::udp, .port = 53, .target_port = std::string("dns")}});
  EXPECT_EQ(text_of(plan_slices(dns, {both}, {}, {}, now)), "create IPv4 [t=5353 u=53] p1\n");
}

TEST(SlicePlan, DualStackIsASlicePerFamily) {
  api::Service dual = web();
  dual.ip_families = {"IPv6", "IPv4"};
  const auto both = pod(1);
  both->ips.push_back(*Ip::parse("fd00::1"));
  EXPECT_EQ(text_of(plan_slices(dual, {both, pod(2)}, {}, {}, now)),
            "create IPv6 [http=8080] p1\ncreate IPv4 [http=8080] p1 p2\n");
}

TEST(SlicePlan, AServiceWithoutPodsHasOneEmptySlice) {
  const SlicePlan plan = plan_slices(web(), {}, {}, {}, now);
  EXPECT_EQ(text_of(plan), "create IPv4 [] \n");
  EXPECT_TRUE(plan_slices(web(), {}, after(plan, {}), {}, now).empty());
}

TEST(SlicePlan, WithoutSelectorOrAddressNothingIsWanted) {
  const SliceList existing = after(plan_slices(web(), {pod(1)}, {}, {}, now), {});
  api::Service manual = web();
  manual.selector.clear();
  EXPECT_EQ(text_of(plan_slices(manual, {pod(1)}, existing, {}, now)), "remove new0-0\n");
  api::Service alias = web();
  alias.type = api::ServiceType::external_name;
  EXPECT_EQ(text_of(plan_slices(alias, {pod(1)}, {}, {}, now)), "");
}

TEST(SlicePlan, HostNamesOnlyBelowTheServiceThatThePodNames) {
  const auto named = pod(1);
  named->hostname = "db-0";
  named->subdomain = "web";
  const auto elsewhere = pod(2);
  elsewhere->hostname = "db-1";
  elsewhere->subdomain = "other";
  const SlicePlan plan = plan_slices(web(), {named, elsewhere}, {}, {}, now);
  const auto& endpoints = find(plan.create.at(0), "endpoints")->get_array();
  EXPECT_EQ(find_string(endpoints.at(0), "hostname"), "db-0");
  EXPECT_EQ(find(endpoints.at(1), "hostname"), nullptr);
}

TEST(SlicePlan, HeadlessServicesCarryTheLabel) {
  api::Service headless = web();
  headless.headless = true;
  headless.cluster_ips.clear();
  headless.ip_families.clear();
  const SlicePlan plan = plan_slices(headless, {pod(1)}, {}, {}, now);
  EXPECT_EQ(text_of(plan), "create IPv4 [http=8080] p1\n");
  EXPECT_NE(find(plan.create.at(0), "metadata", "labels", "service.kubernetes.io/headless"),
            nullptr);
}

TEST(SlicePlan, APlanCarriedOutLeavesNothingToDo) {
  PodList pods;
  for (int i = 1; i <= 7; ++i) pods.push_back(pod(i, i % 3 != 0));
  const SliceList slices = after(plan_slices(web(), pods, {}, {}, now), {});
  EXPECT_EQ(text_of(plan_slices(web(), pods, slices, {}, "later")), "");
}

TEST(SlicePlan, SlicesAreSplitAtTheirLimitAndChangesTouchOne) {
  PodList pods;
  for (int i = 1; i <= 250; ++i) pods.push_back(pod(i));
  const SlicePlan first = plan_slices(web(), pods, {}, {}, now);
  ASSERT_EQ(first.create.size(), 3u);
  const SliceList slices = after(first, {});
  pods[10] = pod(11, false);
  EXPECT_EQ(plan_slices(web(), pods, slices, {}, now).update.size(), 1u);
  pods.push_back(pod(300));
  const SlicePlan grown = plan_slices(web(), pods, slices, {}, now);
  EXPECT_LE(grown.update.size(), 2u);
  EXPECT_TRUE(grown.create.empty());
}

TEST(SlicePlan, AnEmptiedSliceGoesUnlessItIsTheLast) {
  PodList pods;
  for (int i = 1; i <= 101; ++i) pods.push_back(pod(i));
  SliceList slices = after(plan_slices(web(), pods, {}, {}, now), {});
  ASSERT_EQ(slices.size(), 2u);
  pods.resize(100);
  const SlicePlan smaller = plan_slices(web(), pods, slices, {}, now);
  EXPECT_EQ(smaller.remove.size(), 1u);
  EXPECT_TRUE(smaller.update.empty());
  slices = after(smaller, slices);
  const SlicePlan none = plan_slices(web(), {}, slices, {}, now);
  EXPECT_EQ(none.create.size() + none.update.size(), 1u);
}

TEST(SlicePlan, AChangedLabelOfTheServiceIsCopied) {
  const SliceList slices = after(plan_slices(web(), {pod(1)}, {}, {}, now), {});
  api::Service relabelled = web();
  relabelled.meta.labels = {{"team", "green"}};
  const SlicePlan plan = plan_slices(relabelled, {pod(1)}, slices, {}, now);
  ASSERT_EQ(plan.update.size(), 1u);
  EXPECT_EQ(find_string(plan.update[0].document, "metadata", "labels", "team"), "green");
  EXPECT_EQ(find_string(plan.update[0].document, "metadata", "resourceVersion"), "7");
}

TEST(SlicePlan, SelectionIsWithinTheNamespaceAndByEveryPair) {
  api::Service service = web();
  EXPECT_TRUE(selects(service, *pod(1)));
  service.selector["tier"] = "front";
  EXPECT_FALSE(selects(service, *pod(1)));
  auto stranger = pod(1);
  stranger->meta.key.ns = "other";
  EXPECT_FALSE(selects(web(), *stranger));
}

}  // namespace
}  // namespace fairlead::controlplane
