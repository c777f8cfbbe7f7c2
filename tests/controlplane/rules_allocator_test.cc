// ServiceAllocator: which addresses and ports a Service gets, and that none is lost or given twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "base/text.h"
#include "controlplane/objects/allocator.h"
#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

AllocatorConfig v4(std::string_view cidr = "10.96.0.0/24") {
  return {.service_cidrs = {*Cidr::parse(cidr)}};
}
AllocatorConfig dual() {
  return {.service_cidrs = {*Cidr::parse("10.96.0.0/24"), *Cidr::parse("fd00::/112")}};
}

// A Service as admission leaves it.
json::value admitted(std::string_view spec, const json::value* old = nullptr) {
  json::object object{{"metadata", {{"name", "web"}, {"namespace", "default"}}},
                      {"spec", *parse_json(spec)}};
  Admitted got = old == nullptr ? admit_create("v1", "Service", std::move(object))
                                : admit_update("v1", "Service", *old, std::move(object));
  EXPECT_TRUE(got.errors.empty()) << to_string(got.errors);
  return std::move(got.object);
}

json::value assigned(ServiceAllocator& allocator, std::string_view spec,
                     const json::value* old = nullptr) {
  json::value service = admitted(spec, old);
  const auto errors = allocator.assign(service, old);
  EXPECT_TRUE(errors.empty()) << to_string(errors);
  return service;
}

std::string refused(ServiceAllocator& allocator, std::string_view spec) {
  json::value service = admitted(spec);
  return to_string(allocator.assign(service, nullptr));
}

const json::object& spec_of(const json::value& service) { return service.at("spec").get_object(); }
Ip address_of(const json::value& service) {
  return *Ip::parse(string_at(spec_of(service), "clusterIP"));
}
int64_t node_port(const json::value& service, size_t i = 0) {
  return integer_at(spec_of(service).at("ports").at(i).get_object(), "nodePort").value_or(0);
}

TEST(RulesAllocator, PicksComeFromAboveTheBandUntilThatIsFull) {
  ServiceAllocator allocator(v4());
  const Cidr low = *Cidr::parse("10.96.0.0/28");  // the first 16 of 254
  for (int i = 0; i < 238; ++i)
    EXPECT_FALSE(low.contains(address_of(assigned(allocator, R"({"ports": [{"port": 80}]})"))));
  std::set<Ip> rest;
  for (int i = 0; i < 16; ++i)
    rest.insert(address_of(assigned(allocator, R"({"ports": [{"port": 80}]})")));
  EXPECT_EQ(rest.size(), 16u);
  EXPECT_EQ(*rest.begin(), *Ip::parse("10.96.0.1"));
  EXPECT_EQ(allocator.used_addresses(), 254u);
  json::value one_more = admitted(R"({"ports": [{"port": 80}]})");
  const auto errors = allocator.assign(one_more, nullptr);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].reason, "InternalError");
  EXPECT_THAT(errors[0].detail, HasSubstr("range is full"));
}

TEST(RulesAllocator, NodePortsComeFromAboveTheirBand) {
  ServiceAllocator allocator(v4());
  for (int i = 0; i < 200; ++i) {
    const auto service = assigned(allocator, R"({"type": "NodePort", "ports": [{"port": 80}]})");
    EXPECT_GE(node_port(service), 30000 + 85);  // 2768 / 32 = 86 are kept
    EXPECT_LE(node_port(service), 32767);
  }
  EXPECT_EQ(allocator.used_ports(), 200u);
}

struct Refusal {
  std::string_view name, spec, error;
};
constexpr Refusal kRefusals[] = {
    {"address_taken", R"({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]})",
     "spec.clusterIPs: Invalid value: []string{\"10.96.0.9\"}: failed to allocate IP 10.96.0.9: "
     "provided IP is already allocated"},
    {"address_outside", R"({"clusterIP": "10.97.0.9", "ports": [{"port": 80}]})",
     "the provided IP (10.97.0.9) is not in the valid range. The range of valid IPs is "
     "10.96.0.0/24"},
    {"network_address", R"({"clusterIP": "10.96.0.0", "ports": [{"port": 80}]})",
     "is not in the valid range"},
    {"broadcast_address", R"({"clusterIP": "10.96.0.255", "ports": [{"port": 80}]})",
     "is not in the valid range"},
    {"port_taken", R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})",
     "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"},
    {"port_outside", R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]})",
     "spec.ports[0].nodePort: Invalid value: 29999: provided port is not in the valid range. The "
     "range of valid ports is 30000-32767"},
    {"health_port_taken",
     R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30080,
         "ports": [{"port": 80}]})",
     "spec.healthCheckNodePort: Invalid value: 30080: provided port is already allocated"},
    {"no_second_family", R"({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]})",
     "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for "
     "dual-stack services"},
    {"family_not_there", R"({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]})",
     "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"},
};

