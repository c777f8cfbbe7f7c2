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

std::string service(std::string_view meta, std::string_view spec) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {namespace: default, ", meta,
             "}\nspec: {", spec, "}\n");
}

// A slice of default/web; an endpoint a line.
std::string slice(std::string_view name, std::string_view port, std::string_view endpoints) {
  return cat("---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n",
             "metadata: {namespace: default, name: ", name,
             ", labels: {kubernetes.io/service-name: web}}\n", "addressType: IPv4\nports: [{", port,
             "}]\nendpoints:", endpoints);
}

std::string objects() {
  constexpr std::string_view one_port = "ports: [{name: http, port: 80}]";
  return service("name: web, annotations: {fairlead.io/algorithm: maglev}",
                 "type: LoadBalancer, externalTrafficPolicy: Local, sessionAffinity: ClientIP, "
                 "loadBalancerSourceRanges: [203.0.113.0/24], clusterIP: 10.96.0.1, "
                 "ports: [{name: http, port: 80, nodePort: 30080}]") +
         "status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}\n" +
         slice("web-1", "name: http, port: 8080", R"(
- {addresses: ["10.1.0.5"], nodeName: node-a, hints: {forZones: [{name: a}]}}
- {addresses: ["10.2.0.5"], nodeName: node-b, hints: {forZones: [{name: b}]}}
- {addresses: ["10.2.0.7"], nodeName: node-c, conditions: {ready: false}}
- addresses: ["10.2.0.8"]
  nodeName: node-c
  conditions: {ready: false, serving: true, terminating: true}
- addresses: ["10.2.0.9"]
  nodeName: node-c
  conditions: {ready: false, serving: false, terminating: true}
)") + slice("web-2", "name: http, port: 8080", R"(
- {addresses: ["10.2.0.5"], nodeName: node-b, hints: {forZones: [{name: b}]}}
)") + slice("web-3", "name: admin, port: 9000", R"(
- {addresses: ["10.2.0.6"], nodeName: node-b}
)") + service("name: lonely", cat("clusterIP: 10.96.0.2, ", one_port)) +
         service("name: foreign, labels: {service.kubernetes.io/service-proxy-name: other}",
                 cat("clusterIP: 10.96.0.3, ", one_port)) +
         service("name: pods", cat("clusterIP: None, ", one_port));
}

void expect_says(const std::string& text, std::string_view wanted) {
  EXPECT_NE(text.find(wanted), std::string::npos) << text << "wanted: " << wanted;
}

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
  EXPECT_EQ(World::make(node_yaml, objects()).service("web", Mode::nftables),
            R"(SERVICE default/web, nftables mode
  default/web:http: no Maglev in nftables mode; backends are chosen as without it

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
  choice         random          annotation fairlead.io/algorithm: the mode lacks Maglev
  affinity       10800 s         a client address that was here before keeps its endpoint
  source ranges  203.0.113.0/24  for its load balancer addresses only
  no backend     drop            endpoints exist; drop where a policy leaves none of them
)");
}

TEST(Explain, AServiceThatIsNotServedSaysWhy) {
  const World world = World::make(node_yaml, objects());
  const std::pair<const char*, std::string_view> cases[] = {
      {"none", "there is no such Service"},
      {"foreign", "service-proxy-name gives it to 'other'"},
      {"pods", "headless: DNS gives the endpoints"},
  };
  for (const auto& [name, want] : cases) {
    expect_says(world.service(name), want);
  }
  expect_says(world.service("lonely"), "no endpoint anywhere can serve");
}

TEST(Explain, AFlowFromOutsideToAPolicyLocal) {
  EXPECT_EQ(World::make(node_yaml, objects()).flow("203.0.113.7", "192.168.0.1:30080"),
            R"(FLOW 203.0.113.7 -> 192.168.0.1:30080/TCP
  frontend       node-port 30080 local-only  of default/web:http
  source         outside                     neither the node's address nor in its pod networks
  source ranges  not looked at               they guard load balancer addresses only
  policy         Local                       externalTrafficPolicy
  affinity       10800 s                     an endpoint that this client had before comes first
  choice         Maglev                      among the only endpoint, by a hash of the flow
  masquerade     no                          policy Local keeps the client's address
  outcome        forward default/web:http to 10.1.0.5:8080
)");
}

