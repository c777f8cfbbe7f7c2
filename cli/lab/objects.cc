#include "cli/lab/objects.h"

#include "base/text.h"

namespace fairlead::cli {
namespace {

json::object meta(std::string_view ns, std::string_view name, json::object labels) {
  json::object out{{"name", name}};
  if (!ns.empty()) out["namespace"] = ns;
  out["labels"] = std::move(labels);
  return out;
}

json::array ready_condition() {
  return {{{"type", "Ready"}, {"status", "True"}, {"reason", "LabReady"}}};
}

json::value node_object(const LabPlan& plan, const LabNode& node) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Node"},
      {"metadata", meta("", node.name,
                        {{lab_label, plan.options.name}, {"kubernetes.io/hostname", node.name}})},
      {"spec",
       {{"podCIDR", node.pods4.to_string()},
        {"podCIDRs", json::array{node.pods4.to_string(), node.pods6.to_string()}}}},
      {"status",
       {{"addresses", json::array{{{"type", "InternalIP"}, {"address", node.v4.to_string()}},
                                  {{"type", "InternalIP"}, {"address", node.v6.to_string()}},
                                  {{"type", "Hostname"}, {"address", node.name}}}},
        {"capacity", {{"cpu", "1"}}},
        {"allocatable", {{"cpu", "1"}}},
        {"conditions", ready_condition()}}}};
}

struct PodFacts {
  std::string ns, name, app, node, image;
  Ip v4, v6, host;
  bool host_network = false;
  json::array ports;
};

json::value pod_object(const LabPlan& plan, PodFacts facts) {
  json::object labels{{lab_label, plan.options.name}, {"app", facts.app}};
  if (facts.app == "fairlead") labels["k8s-app"] = "kube-dns";
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", meta(facts.ns, facts.name, std::move(labels))},
          {"spec",
           {{"nodeName", facts.node},
            {"hostNetwork", facts.host_network},
            {"containers",
             json::array{{{"name", facts.app}, {"image", facts.image}, {"ports", facts.ports}}}}}},
          {"status",
           {{"phase", "Running"},
            {"hostIP", facts.host.to_string()},
            {"podIP", facts.v4.to_string()},
            {"podIPs", json::array{{{"ip", facts.v4.to_string()}}, {{"ip", facts.v6.to_string()}}}},
            {"conditions", ready_condition()},
            {"containerStatuses", json::array{{{"name", facts.app},
                                               {"image", facts.image},
                                               {"imageID", ""},
                                               {"ready", true},
                                               {"restartCount", 0},
                                               {"state", {{"running", json::object{}}}}}}}}}};
}

json::value lab_pod(const LabPlan& plan, const LabPod& pod) {
  const LabNode& node = plan.nodes[pod.node];
  PodFacts facts{"default", pod.name,        pod.backend ? "demo" : "client",
                 node.name, "fairlead/echo", pod.v4,
                 pod.v6,    node.v4};
  if (pod.backend) {
    facts.ports = {{{"name", "http"}, {"containerPort", echo_http_port}, {"protocol", "TCP"}},
                   {{"name", "echo"}, {"containerPort", echo_udp_port}, {"protocol", "UDP"}}};
  }
  return pod_object(plan, std::move(facts));
}

json::value agent_pod(const LabPlan& plan, const LabNode& node) {
  PodFacts facts{"kube-system",
                 cat("fairlead-", node.name),
                 "fairlead",
                 node.name,
                 "fairlead/fairlead",
                 node.v4,
                 node.v6,
                 node.v4,
                 true};
  facts.ports = {{{"name", "dns"}, {"containerPort", 53}, {"protocol", "UDP"}},
                 {{"name", "dns-tcp"}, {"containerPort", 53}, {"protocol", "TCP"}}};
  return pod_object(plan, std::move(facts));
}

json::value port(std::string_view name, std::string_view protocol, int number,
                 std::string_view target) {
  return {{"name", name}, {"protocol", protocol}, {"port", number}, {"targetPort", target}};
}

json::value dns_service() {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", meta("kube-system", "kube-dns",
                            {{"k8s-app", "kube-dns"}, {"kubernetes.io/name", "CoreDNS"}})},
          {"spec",
           {{"clusterIP", lab_dns_ip},
            {"selector", {{"k8s-app", "kube-dns"}}},
            {"ports",
             json::array{port("dns", "UDP", 53, "dns"), port("dns-tcp", "TCP", 53, "dns-tcp")}}}}};
}

json::value demo_service() {
  json::value http = port("http", "TCP", 80, "http");
  http.get_object()["nodePort"] = demo_node_port;
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", meta("default", "demo", {{"app", "demo"}})},
          {"spec",
           {{"type", "NodePort"},
            {"ipFamilyPolicy", "PreferDualStack"},
            {"selector", {{"app", "demo"}}},
            {"ports", json::array{http, port("echo", "UDP", 90, "echo")}}}}};
}

json::value demo_ingress_class() {
  return {{"apiVersion", "networking.k8s.io/v1"},
          {"kind", "IngressClass"},
          {"metadata",
           {{"name", "fairlead"},
            {"annotations", {{"ingressclass.kubernetes.io/is-default-class", "true"}}}}},
          {"spec", {{"controller", "fairlead.io/ingress"}}}};
}

json::value demo_ingress() {
  const json::value backend{{"service", {{"name", "demo"}, {"port", {{"name", "http"}}}}}};
  return {{"apiVersion", "networking.k8s.io/v1"},
          {"kind", "Ingress"},
          {"metadata", meta("default", "demo", {{"app", "demo"}})},
          {"spec",
           {{"ingressClassName", "fairlead"},
            {"rules", json::array{{{"host", "demo.example.test"},
                                   {"http",
                                    {{"paths", json::array{{{"path", "/"},
                                                            {"pathType", "Prefix"},
                                                            {"backend", backend}}}}}}}}}}}};
}

}  // namespace

std::vector<json::value> lab_objects(const LabPlan& plan) {
  std::vector<json::value> objects;
  for (const LabNode& node : plan.nodes) {
    objects.push_back(node_object(plan, node));
    objects.push_back(agent_pod(plan, node));
  }
  for (const LabPod& pod : plan.pods) objects.push_back(lab_pod(plan, pod));
  objects.push_back(dns_service());
  objects.push_back(demo_service());
  objects.push_back(demo_ingress_class());
  objects.push_back(demo_ingress());
  return objects;
}

}  // namespace fairlead::cli
