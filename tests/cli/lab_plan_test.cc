#include "cli/lab/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "cli/lab/objects.h"
#include "cli/lab/state.h"

namespace fairlead::cli {
namespace {

LabPlan plan_of(unsigned nodes, unsigned clients, unsigned backends) {
  LabOptions options;
  options.nodes = nodes;
  options.clients = clients;
  options.backends = backends;
  return *plan_lab(options);
}

std::string text_of(const std::vector<LabStep>& steps) {
  std::string text;
  for (const LabStep& step : steps) text += step.to_string() + '\n';
  return text;
}

TEST(LabPlan, OneNodeOneClientOneBackend) {
  EXPECT_EQ(text_of(plan_of(1, 1, 1).steps()),
            "fl-lab-fabric: namespace\n"
            "fl-lab-fabric: bridge fabric\n"
            "fl-lab-fabric: up fabric\n"
            "fl-lab-external: namespace\n"
            "fl-lab-fabric: veth external fl-lab-external eth0\n"
            "fl-lab-fabric: enslave external fabric\n"
            "fl-lab-fabric: up external\n"
            "fl-lab-external: address eth0 192.168.77.200/24\n"
            "fl-lab-external: address eth0 fd77::200/64\n"
            "fl-lab-external: up eth0\n"
            "fl-lab-node1: namespace\n"
            "fl-lab-fabric: veth node1 fl-lab-node1 eth0\n"
            "fl-lab-fabric: enslave node1 fabric\n"
            "fl-lab-fabric: up node1\n"
            "fl-lab-node1: address eth0 192.168.77.11/24\n"
            "fl-lab-node1: address eth0 fd77::11/64\n"
            "fl-lab-node1: up eth0\n"
            "fl-lab-node1: sysctl net/ipv4/ip_forward 1\n"
            "fl-lab-node1: sysctl net/ipv6/conf/all/forwarding 1\n"
            "fl-lab-client: namespace\n"
            "fl-lab-node1: veth p-client fl-lab-client eth0\n"
            "fl-lab-node1: address p-client 10.244.1.1/32\n"
            "fl-lab-node1: address p-client fe80::1/64\n"
            "fl-lab-node1: up p-client\n"
            "fl-lab-node1: route 10.244.1.2/32  p-client\n"
            "fl-lab-node1: route fd44:0:0:1::2/128  p-client\n"
            "fl-lab-client: address eth0 10.244.1.2/32\n"
            "fl-lab-client: address eth0 fd44:0:0:1::2/128\n"
            "fl-lab-client: up eth0\n"
            "fl-lab-client: route 10.244.1.1/32  eth0\n"
            "fl-lab-client: route 0.0.0.0/0 10.244.1.1 eth0\n"
            "fl-lab-client: route ::/0 fe80::1 eth0\n"
            "fl-lab-backend1: namespace\n"
            "fl-lab-node1: veth p-backend1 fl-lab-backend1 eth0\n"
            "fl-lab-node1: address p-backend1 10.244.1.1/32\n"
            "fl-lab-node1: address p-backend1 fe80::1/64\n"
            "fl-lab-node1: up p-backend1\n"
            "fl-lab-node1: route 10.244.1.3/32  p-backend1\n"
            "fl-lab-node1: route fd44:0:0:1::3/128  p-backend1\n"
            "fl-lab-backend1: address eth0 10.244.1.3/32\n"
            "fl-lab-backend1: address eth0 fd44:0:0:1::3/128\n"
            "fl-lab-backend1: up eth0\n"
            "fl-lab-backend1: route 10.244.1.1/32  eth0\n"
            "fl-lab-backend1: route 0.0.0.0/0 10.244.1.1 eth0\n"
            "fl-lab-backend1: route ::/0 fe80::1 eth0\n");
}

TEST(LabPlan, NodesKnowTheWayToEachOthersPods) {
  const std::string text = text_of(plan_of(2, 1, 2).steps());
  EXPECT_NE(text.find("fl-lab-node1: route 10.244.2.0/24 192.168.77.12 eth0\n"), std::string::npos);
  EXPECT_NE(text.find("fl-lab-node2: route fd44:0:0:1::/64 fd77::11 eth0\n"), std::string::npos);
}

TEST(LabPlan, BackendsAreSpreadOverNodesAndAddressesAreUnique) {
  const LabPlan plan = plan_of(3, 2, 7);
  std::set<Ip> ips;
  std::vector<int> per_node(3);
  for (const LabPod& pod : plan.pods) {
    EXPECT_TRUE(ips.insert(pod.v4).second);
    EXPECT_TRUE(ips.insert(pod.v6).second);
    EXPECT_TRUE(plan.nodes[pod.node].pods4.contains(pod.v4));
    EXPECT_TRUE(plan.nodes[pod.node].pods6.contains(pod.v6));
    if (pod.backend) ++per_node[pod.node];
  }
  EXPECT_EQ(per_node, (std::vector<int>{3, 2, 2}));
  EXPECT_EQ(plan.pod("client2")->node, 0u);
  EXPECT_EQ(plan.pod("backend9"), nullptr);
  EXPECT_EQ(plan.node("node3")->v4.to_string(), "192.168.77.13");
}

TEST(LabPlan, DeviceNamesFitTheKernel) {
  for (const LabStep& step : plan_of(50, 100, 100).steps()) {
    if (step.op == LabStep::Op::veth) {
      EXPECT_LE(step.args[0].size(), 15u) << step.args[0];
    }
  }
}

TEST(LabPlan, RejectsWhatDoesNotFit) {
  struct Case {
    std::string name;
    unsigned nodes, clients, backends;
    std::string_view error;
  };
  const Case cases[] = {
      {"Lab", 1, 1, 1, "lab name 'Lab': expected 1 to 20 of a-z and 0-9"},
      {"", 1, 1, 1, "lab name '': expected 1 to 20 of a-z and 0-9"},
      {"../x", 1, 1, 1, "lab name '../x': expected 1 to 20 of a-z and 0-9"},
      {"lab", 0, 1, 1, "--nodes 0: expected 1 to 50"},
      {"lab", 51, 1, 1, "--nodes 51: expected 1 to 50"},
      {"lab", 1, 0, 1, "--clients and --backends: expected at least 1 client and at most 200 pods"},
      {"lab", 1, 1, 200,
       "--clients and --backends: expected at least 1 client and at most 200 pods"},
      {"lab", 1, 4294967295, 2,
       "--clients and --backends: expected at least 1 client and at most 200 pods"},
      {"lab", 1, 2, 4294967295,
       "--clients and --backends: expected at least 1 client and at most 200 pods"},
  };
  for (const Case& c : cases) {
    LabOptions options;
    options.name = c.name;
    options.nodes = c.nodes;
    options.clients = c.clients;
    options.backends = c.backends;
    const auto plan = plan_lab(options);
    ASSERT_FALSE(plan) << c.error;
    EXPECT_EQ(plan.error().message, c.error);
  }
}

TEST(LabPlan, RejectsSettingsThatTheAgentsWould) {
  LabOptions mode;
  mode.proxy_mode = "ebfp";
  EXPECT_EQ(plan_lab(mode).error().message,
            "--proxy-mode: 'ebfp' is not a proxy mode: auto, ebpf, nftables, iptables, ipvs, "
            "userspace or none");
  LabOptions level;
  level.log_level = "loud";
  EXPECT_EQ(plan_lab(level).error().message,
            "--log-level: 'loud' is not a log level: debug, info, warn or error");
}

TEST(LabObjects, EveryBackendIsAReadyPodWithBothAddresses) {
  const LabPlan plan = plan_of(2, 1, 3);
  size_t demo = 0;
  for (const auto& object : lab_objects(plan)) {
    if (find_string(object, "metadata", "labels", "app") != "demo") continue;
    if (find_string(object, "kind") != "Pod") continue;
    ++demo;
    const LabPod* pod = plan.pod(find_string(object, "metadata", "name"));
    ASSERT_NE(pod, nullptr);
    EXPECT_EQ(find_string(object, "status", "podIP"), pod->v4.to_string());
    EXPECT_EQ(find(object, "status", "podIPs")->get_array().size(), 2u);
    EXPECT_EQ(find_string(object, "spec", "nodeName"), plan.nodes[pod->node].name);
  }
  EXPECT_EQ(demo, 3u);
}

TEST(LabObjects, NodesSayWhatTopologyHintsNeed) {
  size_t nodes = 0;
  for (const auto& object : lab_objects(plan_of(2, 1, 3))) {
    if (find_string(object, "kind") != "Node") continue;
    ++nodes;
    EXPECT_EQ(find_string(object, "status", "allocatable", "cpu"), "1");
  }
  EXPECT_EQ(nodes, 2u);
}

TEST(LabState, RoundTrips) {
  LabState state;
  state.options.name = "x";
  state.options.nodes = 2;
  state.options.proxy_mode = "nftables";
  state.options.api_port = 7443;
  state.options.corefile = "/tmp/c";
  state.processes = {{"server", {12, 3456789012345}}, {"node1", {13, 7}}};
  const auto back = parse_lab_state(to_text(state));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_text(*back), to_text(state));
  EXPECT_EQ(back->processes.at("server").start_ticks, 3456789012345u);
}

TEST(LabState, RejectsHalfAFile) {
  const std::string whole = to_text(LabState{});
  for (const std::string& text : {std::string(), whole.substr(0, whole.size() / 2),
                                  std::string("[]"), std::string("{\"name\":\"x\"}")}) {
    EXPECT_FALSE(parse_lab_state(text)) << text;
  }
}

}  // namespace
}  // namespace fairlead::cli
