#include "tests/dataplane/cluster.h"

#include "api/yaml.h"
#include "base/check.h"
#include "base/text.h"
#include "dataplane/compile.h"

namespace fairlead::dataplane {
namespace {

constexpr uint32_t service_names = 8;

Ip test_ip(uint32_t v4, bool ipv6) {
  if (!ipv6) return Ip::v4(v4);
  Ip ip = *Ip::parse("fd00::");
  for (int i = 0; i < 4; ++i)
    ip.bytes[12 + static_cast<size_t>(i)] = static_cast<uint8_t>(v4 >> (24 - 8 * i));
  return ip;
}

std::vector<std::string_view> texts(const json::value& value, std::string_view key) {
  std::vector<std::string_view> out;
  const json::value* list = find(value, key);
  if (list == nullptr || !list->is_array()) return out;
  for (const json::value& item : list->get_array()) {
    if (item.is_string()) out.push_back({item.get_string().data(), item.get_string().size()});
  }
  return out;
}

// The facts that few nodes need.
Result<void> read_options(const json::value& value, NodeConfig& node) {
  node.zone = find_string(value, "zone");
  node.proxy_name = find_string(value, "proxyName");
  const auto is_set = [&](std::string_view key) {
    const json::value* flag = find(value, key);
    return flag != nullptr && flag->is_bool() && flag->get_bool();
  };
  node.masquerade_all = is_set("masqueradeAll");
  node.localhost_node_ports = !is_set("noLocalhostNodePorts");
  for (const std::string_view text : texts(value, "services")) {
    const auto cidr = Cidr::parse(text);
    if (!cidr) return fail(cat("node: services: ", text, " is no CIDR"));
    node.service_cidrs.push_back(*cidr);
  }
  if (find(value, "nodePortsOn") == nullptr) return {};
  node.node_port_ips.emplace();
  for (const std::string_view text : texts(value, "nodePortsOn")) {
    const auto ip = Ip::parse(text);
    if (!ip) return fail(cat("node: nodePortsOn: ", text, " is no address"));
    node.node_port_ips->push_back(*ip);
  }
  return {};
}

}  // namespace

Result<void> put_yaml(api::SnapshotBuilder& builder, std::string_view yaml) {
  FL_TRY(const auto documents, api::parse_yaml(yaml, "objects"));
  for (const auto& document : documents) {
    FL_TRY(auto object, api::decode(document.value));
    builder.put(std::move(object));
  }
  return {};
}

Result<NodeConfig> parse_node(std::string_view yaml) {
  FL_TRY(const auto documents, api::parse_yaml(yaml, "node"));
  if (documents.size() != 1) return fail("node: expected one document");
  const json::value& value = documents.front().value;
  NodeConfig node;
  node.node_name = find_string(value, "name");
  for (const std::string_view text : texts(value, "ips")) {
    const auto ip = Ip::parse(text);
    if (!ip) return fail(cat("node: ips: ", text, " is no address"));
    node.node_ips.push_back(*ip);
  }
  for (const std::string_view text : texts(value, "pods")) {
    const auto cidr = Cidr::parse(text);
    if (!cidr) return fail(cat("node: pods: ", text, " is no CIDR"));
    node.local_pod_cidrs.push_back(*cidr);
  }
  FL_TRY_VOID(read_options(value, node));
  return node;
}

NodeConfig random_node() {
  return {"node-0",
          {Ip::v4(0xc0a80001), *Ip::parse("fd01::1"), Ip::v4(0xc0a80002)},
          {*Cidr::parse("10.1.0.0/16"), *Cidr::parse("fd00::a01:0/112")},
          "zone-0"};
}

ServiceTable big_table(uint32_t services, uint32_t endpoints) {
  api::SnapshotBuilder builder;
  return compile(*big_cluster(builder, services, endpoints).snapshot, random_node());
}

namespace {

constexpr std::string_view every_kind = R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  externalTrafficPolicy: Local
  healthCheckNodePort: 32100
  loadBalancerSourceRanges:
  - 203.0.113.0/24
  - 192.168.0.0/16
  - 192.168.7.0/24
  - 198.18.0.9/32
  - "2001:db8:7::/64"
  clusterIPs: [10.96.0.1, "fd96::1"]
  clusterIP: 10.96.0.1
  externalIPs: [203.0.113.80, "2001:db8::80"]
  ports:
  - {name: http, port: 80, nodePort: 30080}
  - {name: dns, port: 53, nodePort: 30053, protocol: UDP}
  - {name: sig, port: 99, nodePort: 30099, protocol: SCTP}
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: "2001:db8:1::1"}]}}
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: empty}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [192.168.0.0/16]
  clusterIP: 10.96.0.2
  ports: [{port: 80, nodePort: 30081}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.2}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports:
