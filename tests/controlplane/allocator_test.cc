// ClusterIPs and NodePorts: what a Service gets, and what is refused.
#include <set>

#include "tests/controlplane/allocator_services.h"

namespace fairlead::controlplane {
namespace {

TEST(Allocator, AServiceGetsAnAddressAboveTheStaticBand) {
  // /16: 65,534 addresses, a band of 256; so 10.96.0.1 to 10.96.1.0 are for explicit requests.
  for (uint64_t seed = 0; seed < 200; ++seed) {
    ServiceAllocator allocator(single_stack(), seed);
    json::value object = service(R"({"ports": [{"port": 80}]})");
    ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
    const auto ip = Ip::parse(find_string(object, "spec", "clusterIP"));
    ASSERT_TRUE(ip.has_value());
    EXPECT_GT(*ip, *Ip::parse("10.96.1.0"));
    EXPECT_LT(*ip, *Ip::parse("10.96.255.255"));
    EXPECT_EQ(member(object, "clusterIPs"), cat("[\"", ip->to_string(), "\"]"));
    EXPECT_EQ(member(object, "ipFamilies"), R"(["IPv4"])");
    EXPECT_EQ(member(object, "ipFamilyPolicy"), R"("SingleStack")");
    EXPECT_EQ(allocator.used_addresses(), 1u);
    EXPECT_EQ(allocator.used_ports(), 0u);
  }
}

TEST(Allocator, NodePortsComeFromAboveTheStaticBand) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    ServiceAllocator allocator(single_stack(), seed);
    for (size_t i = 1; i <= 100; ++i) {
      json::value object = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
      ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
      EXPECT_GE(node_port(object, 0), 30086);  // 2,768 ports, a band of 86
      EXPECT_LE(node_port(object, 0), 32767);
      EXPECT_EQ(allocator.used_ports(), i);
    }
  }
}

TEST(Allocator, TheStaticBandIsUsedWhenTheRestIsFull) {
  ServiceAllocator allocator({{*Cidr::parse("10.96.0.0/27")}, 30000, 30019});
  std::set<std::string> seen;
  std::set<int64_t> ports;
  for (int i = 0; i < 20; ++i) {
    json::value object = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
    ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]") << i;
    EXPECT_TRUE(seen.emplace(find_string(object, "spec", "clusterIP")).second);
    EXPECT_TRUE(ports.insert(node_port(object, 0)).second);
    if (i < 4) {
      EXPECT_GE(node_port(object, 0), 30016);
    }
  }
  json::value object = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
  const auto full = allocator.assign(object, nullptr);
  EXPECT_EQ(to_string(full),
            "spec.ports[0].nodePort: Internal error: failed to allocate a nodePort: range is full");
  EXPECT_EQ(full[0].reason, "InternalError");
  EXPECT_EQ(allocator.used_addresses(), 20u) << "a refused service took an address";
  for (int i = 0; i < 10; ++i) {
    json::value next = service(R"({"ports": [{"port": 80}]})");
    ASSERT_EQ(to_string(allocator.assign(next, nullptr)), "[]") << i;
  }
  json::value last = service(R"({"ports": [{"port": 80}]})");
  EXPECT_EQ(to_string(allocator.assign(last, nullptr)),
            "spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full");
}

TEST(Allocator, AddressesOfTheBandAreGivenLast) {
  ServiceAllocator allocator({{*Cidr::parse("10.96.0.0/24")}, 30000, 32767});
  const auto next = [&] {
    json::value object = service(R"({"ports": [{"port": 80}]})");
    EXPECT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
    return *Ip::parse(find_string(object, "spec", "clusterIP"));
  };
  const Cidr band = *Cidr::parse("10.96.0.0/28");  // the first 16 of 254
  for (int i = 0; i < 238; ++i) EXPECT_FALSE(band.contains(next())) << i;
  std::set<Ip> rest;
  for (int i = 0; i < 16; ++i) rest.insert(next());
  EXPECT_EQ(rest.size(), 16u);
  EXPECT_EQ(*rest.begin(), *Ip::parse("10.96.0.1"));
  EXPECT_EQ(allocator.used_addresses(), 254u);
  json::value one_more = service(R"({"ports": [{"port": 80}]})");
  const auto errors = allocator.assign(one_more, nullptr);
  EXPECT_EQ(to_string(errors),
            "spec.clusterIPs: Internal error: failed to allocate a serviceIP: range is full");
  EXPECT_EQ(errors[0].reason, "InternalError");
}

struct Case {
  std::string_view name, spec, error;  // error "": it must succeed
  std::string_view families = {}, policy = {};
  std::string_view ips = {};  // "": whichever, one of each family
};

class Requests : public testing::TestWithParam<Case> {};

