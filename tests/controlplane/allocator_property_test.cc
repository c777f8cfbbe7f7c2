// Random Services against a model: nothing leaks from the allocator, and nothing is given twice.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/text.h"
#include "controlplane/objects/allocator.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

// Random creates, updates, deletes and reverted writes against a model: what the live Services name
// is what is taken, and no two of them share anything.
class RandomServices {
 public:
  RandomServices(const AllocatorConfig& config, uint32_t seed)
      : random_(seed), allocator_(config, seed) {}

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
  // The second one is so small that it is often full.
  const AllocatorConfig configs[] = {
      {{*Cidr::parse("10.96.0.0/26"), *Cidr::parse("fd00:96::/122")}, 30000, 30059},
      {{*Cidr::parse("10.96.0.0/27"), *Cidr::parse("fd00:96::/124")}, 30000, 30039}};
  size_t writes = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    RandomServices services(configs[seed % 2], seed);
    for (int step = 0; step < 400 && !HasFatalFailure(); ++step) {
      services.step();
      services.check();
    }
    writes += services.writes;
  }
  EXPECT_GT(writes, 4000u) << "most of the random requests were refused";
}

}  // namespace
}  // namespace fairlead::controlplane