- {name: http, port: 8080}
- {name: dns, port: 53, protocol: UDP}
- {name: sig, port: 99, protocol: SCTP}
endpoints:
- {addresses: ["10.1.0.5"], nodeName: node-0}
- {addresses: ["10.2.0.5"], nodeName: node-b}
- {addresses: ["10.2.0.6"], nodeName: node-b}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-2, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports:
- {name: http, port: 8080}
- {name: dns, port: 53, protocol: UDP}
- {name: sig, port: 99, protocol: SCTP}
endpoints:
- {addresses: ["fd00::b05"], nodeName: node-b}
)";

}  // namespace

ServiceTable every_kind_table() {
  api::SnapshotBuilder builder;
  CHECK(put_yaml(builder, every_kind).has_value());
  NodeConfig node = random_node();
  node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
  return compile(*builder.take().snapshot, node);
}

api::Service RandomCluster::make_service(uint32_t number) {
  using enum api::ServiceType;
  api::Service service;
  service.meta.key = {"default", cat("s", number)};
  constexpr api::ServiceType types[] = {cluster_ip, cluster_ip, node_port, load_balancer,
                                        external_name};
  service.type = types[below(5)];
  service.headless = chance(10);
  if (chance(5)) service.meta.labels["service.kubernetes.io/service-proxy-name"] = "other";
  const uint32_t family = below(3);  // IPv4, IPv6, both
  if (!service.headless && service.type != external_name) {
    if (family != 1) service.cluster_ips.push_back(test_ip(0x0a600000 + number, false));
    if (family != 0) service.cluster_ips.push_back(test_ip(0x0a600000 + number, true));
  }
  const uint32_t ports = 1 + below(3);
  for (uint32_t i = 0; i < ports; ++i) {
    api::ServicePort& port = service.ports.emplace_back();
    port.name = cat("p", i);
    port.protocol = i == 2 ? Protocol::udp : Protocol::tcp;
    port.port = static_cast<uint16_t>(80 + i);
    port.node_port = static_cast<uint16_t>(30000 + number * 10 + i);
  }
  // Few addresses, so that several Services claim one.
  if (chance(30)) service.external_ips.push_back(test_ip(0xcb007100 + below(2), false));
  if (chance(30)) service.load_balancer_ips.push_back(test_ip(0xcb007180 + below(2), true));
  if (chance(30)) service.external_policy = api::TrafficPolicy::local;
  if (chance(20)) service.internal_policy = api::TrafficPolicy::local;
  if (chance(20)) service.affinity_timeout_s = 60 + below(3);
  for (uint32_t i = chance(30) ? below(3) : 0; i > 0; --i) {
    service.source_ranges.push_back(below(2) == 0 ? Cidr{test_ip(0xc0a80000 + below(3), false), 32}
                                                  : *Cidr::parse("fd01::/64"));
  }
  return service;
}

api::EndpointSlice RandomCluster::make_slice(const api::ObjectKey& key, uint32_t service) {
  api::EndpointSlice slice;
  slice.meta.key = key;
  slice.service = cat("s", service);
  const bool ipv6 = chance(50);
  slice.address_type = ipv6 ? "IPv6" : "IPv4";
  for (uint32_t i = 0; i < 3; ++i) {
    if (chance(80)) {
      slice.ports.push_back({.name = cat("p", i),
                             .protocol = i == 2 ? Protocol::udp : Protocol::tcp,
                             .port = static_cast<uint16_t>(8080 + i)});
    }
  }
  const bool hints = chance(30);
  const uint32_t count = below(6);
  for (uint32_t i = 0; i < count; ++i) {
    api::Endpoint& endpoint = slice.endpoints.emplace_back();
    const bool local = chance(40);
    endpoint.addresses = {test_ip((local ? 0x0a010000 : 0x0a020000) + below(12), ipv6)};
    endpoint.node_name = local ? "node-0" : "node-1";
    endpoint.ready = chance(70);
    endpoint.terminating = !endpoint.ready && chance(60);
    endpoint.serving = endpoint.ready || chance(60);
    if (hints) endpoint.hint_zones.push_back(chance(50) ? "zone-0" : "zone-1");
  }
  return slice;
}

api::SnapshotBuilder::Tick RandomCluster::step() {
  const uint32_t changes = 1 + below(5);
  for (uint32_t i = 0; i < changes; ++i) {
    const uint32_t service = below(service_names);
    const api::ObjectKey slice{"default", cat("s", service, "-", below(3))};
    switch (below(8)) {
      case 0:
        builder_.erase(api::Kind::service, {"default", cat("s", service)});
        break;
      case 1:
        builder_.erase(api::Kind::endpoint_slice, slice);
        break;
      case 2:
      case 3:
        builder_.put(std::make_shared<const api::Service>(make_service(service)));
        break;
      default:
        builder_.put(std::make_shared<const api::EndpointSlice>(make_slice(slice, service)));
    }
  }
  return builder_.take();
}

}  // namespace fairlead::dataplane
