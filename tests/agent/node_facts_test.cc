#include "agent/node_facts.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

std::vector<Ip> ips(std::initializer_list<const char*> texts) {
  std::vector<Ip> out;
  for (const char* text : texts) out.push_back(*Ip::parse(text));
  return out;
}

api::Node node_object() {
  api::Node node;
  node.internal_ips = ips({"192.168.0.1", "192.168.0.2", "fd00::1"});
  node.pod_cidrs = {*Cidr::parse("10.1.0.0/24")};
  node.zone = "b";
  return node;
}

std::vector<Ip> machine() { return ips({"192.168.0.1", "172.16.0.9", "10.9.0.1", "fd00::1"}); }

dataplane::NodeConfig with(std::string_view name, std::string_view value) {
  AgentConfig config;
  for (const auto& row : agent_options()) {
    if (row.name == name) {
      EXPECT_TRUE(row.set(config, value)) << name << ' ' << value;
    }
  }
  const api::Node object = node_object();
  return node_config(config, "node-a", &object, machine);
}

TEST(NodeFacts, ComeFromTheNodeObject) {
  const auto node = with("", "");
  EXPECT_EQ(node.node_name, "node-a");
  EXPECT_EQ(node.node_ips, node_object().internal_ips);
  EXPECT_EQ(node.local_pod_cidrs, node_object().pod_cidrs);
  EXPECT_EQ(node.zone, "b");
  EXPECT_FALSE(node.node_port_ips);
  EXPECT_TRUE(node.localhost_node_ports);
}

TEST(NodeFacts, SettingsWinOverTheNodeObject) {
  EXPECT_EQ(with("node-ips", "10.0.0.1").node_ips, ips({"10.0.0.1"}));
  EXPECT_EQ(with("local-pod-cidrs", "10.7.0.0/16").local_pod_cidrs,
            std::vector<Cidr>{*Cidr::parse("10.7.0.0/16")});
  EXPECT_FALSE(with("localhost-node-ports", "false").localhost_node_ports);
  EXPECT_TRUE(with("masquerade-all", "true").masquerade_all);
  EXPECT_EQ(with("node-cidr", "192.0.2.0/24,fd02::/64").node_cidrs.size(), 2u);
  EXPECT_EQ(with("service-cidr", "10.96.0.0/12,fd00:1::/112").service_cidrs.size(), 2u);
  EXPECT_EQ(with("service-proxy-name", "mine").proxy_name, "mine");
}

TEST(NodeFacts, NodePortAddressesAreResolved) {
  struct Case {
    std::string_view setting;
    std::vector<Ip> want;
    bool localhost;
  };
  const Case cases[] = {
      {"primary", ips({"192.168.0.1", "fd00::1"}), false},
      {"192.168.0.0/24", ips({"192.168.0.1", "192.168.0.2"}), false},
      {"172.16.0.0/12", ips({"172.16.0.9"}), false},
      {"172.16.0.0/12,primary", ips({"172.16.0.9", "192.168.0.1", "fd00::1"}), false},
      {"203.0.113.0/24", {}, false},
      {"127.0.0.0/8,10.9.0.0/24", ips({"10.9.0.1"}), true},
      {"0.0.0.0/0", ips({"10.9.0.1", "172.16.0.9", "192.168.0.1", "192.168.0.2"}), true},
      {"fd00::/8", ips({"fd00::1"}), false},
  };
  for (const Case& c : cases) {
    const auto node = with("node-port-addresses", c.setting);
    ASSERT_TRUE(node.node_port_ips) << c.setting;
    auto want = c.want;
    std::sort(want.begin(), want.end());
    EXPECT_EQ(*node.node_port_ips, want) << c.setting;
    EXPECT_EQ(node.localhost_node_ports, c.localhost) << c.setting;
  }
}

TEST(NodeFacts, PrimaryIsOneOfEachFamilyThatThereIs) {
  const auto primary = [](std::string_view node_ips) {
    AgentConfig config;
    EXPECT_TRUE(parse_setting("primary,primary", config.node_port_addresses));
    EXPECT_TRUE(parse_setting(node_ips, config.node_ips));
    return node_config(config, "x", nullptr, machine).node_port_ips;
  };
  EXPECT_EQ(primary("10.0.0.2,10.0.0.1"), ips({"10.0.0.2"})) << "the first, not the smallest";
  EXPECT_EQ(primary("fd00::2"), ips({"fd00::2"}));
  EXPECT_EQ(primary(""), ips({}));
}

TEST(NodeFacts, LocalhostIsServedOnlyWhenBothSettingsSaySo) {
  AgentConfig config;
  config.localhost_node_ports = false;
  EXPECT_TRUE(parse_setting("127.0.0.0/8", config.node_port_addresses));
  EXPECT_FALSE(node_config(config, "x", nullptr, machine).localhost_node_ports);
}

TEST(NodeFacts, WithoutANodeObjectOnlySettingsCount) {
  const auto node = node_config({}, "x", nullptr, machine);
  EXPECT_TRUE(node.node_ips.empty());
  EXPECT_EQ(node.zone, "");
}

TEST(NodeFacts, TheMachineKnowsItsAddresses) {
  for (const Ip& ip : read_host_addresses()) EXPECT_FALSE(ip.is_loopback());
}

// kubelet registers the Node so, and kube-proxy looks for it so.
TEST(NodeFacts, TheNodesNameIsInLowerCase) {
  EXPECT_EQ(node_name("Node-A"), "node-a");
  EXPECT_EQ(node_name("  node-a\n"), "node-a");
  const std::string own = node_name("");
  EXPECT_FALSE(own.empty());
  EXPECT_EQ(own, to_lower(own));
  EXPECT_EQ(node_name("  "), own);
}

}  // namespace
}  // namespace fairlead::agent
