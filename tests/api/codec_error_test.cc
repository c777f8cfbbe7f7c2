// Every way that a document can be wrong, as a table: the document and the message.
#include <gtest/gtest.h>

#include "api/codec.h"

namespace fairlead::api {
namespace {

struct Case {
  std::string_view document;
  std::string_view error;
};

std::string decode_error(std::string_view document) {
  const auto value = parse_json(document);
  if (!value) return "bad test: " + value.error().message;
  const auto object = decode(*value);
  return object ? "no error" : object.error().message;
}

void run(std::initializer_list<Case> cases) {
  for (const Case& c : cases) EXPECT_EQ(decode_error(c.document), c.error) << c.document;
}

TEST(CodecErrors, TypeAndName) {
  run({
      {R"([])", "expected an object, found a list"},
      {R"({})", "apiVersion: missing"},
      {R"({"apiVersion": "v1"})", "kind: missing"},
      {R"({"apiVersion": "apps/v1", "kind": "Deployment"})",
       "kind: 'Deployment' of 'apps/v1' is not a kind that fairlead reads"},
      {R"({"apiVersion": "v1", "kind": "Pod"})", "Pod without a name: metadata.name: missing"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": 7})",
       "Pod without a name: metadata: expected an object, found an integer"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 7}})",
       "Pod without a name: metadata.name: expected a string, found an integer"},
      {R"({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": []}})",
       "Node a: metadata.labels: expected an object, found a list"},
      {R"({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": {"k": true}}})",
       "Node a: metadata.labels[k]: expected a string, found a boolean"},
  });
}

std::string service(std::string_view spec, std::string_view status = "{}") {
  return R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": )" +
         std::string(spec) + R"(, "status": )" + std::string(status) + "}";
}

TEST(CodecErrors, Service) {
  const std::string_view specs[][2] = {
      {R"({"type": "Nodeport"})",
       "spec.type: expected one of ClusterIP, NodePort, LoadBalancer, ExternalName"},
      {R"({"type": "ExternalName"})", "spec.externalName: missing"},
      {R"({"ports": [{"port": 70000}]})", "spec.ports[0].port: 70000 is not in 1..65535"},
      {R"({"ports": [{"port": 80}, {"port": 0}]})", "spec.ports[1].port: 0 is not in 1..65535"},
      {R"({"ports": [{"port": "80"}]})", "spec.ports[0].port: expected an integer, found a string"},
      {R"({"ports": [{"port": 1.5}]})", "spec.ports[0].port: expected an integer, found a number"},
      {R"({"ports": [{"port": 18446744073709551615}]})",
       "spec.ports[0].port: 18446744073709551615 is not in 1..65535"},
      {R"({"ports": [{"name": "x"}]})", "spec.ports[0].port: missing"},
      {R"({"ports": [80]})", "spec.ports[0]: expected an object, found an integer"},
      {R"({"ports": {}})", "spec.ports: expected a list, found an object"},
      {R"({"ports": [{"port": 80, "protocol": "tcp"}]})",
       "spec.ports[0].protocol: 'tcp' is not TCP, UDP or SCTP"},
      {R"({"ports": [{"port": 80, "nodePort": -1}]})",
       "spec.ports[0].nodePort: -1 is not in 0..65535"},
      {R"({"ports": [{"port": 80, "targetPort": 65536}]})",
       "spec.ports[0].targetPort: 65536 is not in 0..65535"},
      {R"({"ports": [{"port": 80, "targetPort": true}]})",
       "spec.ports[0].targetPort: expected an integer, found a boolean"},
      {R"({"clusterIP": "10.0.0"})", "spec.clusterIP: '10.0.0' is neither an IP address nor None"},
      {R"({"clusterIPs": ["10.0.0.1", "none"]})",
       "spec.clusterIPs[1]: 'none' is neither an IP address nor None"},
      {R"({"clusterIPs": ["10.0.0.1", "None"]})", "spec.clusterIPs: None excludes addresses"},
      {R"({"externalIPs": ["1.2.3.4", "x"]})", "spec.externalIPs[1]: 'x' is not an IP address"},
      {R"({"externalIPs": [1]})", "spec.externalIPs[0]: expected an IP address, found an integer"},
      {R"({"externalTrafficPolicy": "local"})",
       "spec.externalTrafficPolicy: expected one of Cluster, Local"},
      {R"({"internalTrafficPolicy": 1})",
       "spec.internalTrafficPolicy: expected a string, found an integer"},
      {R"({"sessionAffinity": "Cookie"})", "spec.sessionAffinity: expected one of None, ClientIP"},
      {R"({"sessionAffinity": "ClientIP",
           "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}})",
       "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not in 1..86400"},
      {R"({"publishNotReadyAddresses": "yes"})",
       "spec.publishNotReadyAddresses: expected true or false, found a string"},
      {R"({"selector": {"app": 1}})", "spec.selector[app]: expected a string, found an integer"},
  };
  for (const auto& [spec, error] : specs) {
    EXPECT_EQ(decode_error(service(spec)), "Service default/web: " + std::string(error)) << spec;
  }
  EXPECT_EQ(decode_error(service("{}", R"({"loadBalancer": {"ingress": [{"ip": "lb.example"}]}})")),
            "Service default/web: status.loadBalancer.ingress[0].ip: 'lb.example' is not an IP "
            "address");
}