TEST(Explain, EachDecisionOfAFlowHasItsReason) {
  const World world = World::make(node_yaml, objects());
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
  for (const Case& c : cases) expect_says(world.flow(c.source, c.to), c.want);
}

TEST(Explain, DirectReturnIsWhatTheModeCanDo) {
  const auto file = GoldenFile::read(FAIRLEAD_SOURCE_DIR "/tests/golden/direct_return.txt");
  ASSERT_TRUE(file);
  const World world = World::make(file->section("node"), file->section("objects"));
  const auto flow = [&](const char* source, std::optional<Mode> mode) {
    return to_table(
        explain_flow(world.table, {*Ip::parse(source), {*Ip::parse("192.168.0.1"), 30080}}, mode));
  };
  struct Case {
    const char* source;
    std::optional<Mode> mode;
    std::string_view want;
  };
  const Case cases[] = {
      {"203.0.113.7", {}, "not on other nodes  direct return: the answer does not pass this node"},
      {"203.0.113.7", Mode::ebpf, "10.1.0.5:8080 (masquerade), 10.2.0.5:8080 (direct return)"},
      {"203.0.113.7", Mode::nftables, "10.1.0.5:8080 (masquerade), 10.2.0.5:8080 (masquerade)"},
      {"203.0.113.7", Mode::nftables, "policy Cluster: the answer must come back through"},
      {"203.0.113.7", Mode::userspace, "always in userspace mode"},
      {"10.1.0.9", Mode::ebpf, "policy Cluster: the answer must come back through"},
  };
  for (const Case& c : cases) expect_says(flow(c.source, c.mode), c.want);
  const auto web = [&](Mode mode) {
    return to_table(explain_service(*world.snapshot, world.table, {"default", "web"}, mode));
  };
  expect_says(web(Mode::ebpf), "all (2), masquerade here, direct return elsewhere");
  EXPECT_EQ(web(Mode::nftables).find("direct return elsewhere"), std::string::npos);
}

TEST(Explain, TheChoiceIsWhatTheModeDoes) {
  PortRule plain, hashed;
  hashed.algorithm = Algorithm::maglev;
  const std::tuple<std::optional<Mode>, std::string_view, std::string_view> cases[] = {
      {std::nullopt, "random", "Maglev"},
      {Mode::ebpf, "random", "Maglev"},
      {Mode::nftables, "random", "random"},
      {Mode::iptables, "random", "random"},
      {Mode::ipvs, "by the IPVS scheduler", "Maglev"},
      {Mode::userspace, "round robin", "round robin"},
  };
  for (const auto& [mode, usual, asked] : cases) {
    EXPECT_EQ(choice_name(plain, mode), usual);
    EXPECT_EQ(choice_name(hashed, mode), asked);
  }
  hashed.backends.resize(2012);
  EXPECT_EQ(choice_name(hashed, Mode::ebpf), "random") << "its tables have 2,011 places";
  EXPECT_EQ(choice_name(hashed, Mode::ipvs), "Maglev");
}

TEST(Explain, DestinationsAreParsed) {
  EXPECT_EQ(parse_destination("10.0.0.1:80/UDP")->second, Protocol::udp);
  EXPECT_EQ(parse_destination("[fd00::1]:80")->first.to_string(), "[fd00::1]:80");
  for (const char* bad : {"", "10.0.0.1", "10.0.0.1:0", ":80", "10.0.0.1:80/ICMP", "x:80/TCP"}) {
    EXPECT_FALSE(parse_destination(bad)) << bad;
  }
}

TEST(Explain, JsonSaysTheSame) {
  const World world = World::make(node_yaml, objects());
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
