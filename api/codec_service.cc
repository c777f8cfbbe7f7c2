#include "api/codec_parts.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr int64_t max_port = 65535;
constexpr uint32_t default_affinity_s = 10800;  // core/v1 DefaultClientIPServiceAffinitySeconds
constexpr uint32_t max_affinity_s = 86400;      // core/v1 MaxClientIPServiceAffinitySeconds

// A targetPort of 0 or none means "same as port", as the API server defaults it; files may lack it.
ServicePort read_port(const Reader& port) {
  ServicePort out;
  out.name = port.string("name");
  out.protocol = port.protocol("protocol");
  if (!port.has("port")) port.fail("port", "missing");
  out.port = static_cast<uint16_t>(port.integer("port", 1, max_port));
  out.node_port = static_cast<uint16_t>(port.integer("nodePort", 0, max_port));
  out.target_port = port.int_or_string("targetPort", 0, max_port);
  out.app_protocol = port.string("appProtocol");
  return out;
}

// clusterIPs is the whole list and clusterIP its first entry (KEP-563). "None" stands alone:
// headless.
void read_cluster_ips(const Reader& spec, Service& service) {
  std::vector<std::string> texts = spec.strings("clusterIPs");
  const bool listed = !texts.empty();
  if (std::string one = spec.string("clusterIP"); !listed && !one.empty()) {
    texts.push_back(std::move(one));
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i] == "None") {
      service.headless = true;
    } else if (const auto ip = Ip::parse(texts[i])) {
      service.cluster_ips.push_back(*ip);
    } else if (!texts[i].empty()) {
      spec.fail(listed ? cat("clusterIPs[", i, ']') : "clusterIP",
                cat('\'', texts[i], "' is neither an IP address nor None"));
    }
  }
  if (service.headless && !service.cluster_ips.empty()) {
    spec.fail("clusterIPs", "None excludes addresses");
  }
}

uint32_t read_affinity(const Reader& spec) {
  const bool client_ip =
      read_word<bool>(spec, "sessionAffinity", {{"None", false}, {"ClientIP", true}}, false);
  if (!client_ip) return 0;
  const Reader config = spec.object("sessionAffinityConfig");
  return static_cast<uint32_t>(
      config.object("clientIP").integer("timeoutSeconds", 1, max_affinity_s, default_affinity_s));
}

TrafficPolicy read_policy(const Reader& spec, std::string_view field) {
  return read_word<TrafficPolicy>(
      spec, field, {{"Cluster", TrafficPolicy::cluster}, {"Local", TrafficPolicy::local}},
      TrafficPolicy::cluster);
}

// White space around a range is tolerated, as the API server does.
std::vector<Cidr> read_source_ranges(const Reader& spec) {
  std::vector<Cidr> ranges;
  for (const std::string& text : spec.strings("loadBalancerSourceRanges")) {
    if (const auto range = Cidr::parse(trim(text))) {
      ranges.push_back(*range);
    } else {
      spec.fail("loadBalancerSourceRanges", cat('\'', text, "' is not ADDRESS/BITS"));
    }
  }
  return ranges;
}

}  // namespace

Service read_service(const Reader& document, Meta meta) {
  Service service{.meta = std::move(meta)};
  const Reader spec = document.object("spec");
  service.type = read_word<ServiceType>(spec, "type",
                                        {{"ClusterIP", ServiceType::cluster_ip},
                                         {"NodePort", ServiceType::node_port},
                                         {"LoadBalancer", ServiceType::load_balancer},
                                         {"ExternalName", ServiceType::external_name}},
                                        ServiceType::cluster_ip);
  // An ExternalName Service may carry a clusterIP from an earlier life, which the API ignores.
  service.external_name = spec.string("externalName");
  if (service.type == ServiceType::external_name) {
    if (service.external_name.empty()) spec.fail("externalName", "missing");
  } else {
    read_cluster_ips(spec, service);
  }
  spec.each("ports", [&](const Reader& port) { service.ports.push_back(read_port(port)); });
  service.selector = spec.string_map("selector");
  service.external_ips = spec.ips("externalIPs");
  service.source_ranges = read_source_ranges(spec);
  service.health_check_node_port =
      static_cast<uint16_t>(spec.integer("healthCheckNodePort", 0, 65535));
  const Reader status = document.object("status");
  status.object("loadBalancer").each("ingress", [&](const Reader& ingress) {
    // KEP-1860: Proxy means that the balancer wants the traffic itself.
    const bool vip = read_word<bool>(ingress, "ipMode", {{"VIP", true}, {"Proxy", false}}, true);
    const auto ip = ingress.ip("ip");
    if (vip && ip) service.load_balancer_ips.push_back(*ip);
  });
  service.external_policy = read_policy(spec, "externalTrafficPolicy");
  service.internal_policy = read_policy(spec, "internalTrafficPolicy");
  service.affinity_timeout_s = read_affinity(spec);
  service.traffic_distribution = spec.string("trafficDistribution");
  service.ip_families = spec.strings("ipFamilies");
  service.publish_not_ready = spec.boolean("publishNotReadyAddresses", false);
  return service;
}

}  // namespace fairlead::api