TEST(RulesAllocator, RefusalsTakeNothing) {
  ServiceAllocator allocator(v4());
  assigned(allocator,
           R"({"type": "NodePort", "clusterIP": "10.96.0.9",
               "ports": [{"port": 80, "nodePort": 30080}]})");
  for (const Refusal& test : kRefusals) {
    SCOPED_TRACE(test.name);
    EXPECT_THAT(refused(allocator, test.spec), HasSubstr(test.error));
    EXPECT_EQ(allocator.used_addresses(), 1u);
    EXPECT_EQ(allocator.used_ports(), 1u);
  }
}

struct Families {
  std::string_view name, spec, families, policy;
  size_t addresses;
};
constexpr Families kFamilies[] = {
    {"default", R"({"ports": [{"port": 80}]})", R"(["IPv4"])", "SingleStack", 1},
    {"v6", R"({"ipFamilies": ["IPv6"], "ports": [{"port": 80}]})", R"(["IPv6"])", "SingleStack", 1},
    {"prefer", R"({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]})",
     R"(["IPv4","IPv6"])", "PreferDualStack", 2},
    {"require_v6_first",
     R"({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"], "ports": [{"port": 80}]})",
     R"(["IPv6","IPv4"])", "RequireDualStack", 2},
    {"by_address", R"({"clusterIP": "fd00::9", "ports": [{"port": 80}]})", R"(["IPv6"])",
     "SingleStack", 1},
    {"headless", R"({"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]})",
     R"(["IPv4"])", "SingleStack", 0},
    {"headless_without_selector", R"({"clusterIP": "None", "ports": [{"port": 80}]})",
     R"(["IPv4","IPv6"])", "RequireDualStack", 0},
};

TEST(RulesAllocator, FamiliesOfADualStackCluster) {
  for (const Families& test : kFamilies) {
    SCOPED_TRACE(test.name);
    ServiceAllocator allocator(dual());
    const json::value service = assigned(allocator, test.spec);
    EXPECT_EQ(json::serialize(spec_of(service).at("ipFamilies")), test.families);
    EXPECT_EQ(string_at(spec_of(service), "ipFamilyPolicy"), test.policy);
    EXPECT_EQ(allocator.used_addresses(), test.addresses);
    allocator.release(service);
    EXPECT_EQ(allocator.used_addresses(), 0u);
  }
}

TEST(RulesAllocator, PreferringTwoFamiliesIsContentWithOne) {
  ServiceAllocator allocator(v4());
  const auto service =
      assigned(allocator, R"({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]})");
  EXPECT_EQ(json::serialize(spec_of(service).at("ipFamilies")), R"(["IPv4"])");
}

TEST(RulesAllocator, EqualPortsOfTwoProtocolsShareANodePort) {
  ServiceAllocator allocator(v4());
  const auto service = assigned(allocator, R"({"type": "NodePort", "ports": [
      {"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"},
      {"name": "c", "port": 54}]})");
  EXPECT_EQ(node_port(service, 0), node_port(service, 1));
  EXPECT_NE(node_port(service, 0), node_port(service, 2));
  EXPECT_EQ(allocator.used_ports(), 2u);
}

TEST(RulesAllocator, ABalancedServiceMayGoWithoutNodePorts) {
  ServiceAllocator allocator(v4());
  const auto service = assigned(allocator, R"({"type": "LoadBalancer",
      "allocateLoadBalancerNodePorts": false, "externalTrafficPolicy": "Local",
      "ports": [{"port": 80}]})");
  EXPECT_EQ(node_port(service), 0);
  EXPECT_GE(integer_at(spec_of(service), "healthCheckNodePort").value_or(0), 30000);
  EXPECT_EQ(allocator.used_ports(), 1u);
}

TEST(RulesAllocator, ChangesOfTypeTakeAndFree) {
  struct Step {
    std::string_view spec;
    size_t addresses, ports;
  };
  constexpr Step steps[] = {
      {R"({"ports": [{"port": 80}]})", 1, 0},
      {R"({"type": "NodePort", "ports": [{"port": 80}]})", 1, 1},
      {R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]})", 1,
       2},
      {R"({"type": "NodePort", "ports": [{"port": 80}]})", 1, 1},
      {R"({"type": "ClusterIP", "ports": [{"port": 80}]})", 1, 0},
      {R"({"type": "ExternalName", "externalName": "a.b"})", 0, 0},
      {R"({"type": "ClusterIP", "ports": [{"port": 80}]})", 1, 0}};
  ServiceAllocator allocator(v4());
  json::value now;
  for (const Step& step : steps) {
    SCOPED_TRACE(step.spec);
    json::value next = assigned(allocator, step.spec, now.is_null() ? nullptr : &now);
    now = std::move(next);
    EXPECT_EQ(allocator.used_addresses(), step.addresses);
    EXPECT_EQ(allocator.used_ports(), step.ports);
  }
}