const Case kDualStack[] = {
    {"ExplicitAddress", R"({"clusterIP": "10.96.0.10", "ports": [{"port": 80}]})", "",
     R"(["IPv4"])", R"("SingleStack")", R"(["10.96.0.10"])"},
    {"TakenAddress", R"({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]})",
     R"(spec.clusterIPs: Invalid value: []string{"10.96.0.1"}: failed to allocate IP 10.96.0.1: )"
     "provided IP is already allocated"},
    {"ForeignAddress", R"({"clusterIP": "192.168.0.1", "ports": [{"port": 80}]})",
     R"(spec.clusterIPs: Invalid value: []string{"192.168.0.1"}: failed to allocate IP )"
     "192.168.0.1: the provided IP (192.168.0.1) is not in the valid range. The range of valid IPs "
     "is 10.96.0.0/16"},
    {"NetworkAddress", R"({"clusterIP": "10.96.0.0", "ports": [{"port": 80}]})",
     R"(spec.clusterIPs: Invalid value: []string{"10.96.0.0"}: failed to allocate IP 10.96.0.0: )"
     "the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is "
     "10.96.0.0/16"},
    {"BroadcastAddress", R"({"clusterIP": "10.96.255.255", "ports": [{"port": 80}]})",
     R"(spec.clusterIPs: Invalid value: []string{"10.96.255.255"}: failed to allocate IP )"
     "10.96.255.255: the provided IP (10.96.255.255) is not in the valid range. The range of valid "
     "IPs is 10.96.0.0/16"},
    {"Ipv6", R"({"ipFamilies": ["IPv6"], "clusterIP": "fd00:96::7", "ports": [{"port": 80}]})", "",
     R"(["IPv6"])", R"("SingleStack")", R"(["fd00:96::7"])"},
    {"FamilyOfTheAddress", R"({"clusterIP": "fd00:96::8", "ports": [{"port": 80}]})", "",
     R"(["IPv6"])", R"("SingleStack")", R"(["fd00:96::8"])"},
    {"Default", R"({"ports": [{"port": 80}]})", "", R"(["IPv4"])", R"("SingleStack")"},
    {"AnyIpv6", R"({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]})", "", R"(["IPv6"])",
     R"("SingleStack")"},
    {"BothPreferred", R"({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]})", "",
     R"(["IPv4","IPv6"])", R"("PreferDualStack")"},
    {"BothRequiredIpv6First",
     R"({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"], "ports": [{"port": 80}]})",
     "", R"(["IPv6","IPv4"])", R"("RequireDualStack")"},
    {"BothAddresses",
     R"({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd00:96::8",
         "clusterIPs": ["fd00:96::8", "10.96.0.8"], "ports": [{"port": 80}]})",
     "", R"(["IPv6","IPv4"])", R"("RequireDualStack")", R"(["fd00:96::8","10.96.0.8"])"},
    {"TwoFamiliesNeedAPolicy", R"({"ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80}]})",
     "spec.ipFamilyPolicy: Invalid value: null: must be 'RequireDualStack' or 'PreferDualStack' "
     "when two IP families or cluster IPs are specified"},
    {"Headless", R"({"clusterIP": "None", "selector": {"a": "b"}})", "", R"(["IPv4"])",
     R"("SingleStack")", R"(["None"])"},
    {"HeadlessOfBothFamilies",
     R"({"clusterIP": "None", "selector": {"a": "b"}, "ipFamilyPolicy": "PreferDualStack"})", "",
     R"(["IPv4","IPv6"])", R"("PreferDualStack")", R"(["None"])"},
    {"HeadlessWithoutSelector", R"({"clusterIP": "None"})", "", R"(["IPv4","IPv6"])",
     R"("RequireDualStack")", R"(["None"])"},
    {"ExternalName", R"({"type": "ExternalName", "externalName": "a.example"})", "", "absent",
     "absent", "absent"},
    {"ExplicitNodePort",
     R"({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30001}]})",
     "", R"(["IPv4"])", R"("SingleStack")", R"(["10.96.0.9"])"},
    {"TakenNodePort", R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]})",
     "spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated"},
    {"NodePortOutOfRange", R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]})",
     "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The "
     "range of valid ports is 30000-32767"},
    {"NodePortJustBelow", R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]})",
     "spec.ports[0].nodePort: Invalid value: 29999: provided port is not in the valid range. The "
     "range of valid ports is 30000-32767"},
    {"TakenHealthPort",
     R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30000,
         "ports": [{"port": 80}]})",
     "spec.healthCheckNodePort: Invalid value: 30000: provided port is already allocated"},
};

