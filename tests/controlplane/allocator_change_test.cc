// What an allocator holds when Services change, when writes are undone and after a restart.
#include "tests/controlplane/allocator_services.h"

namespace fairlead::controlplane {
namespace {

json::value update(ServiceAllocator& allocator, const json::value& old, std::string_view spec) {
  json::value next = old;
  next.get_object()["spec"] = *parse_json(spec);
  Admitted admitted = admit_update("v1", "Service", old, next);
  EXPECT_EQ(to_string(admitted.errors), "[]");
  EXPECT_EQ(to_string(allocator.assign(admitted.object, &old)), "[]");
  return admitted.object;
}

TEST(AllocatorChange, ChangesOfTypeTakeAndFree) {
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

TEST(AllocatorChange, EachTypeHoldsWhatItNeeds) {
  struct Step {
    std::string_view spec;
    size_t addresses, ports;
  };
  constexpr Step steps[] = {
      {R"({"type": "NodePort", "ports": [{"port": 80}]})", 1, 1},
      {R"({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]})", 1,
       2},
      {R"({"type": "NodePort", "ports": [{"port": 80}]})", 1, 1},
      {R"({"type": "ClusterIP", "ports": [{"port": 80}]})", 1, 0},
      {R"({"type": "ExternalName", "externalName": "a.b"})", 0, 0},
      {R"({"type": "ClusterIP", "ports": [{"port": 80}]})", 1, 0}};
  ServiceAllocator allocator(single_stack());
  json::value now = service(R"({"ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(allocator.assign(now, nullptr)), "[]");
  for (const Step& step : steps) {
    SCOPED_TRACE(step.spec);
    now = update(allocator, now, step.spec);
    EXPECT_EQ(allocator.used_addresses(), step.addresses);
    EXPECT_EQ(allocator.used_ports(), step.ports);
  }
}

TEST(AllocatorChange, ARevertedWriteLeavesNoTrace) {
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

TEST(AllocatorChange, ARevertGivesTheNewPortBack) {
  ServiceAllocator allocator(single_stack());
  const auto assign = [&](int port) {
    json::value object =
        service(cat(R"({"type": "NodePort", "ports": [{"port": 1, "nodePort": )", port, "}]}"));
    return to_string(allocator.assign(object, nullptr));
  };
  json::value old = service(R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})");
  ASSERT_EQ(to_string(allocator.assign(old, nullptr)), "[]");
  const json::value next =
      update(allocator, old, R"({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30081}]})");
  allocator.revert(next, &old);
  EXPECT_THAT(assign(30080), testing::HasSubstr("already allocated"));
  EXPECT_EQ(assign(30081), "[]");
  EXPECT_EQ(allocator.used_addresses(), 2u);
  EXPECT_EQ(allocator.used_ports(), 2u);
}

TEST(AllocatorChange, WhatTheStoreHoldsIsTaken) {
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

TEST(AllocatorChange, AnotherOneTakesOver) {
  ServiceAllocator first(single_stack()), second(single_stack());
  json::value object = service(R"({"type": "NodePort", "ports": [{"port": 80}]})");
  ASSERT_EQ(to_string(first.assign(object, nullptr)), "[]");
  second.adopt(object);
  EXPECT_EQ(second.used_addresses(), 1u);
  EXPECT_EQ(second.used_ports(), 1u);
  json::value same = service(cat(R"({"clusterIP": ")", find_string(object, "spec", "clusterIP"),
                                 R"(", "ports": [{"port": 80}]})"));
  EXPECT_THAT(to_string(second.assign(same, nullptr)),
              testing::HasSubstr("provided IP is already allocated"));
}

}  // namespace
}  // namespace fairlead::controlplane
