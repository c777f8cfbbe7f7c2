// The words of `explain`, and that they agree with what the table does: on one rich Service as
// text, on every golden file as a property.
#include "dataplane/explain.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/core/golden_file.h"

namespace fairlead::dataplane {
namespace {

constexpr std::string_view node_yaml = R"(
name: node-a
ips: [192.168.0.1]
pods: [10.1.0.0/24]
zone: b
services: [10.96.0.0/16]
)";

constexpr std::string_view objects = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web, annotations: {fairlead.io/algorithm: maglev}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  loadBalancerSourceRanges: [203.0.113.0/24]
  clusterIP: 10.96.0.1
  ports:
  - {name: http, port: 80, nodePort: 30080}
status:
  loadBalancer: {ingress: [{ip: 198.51.100.1}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports:
- {name: http, port: 8080}
endpoints:
- {addresses: ["10.1.0.5"], nodeName: node-a, hints: {forZones: [{name: a}]}}
- {addresses: ["10.2.0.5"], nodeName: node-b, hints: {forZones: [{name: b}]}}
- {addresses: ["10.2.0.7"], nodeName: node-c, conditions: {ready: false}}
- addresses: ["10.2.0.8"]
  nodeName: node-c
  conditions: {ready: false, serving: true, terminating: true}
- addresses: ["10.2.0.9"]
  nodeName: node-c
  conditions: {ready: false, serving: false, terminating: true}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-2, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports:
- {name: http, port: 8080}
endpoints:
- {addresses: ["10.2.0.5"], nodeName: node-b, hints: {forZones: [{name: b}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-3, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports:
- {name: admin, port: 9000}
endpoints:
- {addresses: ["10.2.0.6"], nodeName: node-b}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: lonely}
spec:
  clusterIP: 10.96.0.2
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata:
  namespace: default
  name: foreign
  labels: {service.kubernetes.io/service-proxy-name: other}
spec:
  clusterIP: 10.96.0.3
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: pods}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
)";

struct World {
  std::shared_ptr<const api::Snapshot> snapshot;
  ServiceTable table;

  static World make(std::string_view node_text, std::string_view yaml) {
    api::SnapshotBuilder builder;
    EXPECT_TRUE(put_yaml(builder, yaml));
    const auto node = parse_node(node_text);
    EXPECT_TRUE(node);
    World world{builder.take().snapshot, {}};
    world.table = compile(*world.snapshot, *node);
    return world;
  }
  std::string service(const char* name, std::optional<Mode> mode = {}) const {
    return to_table(explain_service(*snapshot, table, {"default", name}, mode));
  }
  std::string flow(const char* source, std::string_view destination) const {
    const auto to = parse_destination(destination);
    EXPECT_TRUE(to);
    return to_table(explain_flow(table, {*Ip::parse(source), to->first, to->second}));
  }
};

TEST(Explain, AServiceWithEveryReason) {
  EXPECT_EQ(World::make(node_yaml, objects).service("web", Mode::nftables),
            R"(SERVICE default/web, nftables mode
  default/web:http: no Maglev in nftables mode; backends are chosen at random

PORT http TCP IPv4
  FRONTEND                                  LOCAL POD  THIS NODE            OUTSIDE
  cluster-ip 10.96.0.1:80                   all (1)    all (1), masquerade  all (1), masquerade
  node-port 30080 local-only                all (1)    all (1), masquerade  local (1)
  load-balancer 198.51.100.1:80 local-only  all (1)    all (1), masquerade  local (1)
  ENDPOINT       CLUSTER  LOCAL  NODE    SLICE  WHY
  10.1.0.5:8080  out      in     node-a  web-1  ready; its hints name zones a, this node is in b
  10.2.0.5:8080  in       out    node-b  web-1  ready; on node-b
  10.2.0.7:8080  out      out    node-c  web-1  not ready
  10.2.0.8:8080  out      out    node-c  web-1  terminating; ready ones are there; on node-c
  10.2.0.9:8080  out      out    node-c  web-1  terminating, not serving
  10.2.0.5:8080  out      out    node-b  web-2  ready; slice web-1 names it already
  10.2.0.6       out      out    node-b  web-3  its slice has no TCP port named 'http'
  topology       zone b          every ready endpoint has zone hints, one names this zone
  choice         Maglev          annotation fairlead.io/algorithm
  affinity       10800 s         a client address that was here before keeps its endpoint
  source ranges  203.0.113.0/24  for its load balancer addresses only
  no backend     drop            endpoints exist; drop where a policy leaves none of them
)");
}

TEST(Explain, AServiceThatIsNotServedSaysWhy) {
  const World world = World::make(node_yaml, objects);
  const std::pair<const char*, std::string_view> cases[] = {
      {"none", "there is no such Service"},
      {"foreign", "service-proxy-name gives it to 'other'"},
      {"pods", "headless: DNS gives the endpoints"},
  };
  for (const auto& [name, want] : cases) {
    EXPECT_NE(world.service(name).find(want), std::string::npos) << world.service(name);
  }
  EXPECT_NE(world.service("lonely").find("no endpoint anywhere can serve"), std::string::npos);
}

TEST(Explain, AFlowFromOutsideToAPolicyLocal) {
  EXPECT_EQ(World::make(node_yaml, objects).flow("203.0.113.7", "192.168.0.1:30080"),
            R"(FLOW 203.0.113.7 -> 192.168.0.1:30080/TCP
  frontend       node-port 30080 local-only  of default/web:http
  source         outside                     neither the node's address nor in its pod networks
  source ranges  not looked at               they guard load balancer addresses only
  policy         Local                       externalTrafficPolicy
  affinity       10800 s                     an endpoint that this client had before comes first
  choice         Maglev                      among the only endpoint
  masquerade     no                          policy Local keeps the client's address
  outcome        forward default/web:http to 10.1.0.5:8080
)");
}

TEST(Explain, EachDecisionOfAFlowHasItsReason) {
  const World world = World::make(node_yaml, objects);
  struct Case {
    const char* source;
    std::string_view to, want;
  };
  const Case cases[] = {
      {"203.0.113.7", "198.51.100.1:80", "inside 203.0.113.0/24"},
      {"192.0.2.1", "198.51.100.1:80", "inside none of them"},
      {"192.0.2.1", "198.51.100.1:80", "the source ranges do not let it in"},
      {"192.0.2.1", "192.168.0.1:30080", "they guard load balancer addresses only"},
      {"10.1.0.9", "10.96.0.1:80/TCP", "inside 10.1.0.0/24"},
      {"10.1.0.9", "10.96.0.1:80/TCP", "the source is a local pod"},
      {"192.168.0.1", "10.96.0.1:80", "one of the node's addresses"},
      {"192.168.0.1", "10.96.0.1:80", "the source is no local pod"},
      {"127.0.0.1", "127.0.0.1:30080", "a loopback address"},
      {"10.1.0.9", "192.168.0.1:30080", "does not bind local pods"},
      {"10.2.0.5", "10.96.0.1:80", "masquerade"},
      {"10.1.0.9", "10.96.0.2:80", "no endpoint anywhere can serve"},
      {"10.1.0.9", "10.96.0.1:81", "a ClusterIP that has no such port"},
      {"10.1.0.9", "10.96.7.7:80", "of the service range 10.96.0.0/16"},
      {"10.1.0.9", "8.8.8.8:53/UDP", "no Service has this address, port and protocol"},
  };
  for (const Case& c : cases) {
    const std::string text = world.flow(c.source, c.to);
    EXPECT_NE(text.find(c.want), std::string::npos) << text << "wanted: " << c.want;
  }
}

TEST(Explain, DestinationsAreParsed) {
  EXPECT_EQ(parse_destination("10.0.0.1:80/UDP")->second, Protocol::udp);
  EXPECT_EQ(parse_destination("[fd00::1]:80")->first.to_string(), "[fd00::1]:80");
  for (const char* bad : {"", "10.0.0.1", "10.0.0.1:0", ":80", "10.0.0.1:80/ICMP", "x:80/TCP"}) {
    EXPECT_FALSE(parse_destination(bad)) << bad;
  }
}

TEST(Explain, JsonSaysTheSame) {
  const World world = World::make(node_yaml, objects);
  auto explanation = explain_service(*world.snapshot, world.table, {"default", "web"});
  explanation.kernel = {"a rule"};
  for (const FlowQuery& flow : flows_to(world.table, explanation.key, *Ip::parse("10.1.0.9"))) {
    explanation.flows.push_back(explain_flow(world.table, flow));
  }
  EXPECT_EQ(explanation.flows.size(), 3u);
  const json::value value = to_json(explanation);
  EXPECT_EQ(find_string(value, "service"), "default/web");
  EXPECT_EQ(find(value, "ports")->at(0).at("endpoints").as_array().size(), 7u);
  EXPECT_EQ(find(value, "flows")->at(0).at("outcome").as_string(), "forward");
  EXPECT_EQ(find(value, "kernel")->at(0).as_string(), "a rule");
}

// Whatever the cluster: an endpoint said to be in is in the rule's set and none is forgotten.
void expect_agreement(const World& world) {
  for (const auto& [key, entry] : world.table.services) {
    const auto explanation = explain_service(*world.snapshot, world.table, key);
    ASSERT_EQ(explanation.ports.size(), entry.ports.size());
    for (size_t i = 0; i < entry.ports.size(); ++i) {
      const PortRule& rule = entry.ports[i];
      const auto usable =
          api::usable_endpoints(world.snapshot->slices_of(key), rule.port_name, rule.protocol,
                                rule.ipv6, {world.table.node.node_name, world.table.node.zone});
      size_t cluster = 0, local = 0;
      for (const auto& one : explanation.ports[i].endpoints) {
        cluster += one.in_cluster;
        local += one.in_local;
        EXPECT_FALSE(one.why.empty());
      }
      EXPECT_EQ(cluster, usable.cluster.size()) << to_table(explanation);
      EXPECT_EQ(local, usable.local.size()) << to_table(explanation);
    }
    for (const char* source : {"10.1.0.9", "192.168.0.1", "203.0.113.7", "fd00::9"}) {
      for (const FlowQuery& flow : flows_to(world.table, key, *Ip::parse(source))) {
        const auto told = explain_flow(world.table, flow);
        EXPECT_EQ(told.outcome, resolve(world.table, flow.source, flow.destination.ip,
                                        flow.destination.port, flow.protocol)
                                    .outcome);
        EXPECT_GE(told.decisions.size(), 2u);
      }
    }
  }
}

TEST(Explain, AgreesWithEveryGoldenFile) {
  for (const std::string& path : golden_paths()) {
    const auto file = GoldenFile::read(path);
    ASSERT_TRUE(file);
    expect_agreement(World::make(file->section("node"), file->section("objects")));
  }
}

TEST(Explain, AgreesWithRandomClusters) {
  for (uint32_t seed = 1; seed <= 5; ++seed) {
    RandomCluster cluster(seed);
    for (int step = 0; step < 20; ++step) {
      World world{cluster.step().snapshot, {}};
      world.table = compile(*world.snapshot, random_node());
      expect_agreement(world);
    }
  }
}

}  // namespace
}  // namespace fairlead::dataplane
