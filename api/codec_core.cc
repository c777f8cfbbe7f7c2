#include <algorithm>

#include "api/codec_parts.h"
#include "api/quantity.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr int64_t max_port = 65535;

// status.conditions[type == Ready].status == True
bool read_ready(const Reader& status) {
  bool ready = false;
  status.each("conditions", [&](const Reader& condition) {
    if (condition.string("type") == "Ready") ready = condition.string("status") == "True";
  });
  return ready;
}

// Named ports are what a Service with a named targetPort resolves to (Service "targetPort").
void read_container_ports(const Reader& container, std::vector<ContainerPort>& into) {
  container.each("ports", [&](const Reader& port) {
    into.push_back({
        .name = port.string("name"),
        .port = static_cast<int32_t>(port.integer("containerPort", 1, max_port)),
        .protocol = port.protocol("protocol"),
    });
  });
}

// What cannot be read counts as not said: nothing but topology hints depends on it.
int64_t read_cpu_millis(const Reader& status) {
  constexpr double most_cores = 1e6;
  double cores = 0;
  status.each_member("allocatable", [&](std::string_view name, const json::value& value) {
    if (name != "cpu") return;
    if (value.is_string()) cores = parse_quantity(value.get_string()).value_or(0);
    if (value.is_number()) cores = value.to_number<double>();
  });
  return static_cast<int64_t>(std::clamp(cores, 0.0, most_cores) * 1000 + 0.5);
}

}  // namespace

Namespace read_namespace(const Reader&, Meta meta) { return {.meta = std::move(meta)}; }

// Only addresses of type InternalIP: NodePorts and the "is it this node" test use them. podCIDRs
// has been the plural of podCIDR since dual stack (KEP-563); old nodes have only the singular.
Node read_node(const Reader& document, Meta meta) {
  Node node{.meta = std::move(meta)};
  const Reader spec = document.object("spec");
  std::vector<std::string> cidrs = spec.strings("podCIDRs");
  if (std::string one = spec.string("podCIDR"); cidrs.empty() && !one.empty()) {
    cidrs.push_back(std::move(one));
  }
  for (const std::string& text : cidrs) {
    if (const auto cidr = Cidr::parse(text)) {
      node.pod_cidrs.push_back(*cidr);
    } else {
      spec.fail("podCIDRs", cat('\'', text, "' is not ADDRESS/BITS"));
    }
  }
  spec.each("taints", [&](const Reader& taint) { node.taints.push_back(taint.string("key")); });
  if (const auto zone = node.meta.labels.find("topology.kubernetes.io/zone");
      zone != node.meta.labels.end()) {
    node.zone = zone->second;
  }
  const Reader status = document.object("status");
  status.each("addresses", [&](const Reader& address) {
    if (address.string("type") != "InternalIP") return;
    if (const auto ip = address.ip("address")) node.internal_ips.push_back(*ip);
  });
  node.ready = read_ready(status);
  node.cpu_millis = read_cpu_millis(status);
  return node;
}

// status.podIPs is the list since dual stack, podIP its first entry; fakes often set only the
// latter.
Pod read_pod(const Reader& document, Meta meta) {
  Pod pod{.meta = std::move(meta)};
  const Reader spec = document.object("spec");
  pod.node_name = spec.string("nodeName");
  pod.hostname = spec.string("hostname");
  pod.subdomain = spec.string("subdomain");
  pod.host_network = spec.boolean("hostNetwork", false);
  spec.each("containers", [&](const Reader& c) { read_container_ports(c, pod.ports); });
  spec.each("initContainers", [&](const Reader& c) {
    // Sidecars (KEP-753) serve as long as the pod does; other init containers never do.
    if (c.string("restartPolicy") == "Always") read_container_ports(c, pod.ports);
  });
  const Reader status = document.object("status");
  pod.phase = status.string("phase");
  status.each("podIPs", [&](const Reader& entry) {
    if (const auto ip = entry.ip("ip")) pod.ips.push_back(*ip);
  });
  if (pod.ips.empty()) {
    if (const auto ip = status.ip("podIP")) pod.ips.push_back(*ip);
  }
  pod.ready = read_ready(status);
  return pod;
}

// stringData is write-only in the API server, which folds it into data; files have it still, and it
// wins over data there too.
Secret read_secret(const Reader& document, Meta meta) {
  Secret secret{.meta = std::move(meta)};
  secret.type = document.string("type");
  for (auto& [key, text] : document.string_map("data")) {
    if (auto bytes = base64_decode(text)) {
      secret.data.emplace(key, *std::move(bytes));
    } else {
      document.fail(cat("data[", key, ']'), "is not base64");
    }
  }
  for (auto& [key, text] : document.string_map("stringData")) secret.data[key] = text;
  return secret;
}

ConfigMap read_config_map(const Reader& document, Meta meta) {
  return {.meta = std::move(meta), .data = document.string_map("data")};
}

}  // namespace fairlead::api
