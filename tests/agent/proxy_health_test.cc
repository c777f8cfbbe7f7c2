#include "agent/proxy_health.h"

#include <gtest/gtest.h>

#include "api/json.h"

namespace fairlead::agent {
namespace {

using std::chrono::seconds;

TEST(ProxyHealth, FailsWhenAnUpdateWaitsTwiceTheSyncPeriod) {
  FakeClock clock;
  ProxyHealth health(clock, seconds(30));
  clock.advance(seconds(1000));
  EXPECT_TRUE(health.healthy()) << "starting up is healthy, and so is having nothing to do";
  health.queued();
  clock.advance(seconds(40));
  health.queued();
  clock.advance(seconds(20));
  EXPECT_TRUE(health.healthy());
  clock.advance(seconds(1));
  EXPECT_FALSE(health.healthy()) << "the oldest update counts";
  health.synced();
  EXPECT_TRUE(health.healthy());
}

TEST(ProxyHealth, TheNodeMustNotBeOnItsWayOut) {
  FakeClock clock;
  ProxyHealth health(clock, seconds(30));
  health.set_node(nullptr);
  EXPECT_TRUE(health.node_eligible()) << "a node that nobody manages";
  api::Node node;
  health.set_node(&node);
  EXPECT_TRUE(health.node_eligible());
  node.taints = {"node.kubernetes.io/unschedulable"};
  health.set_node(&node);
  EXPECT_TRUE(health.node_eligible());
  node.taints = {"x", "ToBeDeletedByClusterAutoscaler"};
  health.set_node(&node);
  EXPECT_FALSE(health.node_eligible());
  node.taints.clear();
  node.meta.deleting = true;
  health.set_node(&node);
  EXPECT_FALSE(health.node_eligible());
  node.meta.deleting = false;
  health.set_node(&node);
  EXPECT_TRUE(health.node_eligible());
  health.set_node(nullptr);
  EXPECT_FALSE(health.node_eligible()) << "deleted";
}

TEST(ProxyHealth, JsonHasKubeProxysFields) {
  FakeClock clock;
  ProxyHealth health(clock, seconds(30));
  health.queued();
  clock.advance(seconds(60));
  const auto body = parse_json(health.to_json(true));
  ASSERT_TRUE(body);
  EXPECT_EQ(find_string(*body, "lastUpdated"), "2023-11-14T22:13:20Z");
  EXPECT_EQ(find_string(*body, "currentTime"), "2023-11-14T22:14:20Z");
  EXPECT_TRUE(find(*body, "nodeEligible")->get_bool());
  EXPECT_EQ(health.to_json(false).find("nodeEligible"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::agent
