// desired slices as a pure function: each case is a Service, pods, slices that are there, and the
// plan in words.
#include "tests/controlplane/slice_plan_lab.h"

namespace fairlead::controlplane {
namespace {

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
