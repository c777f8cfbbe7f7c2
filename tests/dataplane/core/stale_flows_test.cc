// Which datagram flows are stale, as a table: the state of the services, a flow, the verdict.
#include "dataplane/stale_flows.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane {
namespace {

constexpr std::string_view objects = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: dns}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd96::10"]
  externalIPs: [203.0.113.5]
  ports:
  - {name: u, port: 53, nodePort: 30053, protocol: UDP}
  - {name: t, port: 53, nodePort: 30053, protocol: TCP}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: empty}
spec:
  clusterIP: 10.96.0.11
  ports: [{name: u, port: 53, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: dns-1, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: u, port: 5353, protocol: UDP}, {name: t, port: 5353}]
endpoints: [{addresses: ["10.1.0.5"], nodeName: node-a}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: dns-2, labels: {kubernetes.io/service-name: dns}}
addressType: IPv6
ports: [{name: u, port: 5353, protocol: UDP}]
endpoints: [{addresses: ["fd00::5"], nodeName: node-b}]
)";

ServiceTable table() {
  const auto node = parse_node(R"(
name: node-a
ips: [192.168.0.1, "fd01::1"]
pods: [10.1.0.0/24]
services: [10.96.0.0/16]
)");
  api::SnapshotBuilder builder;
  EXPECT_TRUE(put_yaml(builder, objects));
  return compile(*builder.take().snapshot, *node);
}

TrackedFlow flow_of(std::string_view destination, std::string_view answers, Protocol protocol) {
  const auto to = *SocketAddress::parse(destination), from = *SocketAddress::parse(answers);
  const SocketAddress client{to.ip.is_v4() ? Ip::v4(0x0a010009) : *Ip::parse("fd00::9"), 4000};
  return {protocol, client, to, from, client, 0};
}

TEST(StaleFlows, AreThoseThatNoBackendAnswers) {
  struct Case {
    std::string_view destination, answers;
    bool stale;
    Protocol protocol = Protocol::udp;
  };
  constexpr Case cases[] = {
      {"10.96.0.10:53", "10.1.0.5:5353", false},
      {"10.96.0.10:53", "10.1.0.6:5353", true},   // the backend left
      {"10.96.0.10:53", "10.1.0.5:5354", true},   // or has another port
      {"10.96.0.10:53", "10.96.0.10:53", true},   // older than the Service
      {"10.96.0.10:54", "10.96.0.10:54", false},  // no port of it, and not translated
      {"10.96.0.10:54", "10.1.0.5:5353", true},   // a port that was removed
      {"203.0.113.5:53", "10.1.0.6:5353", true},
      {"192.168.0.1:30053", "10.1.0.5:5353", false},
      {"192.168.0.1:30053", "10.1.0.6:5353", true},
      {"127.0.0.1:30053", "10.1.0.6:5353", true},
      {"192.168.0.2:30053", "10.1.0.6:5353", false},  // not this node's
      {"[fd96::10]:53", "[fd00::5]:5353", false},
      {"[fd96::10]:53", "[fd00::6]:5353", true},
      {"[fd01::1]:30053", "[fd00::6]:5353", true},
      {"10.96.0.11:53", "10.1.0.5:5353", true},    // no endpoint any more
      {"10.96.0.12:53", "10.1.0.5:5353", true},    // no Service any more, by the range
      {"10.97.0.12:53", "10.1.0.5:5353", false},   // somebody else's translation
      {"198.51.100.1:53", "10.1.0.5:5353", true},  // a frontend until now
      {"198.51.100.1:53", "198.51.100.1:53", false},
      {"10.96.0.10:53", "10.1.0.6:5353", false, Protocol::tcp},
  };
  const ServiceTable services = table();
  const std::set<SocketAddress> former{*SocketAddress::parse("198.51.100.1:53")};
  for (const Case& c : cases) {
    const TrackedFlow flow = flow_of(c.destination, c.answers, c.protocol);
    const auto stale = stale_flows(services, std::vector{flow}, former);
    EXPECT_EQ(stale.size(), c.stale ? 1u : 0u) << c.destination << " answered by " << c.answers;
  }
}

TEST(StaleFlows, KeepTheirOrder) {
  const std::vector<TrackedFlow> flows = {flow_of("10.96.0.10:53", "10.1.0.7:1", Protocol::udp),
                                          flow_of("10.96.0.10:53", "10.1.0.5:5353", Protocol::udp),
                                          flow_of("10.96.0.11:53", "10.1.0.6:1", Protocol::udp)};
  EXPECT_EQ(stale_flows(table(), flows), (std::vector<TrackedFlow>{flows[0], flows[2]}));
}

TEST(StaleFlows, TheFirstServiceHasAnAddressThatTwoClaim) {
  ServiceTable services = table();
  services.services[{"default", "zz"}] = services.services.at({"default", "dns"});
  services.services.at({"default", "zz"}).ports[1].backends = {{Ip::v4(0x0a010006), 5353, false}};
  EXPECT_EQ(
      stale_flows(services, std::vector{flow_of("10.96.0.10:53", "10.1.0.6:5353", Protocol::udp)})
          .size(),
      1u);
}

}  // namespace
}  // namespace fairlead::dataplane
