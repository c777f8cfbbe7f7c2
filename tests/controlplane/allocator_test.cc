// ClusterIPs and NodePorts: what a Service gets, what is refused, and that nothing leaks.
#include "controlplane/objects/allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

AllocatorConfig dual_stack() {
  return {{*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd00:96::/112")}, 30000, 32767};
}
AllocatorConfig single_stack() { return {{*Cidr::parse("10.96.0.0/16")}, 30000, 32767}; }

json::value service(std::string_view spec) {
  auto parsed = parse_json(spec);
  EXPECT_TRUE(parsed.has_value()) << spec;
  json::object document{{"apiVersion", "v1"},
                        {"kind", "Service"},
                        {"metadata", json::object{{"name", "web"}, {"namespace", "default"}}},
                        {"spec", *parsed}};
  Admitted admitted = admit_create("v1", "Service", std::move(document));
  EXPECT_EQ(to_string(admitted.errors), "[]");
  return admitted.object;
}

std::string member(const json::value& object, std::string_view key) {
  const json::value* found = find(object, "spec", key);
  return found == nullptr ? "absent" : json::serialize(*found);
}

int64_t node_port(const json::value& object, size_t i) {
  return integer_at(find(object, "spec", "ports")->get_array()[i].get_object(), "nodePort")
      .value_or(0);
}

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
  for (uint64_t seed = 0; seed < 200; ++seed) {
    ServiceAllocator allocator(single_stack(), seed);
    json::value object = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
    ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
    EXPECT_GE(node_port(object, 0), 30086);  // 2,768 ports, a band of 86
    EXPECT_LE(node_port(object, 0), 32767);
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

struct Case {
  std::string_view name, spec, error;  // error "": it must succeed
  std::string_view families = {}, policy = {}, ips = {};
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
     "range "
     "of valid ports is 30000-32767"},
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
  EXPECT_EQ(member(object, "clusterIPs"), test.ips);
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
}

json::value update(ServiceAllocator& allocator, const json::value& old, std::string_view spec) {
  json::value next = old;
  next.get_object()["spec"] = *parse_json(spec);
  Admitted admitted = admit_update("v1", "Service", old, next);
  EXPECT_EQ(to_string(admitted.errors), "[]");
  EXPECT_EQ(to_string(allocator.assign(admitted.object, &old)), "[]");
  return admitted.object;
}

TEST(Allocator, ChangesOfTypeTakeAndFree) {
  ServiceAllocator allocator(dual_stack());
  json::value object = service(R"({"ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(object, nullptr)), "[]");
  const std::string ip(find_string(object, "spec", "clusterIP"));

  object = update(allocator, object, R"({"type": "NodePort", "ports": [{"port": 80}]})");
  EXPECT_EQ(find_string(object, "spec", "clusterIP"), ip);
  EXPECT_EQ(allocator.used_ports(), 1u);
  const int64_t port = node_port(object, 0);

  object = update(allocator, object,
                  R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                      "ports": [{"port": 80}]})");
  EXPECT_EQ(node_port(object, 0), port);
  EXPECT_EQ(allocator.used_ports(), 2u);

  object = update(allocator, object,
                  R"({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]})");
  EXPECT_EQ(allocator.used_ports(), 0u);
  EXPECT_EQ(allocator.used_addresses(), 2u);
  EXPECT_EQ(find_string(object, "spec", "clusterIP"), ip);
  EXPECT_EQ(member(object, "ipFamilies"), R"(["IPv4","IPv6"])");

  json::value single = *find(object, "spec");
  single.get_object()["ipFamilyPolicy"] = "SingleStack";
  object = update(allocator, object, json::serialize(single));
  EXPECT_EQ(allocator.used_addresses(), 1u);

  object = update(allocator, object, R"({"type": "ExternalName", "externalName": "a.example"})");
  EXPECT_EQ(allocator.used_addresses(), 0u);
  object = update(allocator, object, R"({"ports": [{"port": 80}]})");
  EXPECT_EQ(allocator.used_addresses(), 1u);
  allocator.release(object);
  EXPECT_EQ(allocator.used_addresses() + allocator.used_ports(), 0u);
}

TEST(Allocator, ARevertedWriteLeavesNoTrace) {
  ServiceAllocator allocator(dual_stack());
  json::value old = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(old, nullptr)), "[]");
  json::value next = update(
      allocator, old,
      R"({"type": "NodePort", "ports": [{"name": "a", "port": 81}, {"name": "b", "port": 82}]})");
  EXPECT_EQ(allocator.used_ports(), 2u);
  allocator.revert(next, &old);
  EXPECT_EQ(allocator.used_ports(), 1u);
  EXPECT_EQ(allocator.used_addresses(), 1u);
  json::value taken = service(
      cat(R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": )", node_port(old, 0), "}]}"));
  EXPECT_FALSE(allocator.assign(taken, nullptr).empty());
  json::value created = service(R"({"ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(created, nullptr)), "[]");
  allocator.revert(created, nullptr);
  EXPECT_EQ(allocator.used_addresses(), 1u);
}

