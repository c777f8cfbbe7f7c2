#include "api/codec.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::api {
namespace {

template <class T>
T decoded(std::string_view document) {
  const auto value = parse_json(document);
  EXPECT_TRUE(value) << value.error().message;
  if (!value) return {};
  const auto object = decode(kind_of<T>(), *value);
  EXPECT_TRUE(object) << object.error().message;
  return object ? *std::get<std::shared_ptr<const T>>(*object) : T{};
}

std::vector<Ip> ips(std::initializer_list<std::string_view> texts) {
  std::vector<Ip> out;
  for (const auto text : texts) out.push_back(*Ip::parse(text));
  return out;
}

TEST(Codec, ReadsMetadata) {
  const auto ns = decoded<Namespace>(R"({"metadata": {
    "name": "prod", "namespace": "ignored", "uid": "u-1", "resourceVersion": "42",
    "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:05:05Z",
    "labels": {"a": "1", "b": null}, "annotations": {"note": "x",
      "kubectl.kubernetes.io/last-applied-configuration": "{}"},
    "managedFields": [{"manager": "m"}], "newField": {"from": "the future"}}})");
  EXPECT_EQ(ns.meta, (Meta{.key = {"", "prod"},
                           .uid = "u-1",
                           .resource_version = "42",
                           .creation_timestamp = "2026-01-02T03:04:05Z",
                           .labels = {{"a", "1"}, {"b", ""}},
                           .annotations = {{"note", "x"}},
                           .deleting = true}));
}

TEST(Codec, PutsNamespacedObjectsWithoutNamespaceIntoDefault) {
  EXPECT_EQ(decoded<ConfigMap>(R"({"metadata": {"name": "a"}})").meta.key,
            (ObjectKey{"default", "a"}));
}

TEST(Codec, ReadsServiceWithEveryField) {
  const auto service = decoded<Service>(R"({
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1",
             "clusterIPs": ["10.0.0.1", "fd00::1"],
             "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": "web",
                        "appProtocol": "kubernetes.io/h2c"},
                       {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353}],
             "selector": {"app": "web"}, "externalIPs": ["192.0.2.1"],
             "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
             "sessionAffinity": "ClientIP",
             "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
             "publishNotReadyAddresses": true},
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"},
               {"ip": "198.51.100.2", "ipMode": "Proxy"},
               {"ip": "198.51.100.3", "ipMode": "VIP"}, {"hostname": "lb.example"}]}}})");
  Service expected{.meta = {.key = {"shop", "web"}}};
  expected.type = ServiceType::load_balancer;
  expected.cluster_ips = ips({"10.0.0.1", "fd00::1"});
  expected.ports = {{.name = "http",
                     .port = 80,
                     .node_port = 30080,
                     .target_port = std::string("web"),
                     .app_protocol = "kubernetes.io/h2c"},
                    {.name = "dns", .protocol = Protocol::udp, .port = 53, .target_port = 5353}};
  expected.selector = {{"app", "web"}};
  expected.external_ips = ips({"192.0.2.1"});
  expected.load_balancer_ips = ips({"198.51.100.1", "198.51.100.3"});
  expected.external_policy = TrafficPolicy::local;
  expected.internal_policy = TrafficPolicy::local;
  expected.affinity_timeout_s = 60;
  expected.publish_not_ready = true;
  EXPECT_EQ(service, expected);
}

TEST(Codec, ServiceDefaults) {
  const auto plain = decoded<Service>(
      R"({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}})");
  Service expected{.meta = {.key = {"default", "a"}}};
  expected.cluster_ips = ips({"10.0.0.1"});
  expected.ports = {{.port = 80}};
  EXPECT_EQ(plain, expected);

  const auto headless =
      decoded<Service>(R"({"metadata": {"name": "a"}, "spec": {"clusterIP": "None"}})");
  EXPECT_TRUE(headless.headless);
  EXPECT_TRUE(headless.cluster_ips.empty());

  const auto external = decoded<Service>(R"({"metadata": {"name": "a"},
      "spec": {"type": "ExternalName", "externalName": "db.example", "clusterIP": "10.0.0.1"}})");
  EXPECT_EQ(external.external_name, "db.example");
  EXPECT_TRUE(external.cluster_ips.empty());

  const auto sticky =
      decoded<Service>(R"({"metadata": {"name": "a"}, "spec": {"sessionAffinity": "ClientIP"}})");
  EXPECT_EQ(sticky.affinity_timeout_s, 10800u);
}