TEST_P(Requests, AreGrantedOrRefused) {
  const Case& test = GetParam();
  ServiceAllocator allocator(dual_stack());
  json::value first = service(
      R"({"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [{"port": 443, "nodePort": 30000}]})");
  ASSERT_EQ(to_string(allocator.assign(first, nullptr)), "[]");
  json::value object = service(test.spec);
  const auto errors = allocator.assign(object, nullptr);
  if (!test.error.empty()) {
    EXPECT_EQ(to_string(errors), test.error);
    EXPECT_EQ(allocator.used_addresses(), 1u);
    EXPECT_EQ(allocator.used_ports(), 1u);
    return;
  }
  ASSERT_EQ(to_string(errors), "[]");
  EXPECT_EQ(member(object, "ipFamilies"), test.families);
  EXPECT_EQ(member(object, "ipFamilyPolicy"), test.policy);
  const std::vector<std::string> ips = strings_at(service_spec(object.get_object()), "clusterIPs");
  if (test.ips.empty())
    EXPECT_EQ(ips.size(), find(object, "spec", "ipFamilies")->get_array().size());
  else
    EXPECT_EQ(member(object, "clusterIPs"), test.ips);
  const bool none = ips.empty() || ips[0] == "None";
  EXPECT_EQ(allocator.used_addresses(), 1u + (none ? 0 : ips.size()));
  allocator.release(object);
  EXPECT_EQ(allocator.used_addresses(), 1u);
  EXPECT_EQ(allocator.used_ports(), 1u);
}
INSTANTIATE_TEST_SUITE_P(Table, Requests, testing::ValuesIn(kDualStack),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(Allocator, AClusterOfOneFamily) {
  ServiceAllocator allocator(single_stack());
  json::value preferred =
      service(R"({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]})");
  EXPECT_EQ(to_string(allocator.assign(preferred, nullptr)), "[]");
  EXPECT_EQ(member(preferred, "ipFamilies"), R"(["IPv4"])");
  json::value required =
      service(R"({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]})");
  EXPECT_EQ(to_string(allocator.assign(required, nullptr)),
            R"(spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not )"
            "configured for dual-stack services");
  json::value other = service(R"({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]})");
  EXPECT_EQ(to_string(allocator.assign(other, nullptr)),
            R"(spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster)");
  EXPECT_EQ(allocator.used_addresses(), 1u) << "a refused service took an address";
}

TEST(Allocator, PortsOfTwoProtocolsShareANodePort) {
  ServiceAllocator allocator(single_stack());
  json::value object = service(
      R"({"type": "NodePort", "ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53,
          "protocol": "UDP"}, {"name": "c", "port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
  EXPECT_EQ(node_port(object, 0), node_port(object, 1));
  EXPECT_NE(node_port(object, 0), node_port(object, 2));
  EXPECT_EQ(allocator.used_ports(), 2u);
}

TEST(Allocator, AnExplicitPortIsNotGivenToItsNeighbour) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ServiceAllocator allocator({{*Cidr::parse("10.96.0.0/24")}, 30000, 30001}, seed);
    json::value object = service(
        R"({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81,
            "nodePort": 30001}]})");
    ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
    EXPECT_EQ(node_port(object, 0), 30000);
  }
}

TEST(Allocator, LoadBalancersMayGoWithoutNodePorts) {
  ServiceAllocator allocator(single_stack());
  json::value object = service(
      R"({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
  EXPECT_EQ(allocator.used_ports(), 0u);
  json::value local = service(
      R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(local, nullptr)), "[]");
  EXPECT_EQ(allocator.used_ports(), 2u);
  EXPECT_NE(member(local, "healthCheckNodePort"), "absent");
  json::value neither = service(
      R"({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
          "externalTrafficPolicy": "Local", "ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(neither, nullptr)), "[]");
  EXPECT_EQ(node_port(neither, 0), 0);
  EXPECT_GE(find(neither, "spec", "healthCheckNodePort")->get_int64(), 30000);
  EXPECT_EQ(allocator.used_ports(), 3u);
}

// One number cannot be two listeners of a node.
TEST(Allocator, AHealthCheckPortIsNoNodePort) {
  ServiceAllocator allocator(single_stack());
  const auto errors = [&](std::string_view spec, const json::value* old) {
    json::value next = service(spec);
    if (old == nullptr) return to_string(allocator.assign(next, nullptr));
    Admitted admitted = admit_update("v1", "Service", *old, next);
    EXPECT_EQ(to_string(admitted.errors), "[]");
    return to_string(allocator.assign(admitted.object, old));
  };
  EXPECT_EQ(errors(R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                       "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30001}]})",
                   nullptr),
            "spec.healthCheckNodePort: Invalid value: 30001: provided port is already allocated");
  json::value old = service(R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
      "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30002}]})");
  ASSERT_EQ(to_string(allocator.assign(old, nullptr)), "[]");
  EXPECT_EQ(errors(R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                       "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30001}]})",
                   &old),
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated");
  // Both may be said again.
  EXPECT_EQ(errors(R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                       "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30002}]})",
                   &old),
            "[]");
  EXPECT_EQ(allocator.used_ports(), 2u);
}

}  // namespace
}  // namespace fairlead::controlplane