TEST(CodecErrors, EndpointSlice) {
  const std::string_view tails[][2] = {
      {R"("addressType": "ipv4")", "addressType: expected one of IPv4, IPv6, FQDN"},
      {R"("ports": [])", "addressType: expected one of IPv4, IPv6, FQDN"},
      {R"("addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}])",
       "endpoints[0].addresses: fd00::1 is not of the slice's addressType IPv4"},
      {R"("addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}])",
       "endpoints[0].addresses: 10.0.0.1 is not of the slice's addressType IPv6"},
      {R"("addressType": "IPv4", "endpoints": [{"addresses": []}])",
       "endpoints[0].addresses: expected at least one address"},
      {R"("addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["x"]}])",
       "endpoints[1].addresses[0]: 'x' is not an IP address"},
      {R"("addressType": "IPv4", "endpoints": [{"addresses": ["1.1.1.1"], "conditions": {"ready": 1}}])",
       "endpoints[0].conditions.ready: expected true or false, found an integer"},
      {R"("addressType": "IPv4", "ports": [{"port": 65536}])",
       "ports[0].port: 65536 is not in 0..65535"},
      {R"("addressType": "IPv4", "ports": [{"name": 1}])",
       "ports[0].name: expected a string, found an integer"},
  };
  for (const auto& [tail, error] : tails) {
    const std::string document =
        R"({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "s", "namespace": "n"}, )" +
        std::string(tail) + "}";
    EXPECT_EQ(decode_error(document), "EndpointSlice n/s: " + std::string(error)) << tail;
  }
}

TEST(CodecErrors, Ingress) {
  const std::string_view specs[][2] = {
      {R"({"defaultBackend": {}})",
       "spec.defaultBackend: expected exactly one of service and resource"},
      {R"({"defaultBackend": {"service": {"port": {"number": 80}}}})",
       "spec.defaultBackend.service.name: missing"},
      {R"({"defaultBackend": {"service": {"name": "a"}}})",
       "spec.defaultBackend.service.port: expected either a name or a number from 1 to 65535"},
      {R"({"defaultBackend": {"service": {"name": "a", "port": {"name": "x", "number": 1}}}})",
       "spec.defaultBackend.service.port: expected either a name or a number from 1 to 65535"},
      {R"({"rules": [{"http": {"paths": [{"path": "a"}]}}]})",
       "spec.rules[0].http.paths[0].path: expected an absolute path, beginning with '/'"},
      {R"({"rules": [{"http": {"paths": [{"path": "/"}]}}]})",
       "spec.rules[0].http.paths[0].pathType: missing"},
      {R"({"rules": [{"http": {"paths": [{"path": "/", "pathType": "Regex"}]}}]})",
       "spec.rules[0].http.paths[0].pathType: expected one of Exact, Prefix, "
       "ImplementationSpecific"},
      {R"({"rules": [{"http": {"paths": [{"path": "/", "pathType": "Exact"}]}}]})",
       "spec.rules[0].http.paths[0].backend: missing"},
      {R"({"tls": [{"hosts": "a.example"}]})",
       "spec.tls[0].hosts: expected a list, found a string"},
      {R"({"rules": [null]})", "spec.rules[0]: expected an object, found null"},
  };
  for (const auto& [spec, error] : specs) {
    const std::string document =
        R"({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "i"}, "spec": )" +
        std::string(spec) + "}";
    EXPECT_EQ(decode_error(document), "Ingress default/i: " + std::string(error)) << spec;
  }
}

TEST(CodecErrors, NodesPodsAndMaps) {
  run({
      {R"({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
           "spec": {"podCIDRs": ["10.0.0.0/33"]}})",
       "Node a: spec.podCIDRs: '10.0.0.0/33' is not ADDRESS/BITS"},
      {R"({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
           "status": {"addresses": [{"type": "InternalIP", "address": "a"}]}})",
       "Node a: status.addresses[0].address: 'a' is not an IP address"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
           "spec": {"containers": [{"ports": [{"containerPort": 0}]}]}})",
       "Pod default/a: spec.containers[0].ports[0].containerPort: 0 is not in 1..65535"},
      {R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
           "status": {"podIPs": [{"ip": "10.0.0.300"}]}})",
       "Pod default/a: status.podIPs[0].ip: '10.0.0.300' is not an IP address"},
      {R"({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": 1}})",
       "ConfigMap default/a: data[k]: expected a string, found an integer"},
  });
}

TEST(CodecErrors, NeverQuoteASecret) {
  const std::string error = decode_error(
      R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
          "data": {"password": "hunter2!"}})");
  EXPECT_EQ(error, "Secret default/a: data[password]: is not base64");
}

TEST(CodecErrors, LongAndBinaryValuesAreCutAndCleaned) {
  const std::string error =
      decode_error(service(R"({"externalIPs": ["a\nb)" + std::string(200, 'x') + R"("]})"));
  EXPECT_NE(error.find("'a?bxxx"), std::string::npos) << error;
  EXPECT_NE(error.find("x...'"), std::string::npos) << error;
  EXPECT_LT(error.size(), 200u);
}

}  // namespace
}  // namespace fairlead::api