TEST(Codec, EndpointsOfOneSliceShareTheirNames) {
  const auto slice = decoded<EndpointSlice>(R"({"metadata": {"name": "s", "namespace": "shop"},
    "addressType": "IPv4", "endpoints": [
      {"addresses": ["10.1.0.1"], "nodeName": "n1", "zone": "z1",
       "targetRef": {"kind": "Pod", "namespace": "shop", "name": "a"}},
      {"addresses": ["10.1.0.2"], "nodeName": "n1", "zone": "z1",
       "targetRef": {"kind": "Pod", "name": "b"}}]})");
  const Endpoint &a = slice.endpoints[0], &b = slice.endpoints[1];
  EXPECT_EQ(a.node_name, "n1");
  EXPECT_TRUE(a.node_name.same_as(b.node_name));
  EXPECT_TRUE(a.zone.same_as(b.zone));
  EXPECT_TRUE(a.target.ns.same_as(b.target.ns));
}

TEST(Codec, ReadsEndpointSlice) {
  const auto slice = decoded<EndpointSlice>(R"({
    "metadata": {"name": "web-1", "namespace": "shop",
                 "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [
      {"addresses": ["10.1.0.1"], "conditions": {"ready": true}, "hostname": "h", "zone": "z1",
       "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "p"},
       "hints": {"forZones": [{"name": "z1"}, {"name": "z2"}]}},
      {"addresses": ["10.1.0.2"], "conditions": {"ready": false, "serving": true,
                                                  "terminating": true}},
      {"addresses": ["10.1.0.3"], "conditions": {"ready": false}},
      {"addresses": ["10.1.0.4"]},
      {"addresses": ["10.1.0.5"], "conditions": {"ready": null, "serving": null}}],
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "any", "port": null},
              {"name": "zero", "port": 0}]})");
  EXPECT_EQ(slice.service, "web");
  EXPECT_EQ(slice.address_type, "IPv4");
  ASSERT_EQ(slice.endpoints.size(), 5u);
  EXPECT_EQ(slice.endpoints[0], (Endpoint{.addresses = {*Ip::parse("10.1.0.1")},
                                          .hostname = "h",
                                          .node_name = "n1",
                                          .zone = "z1",
                                          .target = {"shop", "p"},
                                          .hint_zones = {"z1", "z2"}}));
  struct Conditions {
    bool ready, serving, terminating;
    bool operator==(const Conditions&) const = default;
  };
  const Conditions expected[] = {{true, true, false},
                                 {false, true, true},
                                 {false, false, false},
                                 {true, true, false},
                                 {true, true, false}};
  for (size_t i = 0; i < 5; ++i) {
    const Endpoint& e = slice.endpoints[i];
    EXPECT_EQ((Conditions{e.ready, e.serving, e.terminating}), expected[i]) << i;
  }
  EXPECT_EQ(slice.ports[0].port, 8080);
  EXPECT_EQ(slice.ports[1].port, std::nullopt);
  EXPECT_EQ(slice.ports[2].port, std::nullopt);
}

TEST(Codec, FqdnSlicesHaveNoEndpoints) {
  const auto slice = decoded<EndpointSlice>(R"({"metadata": {"name": "a"}, "addressType": "FQDN",
      "endpoints": [{"addresses": ["db.example"]}]})");
  EXPECT_TRUE(slice.endpoints.empty());
}

TEST(Codec, ReadsIngress) {
  const auto ingress = decoded<Ingress>(R"({
    "metadata": {"name": "i", "namespace": "n",
                 "annotations": {"kubernetes.io/ingress.class": "old"}},
    "spec": {"ingressClassName": "fairlead",
      "defaultBackend": {"resource": {"kind": "Bucket", "name": "b"}},
      "rules": [{"host": "*.example.com"},
        {"host": "a.example.com", "http": {"paths": [
          {"path": "/", "pathType": "Prefix",
           "backend": {"service": {"name": "s", "port": {"number": 80}}}},
          {"pathType": "ImplementationSpecific",
           "backend": {"service": {"name": "t", "port": {"name": "http"}}}}]}}],
      "tls": [{"hosts": ["a.example.com"], "secretName": "cert"}]}})");
  EXPECT_EQ(ingress.class_name, "fairlead");
  EXPECT_EQ(ingress.meta.annotations.at("kubernetes.io/ingress.class"), "old");
  EXPECT_EQ(ingress.default_backend, IngressBackend{});
  EXPECT_EQ(
      ingress.rules,
      (std::vector<IngressRule>{
          {.host = "*.example.com"},
          {.host = "a.example.com",
           .has_http = true,
           .paths = {
               {"/", PathType::prefix, {.service = "s", .port_number = 80}},
               {"", PathType::implementation_specific, {.service = "t", .port_name = "http"}}}}}));
  EXPECT_EQ(ingress.tls, (std::vector<IngressTls>{{{"a.example.com"}, "cert"}}));
}

