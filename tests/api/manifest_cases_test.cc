// Manifests as people write them: what is read, or what is wrong, as tests/api/manifests.txt.
// UPDATE_GOLDEN=1 in the environment rewrites what is wanted.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "api/validate.h"
#include "tests/text_cases.h"

namespace fairlead::api {
namespace {

std::string list(const std::vector<Ip>& ips) {
  std::vector<std::string> out;
  for (const Ip& ip : ips) out.push_back(ip.to_string());
  return join(out, ",");
}

std::string text(const IntOrString& value) {
  if (const auto* number = std::get_if<int32_t>(&value)) return cat(*number);
  return std::get<std::string>(value);
}

std::string describe(const Service& service) {
  constexpr std::string_view types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
  std::string out =
      cat("Service ", service.meta.key.to_string(), ' ', types[static_cast<size_t>(service.type)]);
  if (!service.cluster_ips.empty()) out += cat(" ips=", list(service.cluster_ips));
  if (service.headless) out += " headless";
  if (!service.external_name.empty()) out += cat(" name=", service.external_name);
  if (!service.external_ips.empty()) out += cat(" external=", list(service.external_ips));
  if (!service.load_balancer_ips.empty()) out += cat(" lb=", list(service.load_balancer_ips));
  if (service.external_policy == TrafficPolicy::local) out += " external-local";
  if (service.internal_policy == TrafficPolicy::local) out += " internal-local";
  if (service.affinity_timeout_s > 0) out += cat(" affinity=", service.affinity_timeout_s);
  for (const Cidr& range : service.source_ranges) out += cat(" from=", range.to_string());
  if (service.health_check_node_port > 0) out += cat(" health=", service.health_check_node_port);
  if (!service.traffic_distribution.empty()) out += cat(' ', service.traffic_distribution);
  if (service.publish_not_ready) out += " publish-not-ready";
  for (const ServicePort& port : service.ports) {
    out += cat(" [", port.name, ' ', port.port, '/', to_string(port.protocol), "->",
               text(port.target_port), ' ', port.node_port, ']');
  }
  return out;
}

std::string describe(const EndpointSlice& slice) {
  std::string out = cat("EndpointSlice ", slice.meta.key.to_string(), " of ", slice.service, ' ',
                        slice.address_type);
  for (const EndpointPort& port : slice.ports) {
    out += cat(" [", port.name, ' ', port.port ? cat(*port.port) : "all", '/',
               to_string(port.protocol), ']');
  }
  for (const Endpoint& endpoint : slice.endpoints) {
    out += cat(' ', endpoint.addresses[0].to_string(), endpoint.ready ? "" : " unready",
               endpoint.serving ? "" : " unserving", endpoint.terminating ? " terminating" : "");
  }
  return out;
}

std::string describe(const Ingress& ingress) {
  std::string out = cat("Ingress ", ingress.meta.key.to_string(), " class=", ingress.class_name);
  const auto backend = [](const IngressBackend& to) {
    return cat(to.service, ':', to.port_name.empty() ? cat(to.port_number) : to.port_name);
  };
  if (ingress.default_backend) out += cat(" default=", backend(*ingress.default_backend));
  for (const IngressRule& rule : ingress.rules) {
    for (const IngressPath& path : rule.paths) {
      out += cat(" [", rule.host, path.path, ' ', static_cast<int>(path.type), ' ',
                 backend(path.backend), ']');
    }
  }
  return out;
}

std::string describe(const Secret& secret) {
  std::string out = cat("Secret ", secret.meta.key.to_string(), ' ', secret.type);
  for (const auto& [key, bytes] : secret.data) out += cat(" [", key, ' ', bytes, ']');
  return out;
}

template <class Any>
std::string describe(const Any& other) {
  return other.meta.key.to_string();
}

std::string read(const std::string& yaml) {
  static const Schema schema = *Schema::load();
  Manifests manifests;
  read_manifests(yaml, "f", schema, manifests);
  const auto more = semantic_problems(manifests);
  manifests.problems.insert(manifests.problems.end(), more.begin(), more.end());
  std::string out;
  for (const auto& located : manifests.objects) {
    out += std::visit([](const auto& object) { return describe(*object); }, located.object) + "\n";
  }
  if (manifests.other_kinds > 0) out += cat("others: ", manifests.other_kinds, '\n');
  for (const Problem& problem : manifests.problems) out += problem.to_string() + "\n";
  return std::string(trim(out));
}

class ManifestCases : public testing::TestWithParam<TextCase> {};

TEST_P(ManifestCases, AreReadOrRefused) {
  const std::string got = read(GetParam().sections.at("file"));
  if (getenv("UPDATE_GOLDEN") != nullptr) return rewrite_section(GetParam(), "want", got);
  EXPECT_EQ(got, GetParam().text("want"));
}

INSTANTIATE_TEST_SUITE_P(Table, ManifestCases, testing::ValuesIn(read_cases("api/manifests.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

}  // namespace
}  // namespace fairlead::api