TEST(Allocator, WhatTheStoreHoldsIsTaken) {
  ServiceAllocator allocator(dual_stack());
  allocator.adopt(*parse_json(
      R"({"spec": {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5", "fd00:96::5"],
          "type": "NodePort", "ports": [{"port": 80, "nodePort": 31000}, {"port": 81}]}})"));
  allocator.adopt(*parse_json(R"({"spec": {"clusterIP": "192.0.2.1"}})"));  // of another range
  allocator.adopt(*parse_json(R"({"spec": {"clusterIP": "None"}})"));
  allocator.adopt(json::value(nullptr));
  EXPECT_EQ(allocator.used_addresses(), 2u);
  EXPECT_EQ(allocator.used_ports(), 1u);
  json::value object = service(R"({"clusterIP": "fd00:96::5", "ports": [{"port": 80}]})");
  EXPECT_THAT(to_string(allocator.assign(object, nullptr)),
              testing::HasSubstr("provided IP is already allocated"));
}

// Random creates, updates, deletes and reverted writes against a model: what the live Services name
// is what is taken, and no two of them share anything.
class RandomServices {
 public:
  explicit RandomServices(uint32_t seed)
      : random_(seed),
        allocator_({{*Cidr::parse("10.96.0.0/26"), *Cidr::parse("fd00:96::/122")}, 30000, 30059},
                   seed) {}

  void step() {
    const size_t action = pick(4);
    if (action == 0 && !live_.empty()) {
      const size_t at = pick(live_.size());
      allocator_.release(live_[at]);
      live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      write(action == 1 && !live_.empty());
    }
  }

  void check() const {
    std::set<std::string> addresses;
    std::set<int64_t> ports;
    for (const json::value& object : live_) {
      const json::object& held = service_spec(object.get_object());
      for (const std::string& ip : strings_at(held, "clusterIPs"))
        ASSERT_TRUE(addresses.insert(ip).second) << ip << " twice";
      for (int64_t port : ports_of(held)) ASSERT_TRUE(ports.insert(port).second) << port;
    }
    ASSERT_EQ(allocator_.used_addresses(), addresses.size());
    ASSERT_EQ(allocator_.used_ports(), ports.size());
  }

 private:
  size_t pick(size_t n) { return static_cast<size_t>(random_() % n); }

  static std::set<int64_t> ports_of(const json::object& spec) {
    std::set<int64_t> out;
    if (const json::array* list = array_at(spec, "ports"))
      for (const json::value& port : *list)
        out.insert(integer_at(port.get_object(), "nodePort").value_or(0));
    out.erase(0);
    if (const auto health = integer_at(spec, "healthCheckNodePort")) {
      EXPECT_TRUE(out.insert(*health).second) << "a health check port that is a node port";
    }
    return out;
  }

  json::object random_spec() {
    constexpr std::string_view types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName",
                                          "ClusterIP"};
    constexpr std::string_view policies[] = {"SingleStack", "PreferDualStack", "RequireDualStack"};
    const std::string_view type = types[pick(5)];
    const bool outside = type == "NodePort" || type == "LoadBalancer";
    json::object spec{{"type", type}, {"selector", json::object{{"a", "b"}}}};
    if (type == "ExternalName") {
      spec["externalName"] = "a.example";
      return spec;
    }
    json::array ports;
    for (size_t i = 0; i <= pick(3); ++i) {
      json::object port{{"name", cat("p", i)}, {"port", 80 + pick(5)}};
      if (outside && pick(3) == 0) port["nodePort"] = 30000 + pick(70);
      ports.push_back(std::move(port));
    }
    spec["ports"] = std::move(ports);
    if (pick(2) == 0) spec["ipFamilyPolicy"] = policies[pick(3)];
    if (type == "LoadBalancer" && pick(2) == 0) spec["externalTrafficPolicy"] = "Local";
    if (pick(4) == 0) spec["clusterIP"] = cat("10.96.0.", pick(70));
    return spec;
  }

  void write(bool is_update) {
    const size_t at = is_update ? pick(live_.size()) : 0;
    const json::value* old = is_update ? &live_[at] : nullptr;
    const json::object document{
        {"metadata", json::object{{"name", "web"}, {"namespace", "default"}}},
        {"spec", random_spec()}};
    Admitted admitted = is_update ? admit_update("v1", "Service", *old, document)
                                  : admit_create("v1", "Service", document);
    if (!admitted.errors.empty() || !allocator_.assign(admitted.object, old).empty()) return;
    ++writes;
    if (pick(5) == 0)
      allocator_.revert(admitted.object, old);
    else if (is_update)
      live_[at] = std::move(admitted.object);
    else
      live_.push_back(std::move(admitted.object));
  }

  std::mt19937 random_;
  ServiceAllocator allocator_;
  std::vector<json::value> live_;

 public:
  size_t writes = 0;
};

TEST(AllocatorProperty, NothingLeaksAndNothingIsGivenTwice) {
  size_t writes = 0;
  for (uint32_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    RandomServices services(seed);
    for (int step = 0; step < 400 && !HasFatalFailure(); ++step) {
      services.step();
      services.check();
    }
    writes += services.writes;
  }
  EXPECT_GT(writes, 2000u) << "most of the random requests were refused";
}

}  // namespace
}  // namespace fairlead::controlplane