TEST(Codec, ReadsNode) {
  const auto node = decoded<Node>(R"({"metadata": {"name": "n1"},
    "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00:1::/64"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"},
                             {"type": "Hostname", "address": "n1"},
                             {"type": "InternalIP", "address": "fd00::9"}],
               "allocatable": {"memory": "2Gi", "cpu": "3920m"},
               "conditions": [{"type": "MemoryPressure", "status": "False"},
                              {"type": "Ready", "status": "True"}]}})");
  EXPECT_EQ(node.cpu_millis, 3920);
  EXPECT_EQ(node.internal_ips, ips({"192.168.0.1", "fd00::9"}));
  EXPECT_EQ(node.pod_cidrs,
            (std::vector<Cidr>{*Cidr::parse("10.1.0.0/24"), *Cidr::parse("fd00:1::/64")}));
  EXPECT_TRUE(node.ready);
  EXPECT_EQ(decoded<Node>(R"({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.0.0.0/8"}})")
                .pod_cidrs.size(),
            1u);
}

TEST(Codec, ReadsTheCpuOfANode) {
  const std::pair<std::string_view, int64_t> cases[] = {
      {R"({"cpu": "4"})", 4000},
      {R"({"cpu": 4})", 4000},
      {R"({"cpu": 0.5})", 500},
      {R"({"cpu": "250m"})", 250},
      {R"({"memory": "1Gi"})", 0},
      {R"({"cpu": "many"})", 0},
      {R"({"cpu": "-2"})", 0},
      {R"({"cpu": null})", 0},
      {R"({})", 0},
      {R"({"cpu": "9e300"})", 1000000000},
  };
  for (const auto& [allocatable, millis] : cases) {
    const auto node = decoded<Node>(
        cat(R"({"metadata": {"name": "n"}, "status": {"allocatable": )", allocatable, "}}"));
    EXPECT_EQ(node.cpu_millis, millis) << allocatable;
  }
}

TEST(Codec, ReadsPod) {
  const auto pod = decoded<Pod>(R"({"metadata": {"name": "p"},
    "spec": {"nodeName": "n1", "hostname": "h", "subdomain": "s", "hostNetwork": true,
      "containers": [{"ports": [{"name": "http", "containerPort": 80}]},
                     {"ports": [{"containerPort": 53, "protocol": "UDP"}]}],
      "initContainers": [{"ports": [{"containerPort": 1}]},
                         {"restartPolicy": "Always", "ports": [{"containerPort": 9000}]}]},
    "status": {"phase": "Running", "podIP": "10.1.0.1",
               "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}],
               "conditions": [{"type": "Ready", "status": "True"}]}})");
  EXPECT_EQ(pod.node_name, "n1");
  EXPECT_EQ(pod.hostname, "h");
  EXPECT_EQ(pod.subdomain, "s");
  EXPECT_EQ(pod.phase, "Running");
  EXPECT_TRUE(pod.host_network);
  EXPECT_TRUE(pod.ready);
  EXPECT_EQ(pod.ips, ips({"10.1.0.1", "fd00::1"}));
  EXPECT_EQ(pod.ports, (std::vector<ContainerPort>{{.name = "http", .port = 80},
                                                   {.port = 53, .protocol = Protocol::udp},
                                                   {.port = 9000}}));
  EXPECT_EQ(decoded<Pod>(R"({"metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1"}})").ips,
            ips({"10.0.0.1"}));
}

TEST(Codec, ReadsSecretsConfigMapsAndClasses) {
  const auto secret = decoded<Secret>(R"({"metadata": {"name": "s"}, "type": "Opaque",
    "data": {"a": "AAEC", "b": "b2xk"}, "stringData": {"b": "new", "c": "text"}})");
  EXPECT_EQ(secret.type, "Opaque");
  EXPECT_EQ(secret.data, (StringMap{{"a", std::string("\0\1\2", 3)}, {"b", "new"}, {"c", "text"}}));
  const auto map = decoded<ConfigMap>(
      R"({"metadata": {"name": "m"}, "data": {"k": "v"}, "binaryData": {"b": "AAEC"}})");
  EXPECT_EQ(map.data, (StringMap{{"k", "v"}}));
  EXPECT_EQ(decoded<IngressClass>(
                R"({"metadata": {"name": "c"}, "spec": {"controller": "example.com/x"}})")
                .controller,
            "example.com/x");
}

TEST(Codec, DecodesByTheDocumentsOwnType) {
  const auto value = parse_json(
      R"({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "c"}})");
  const auto object = decode(*value);
  ASSERT_TRUE(object);
  EXPECT_EQ(kind_of(*object), Kind::ingress_class);
  EXPECT_EQ(meta_of(*object).key.name, "c");
}

TEST(Codec, DecodesMetadataAlone) {
  const auto value =
      parse_json(R"({"metadata": {"name": "a", "namespace": "n"}, "spec": "garbage"})");
  const auto meta = decode_meta(info(Kind::service), *value);
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->key, (ObjectKey{"n", "a"}));
}

}  // namespace
}  // namespace fairlead::api