TEST(RulesAllocator, RevertRestoresWhatTheOldServiceHeld) {
  ServiceAllocator allocator(v4());
  const auto old =
      assigned(allocator, R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})");
  const auto next = assigned(
      allocator, R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30081}]})", &old);
  allocator.revert(next, &old);
  EXPECT_THAT(
      refused(allocator, R"({"type": "NodePort", "ports": [{"port": 1, "nodePort": 30080}]})"),
      HasSubstr("already allocated"));
  assigned(allocator, R"({"type": "NodePort", "ports": [{"port": 1, "nodePort": 30081}]})");
  EXPECT_EQ(allocator.used_addresses(), 2u);
  EXPECT_EQ(allocator.used_ports(), 2u);
}

TEST(RulesAllocator, AdoptedServicesHoldWhatTheyHad) {
  ServiceAllocator first(v4());
  const auto service = assigned(first, R"({"type": "NodePort", "ports": [{"port": 80}]})");
  ServiceAllocator second(v4());
  second.adopt(service);
  EXPECT_EQ(second.used_addresses(), 1u);
  EXPECT_EQ(second.used_ports(), 1u);
  const std::string same =
      cat(R"({"clusterIP": ")", address_of(service).to_string(), R"(", "ports": [{"port": 80}]})");
  EXPECT_THAT(refused(second, same), HasSubstr("provided IP is already allocated"));
}

// The model: what each live Service says that it holds. Nothing is held twice, and the counts of
// the allocator are those of the model, whatever came before.
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed) {}

  void step() {
    const uint64_t pick = random_() % 10;
    if (live_.empty() || pick < 4)
      write(next_++, nullptr);
    else if (auto found = std::next(live_.begin(), random_() % live_.size()); pick < 8)
      write(found->first, &found->second);
    else {
      allocator_.release(found->second);
      live_.erase(found);
    }
    check();
  }
  size_t written() const { return written_; }

 private:
  std::string spec() {
    constexpr std::string_view types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
    const std::string_view type = types[random_() % 3];
    std::string out = cat(R"({"type": ")", type, R"(", "ports": [{"name": "a", "port": 80)");
    if (type != "ClusterIP" && random_() % 2 == 0)
      out += cat(R"(, "nodePort": )", 30000 + random_() % 40);
    out += random_() % 2 == 0 ? "}" : R"(}, {"name": "b", "port": 81})";
    out += "]";
    if (type == "LoadBalancer" && random_() % 2 == 0)
      out += R"(, "externalTrafficPolicy": "Local")";
    if (random_() % 3 == 0) out += R"(, "ipFamilyPolicy": "PreferDualStack")";
    return out + "}";
  }

  void write(int id, const json::value* old) {
    json::object object{{"metadata", {{"name", cat("s", id)}, {"namespace", "default"}}},
                        {"spec", *parse_json(spec())}};
    Admitted got = old == nullptr ? admit_create("v1", "Service", std::move(object))
                                  : admit_update("v1", "Service", *old, std::move(object));
    if (!got.errors.empty()) return;
    if (!allocator_.assign(got.object, old).empty()) return;
    if (random_() % 4 == 0) return allocator_.revert(got.object, old);
    live_[id] = std::move(got.object);
    ++written_;
  }

  void check() const {
    std::set<std::string> addresses;
    std::set<int64_t> ports;
    for (const auto& [id, service] : live_) {
      std::set<int64_t> own;
      for (const json::value& ip : spec_of(service).at("clusterIPs").get_array())
        EXPECT_TRUE(addresses.emplace(view(ip.get_string())).second) << ip;
      for (size_t i = 0; i < spec_of(service).at("ports").get_array().size(); ++i)
        if (const int64_t port = node_port(service, i)) own.insert(port);
      if (const auto port = integer_at(spec_of(service), "healthCheckNodePort")) {
        EXPECT_TRUE(own.insert(*port).second) << *port;
      }
      for (int64_t port : own) EXPECT_TRUE(ports.insert(port).second) << port;
    }
    ASSERT_EQ(allocator_.used_addresses(), addresses.size());
    ASSERT_EQ(allocator_.used_ports(), ports.size());
  }

  std::mt19937_64 random_;
  // Small ranges, so that they are often full.
  ServiceAllocator allocator_{
      {.service_cidrs = {*Cidr::parse("10.96.0.0/27"), *Cidr::parse("fd00::/124")},
       .node_port_low = 30000,
       .node_port_high = 30039}};
  std::map<int, json::value> live_;
  int next_ = 0;
  size_t written_ = 0;
};

TEST(RulesAllocator, NothingIsGivenTwiceOrLost) {
  for (uint64_t seed = 1; seed <= 20 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Model model(seed);
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) model.step();
    EXPECT_GT(model.written(), 50u);
  }
}

}  // namespace
}  // namespace fairlead::controlplane
