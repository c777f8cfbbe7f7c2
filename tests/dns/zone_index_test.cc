#include "dns/zone_index.h"

#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "harness.h"

namespace fairlead::dns {
namespace {

using api::Kind;
using api::ObjectKey;
using testing::test_serial;

template <class T>
std::shared_ptr<const T> share(T value) {
  return std::make_shared<const T>(std::move(value));
}

std::string key(std::string_view service, std::string_view ns) {
  return service_key({std::string(ns), std::string(service)});
}

// A cluster that changes at random, within small sets of names so that they meet often.
class RandomCluster {
 public:
  explicit RandomCluster(unsigned seed) : random_(seed) {}

  api::SnapshotBuilder builder;

  void step() {
    switch (pick(8)) {
      case 0:
        return put_namespace();
      case 1:
        return builder.erase(Kind::namespace_, {"", ns()});
      case 2:
      case 3:
        return put_service();
      case 4:
        return builder.erase(Kind::service, {ns(), name("svc", 6)});
      case 5:
      case 6:
        return put_slice();
      default:
        break;
    }
    if (pick(2) == 0) return builder.erase(Kind::endpoint_slice, {ns(), name("slice", 8)});
    put_pod();
  }

 private:
  unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }
  std::string name(std::string_view stem, unsigned count) { return cat(stem, pick(count)); }
  std::string ns() { return name("ns", 3); }
  Ip ip() {
    if (pick(3) == 0) return *Ip::parse(cat("fd00::", 1 + pick(12)));
    return Ip::v4(0x0a000000 + pick(12));
  }

  void put_namespace() {
    api::Namespace object;
    object.meta.key = {"", ns()};
    builder.put(share(std::move(object)));
  }
  void put_service() {
    api::Service service;
    service.meta.key = {ns(), name("svc", 6)};
    const unsigned kind = pick(4);
    if (kind == 0) {
      service.type = api::ServiceType::external_name;
      service.external_name = pick(4) == 0 ? "10.1.2.3" : name("ext", 3) + ".example";
    } else if (kind == 1) {
      service.headless = true;
    } else {
      for (unsigned i = pick(3); i > 0; --i) service.cluster_ips.push_back(ip());
    }
    for (unsigned i = pick(3); i > 0; --i) {
      service.ports.push_back(
          {.name = i == 1 ? "" : name("p", 3), .port = static_cast<uint16_t>(80 + pick(3))});
    }
    builder.put(share(std::move(service)));
  }
  void put_slice() {
    api::EndpointSlice slice;
    slice.meta.key = {ns(), name("slice", 8)};
    slice.service = name("svc", 6);
    slice.address_type = "IPv4";
    for (unsigned i = pick(5); i > 0; --i) {
      api::Endpoint endpoint;
      endpoint.addresses = {ip()};
      endpoint.ready = pick(4) != 0;
      if (pick(3) == 0) endpoint.hostname = name("host", 3);
      endpoint.target.name = name("pod", 9);
      slice.endpoints.push_back(std::move(endpoint));
    }
    for (unsigned i = pick(3); i > 0; --i) {
      slice.ports.push_back({.name = name("p", 3), .port = static_cast<uint16_t>(8080 + pick(2))});
    }
    builder.put(share(std::move(slice)));
  }
  void put_pod() {
    api::Pod pod;
    pod.meta.key = {ns(), name("pod", 9)};
    if (pick(4) == 0) return builder.erase(Kind::pod, pod.meta.key);
    pod.phase = pick(5) == 0 ? "Succeeded" : "Running";
    pod.ips = {ip()};
    builder.put(share(std::move(pod)));
  }

  std::mt19937 random_;
};

TEST(ZoneIndex, IncrementalEqualsFull) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const IndexOptions options{.endpoint_pod_names = seed % 2 == 0, .pods = seed % 3 == 0};
    RandomCluster cluster(seed);
    auto tick = cluster.builder.take();
    auto index = ZoneIndex::build(tick.snapshot, options, test_serial);
    for (int round = 0; round < 120; ++round) {
      const auto before = index;
      const std::string before_text = before->dump();
      for (unsigned i = 0; i < 1 + seed % 4; ++i) cluster.step();
      tick = cluster.builder.take();
      index = index->update(tick.snapshot, tick.changes, test_serial);
      const auto full = ZoneIndex::build(tick.snapshot, options, test_serial);
      ASSERT_EQ(index->dump(), full->dump()) << "seed " << seed << " round " << round;
      ASSERT_EQ(index->services(), full->services());
      ASSERT_EQ(index->reverse_names(), full->reverse_names());
      ASSERT_EQ(before->dump(), before_text) << "a published index changed";
    }
  }
}

TEST(ZoneIndex, SharesWhatDidNotChange) {
  api::SnapshotBuilder builder;
  for (int i = 0; i < 500; ++i) {
    api::Service service;
    service.meta.key = {"default", cat("svc", i)};
    service.cluster_ips = {Ip::v4(0x0a000000 + static_cast<uint32_t>(i))};
    builder.put(share(std::move(service)));
  }
  auto tick = builder.take();
  const auto first = ZoneIndex::build(tick.snapshot, {}, 1);
  api::Service changed = *tick.snapshot->find<api::Service>({"default", "svc7"});
  changed.cluster_ips = {Ip::v4(0x0b000000)};
  builder.put(share(std::move(changed)));
  tick = builder.take();
  const auto second = first->update(tick.snapshot, tick.changes, 2);
  for (int i = 0; i < 500; ++i) {
    const std::string name = key(cat("svc", i), "default");
    EXPECT_EQ(first->service(name) == second->service(name), i != 7) << i;
  }
  EXPECT_EQ(first->serial(), 1u);
  EXPECT_EQ(second->serial(), 2u);
}

TEST(ZoneIndex, SerialStaysWhenNoNameChanged) {
  api::SnapshotBuilder builder;
  auto tick = builder.take();
  const auto first = ZoneIndex::build(tick.snapshot, {}, 1);
  api::Node node;
  node.meta.key = {"", "n1"};
  builder.put(share(std::move(node)));
  tick = builder.take();
  EXPECT_EQ(first->update(tick.snapshot, tick.changes, 2)->serial(), 1u);
}

TEST(ZoneIndex, NamespacesExistByObjectOrByService) {
  api::SnapshotBuilder builder;
  testing::put_yaml(builder, R"(apiVersion: v1
kind: Namespace
metadata: {name: empty}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: implied}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
)",
                    "test.yaml");
  auto tick = builder.take();
  auto index = ZoneIndex::build(tick.snapshot, {}, test_serial);
  EXPECT_TRUE(index->has_namespace("\5empty"));
  EXPECT_TRUE(index->has_namespace("\7implied"));
  EXPECT_FALSE(index->has_namespace("\4none"));
  builder.erase(Kind::service, {"implied", "web"});
  builder.erase(Kind::namespace_, {"", "empty"});
  tick = builder.take();
  index = index->update(tick.snapshot, tick.changes, test_serial);
  EXPECT_FALSE(index->has_namespace("\5empty"));
  EXPECT_FALSE(index->has_namespace("\7implied"));
}

TEST(ServiceRecord, NamesThatCannotBeLabelsAreLeftOut) {
  api::Service service;
  service.meta.key = {"default", std::string(64, 'x')};
  EXPECT_EQ(compile_service(service, {}, false), nullptr);
  service.meta.key = {"default", "a.b"};
  EXPECT_EQ(compile_service(service, {}, false), nullptr);
  service.meta.key = {"default", std::string(63, 'x')};
  EXPECT_NE(compile_service(service, {}, false), nullptr);
}

TEST(ServiceRecord, EndpointLabels) {
  struct Case {
    std::string_view hostname, pod, ip;
    bool pod_names;
    std::string_view label;
  };
  const std::string long_name(64, 'p');
  const std::vector<Case> cases = {
      {"", "", "10.11.12.13", false, "10-11-12-13"},
      {"", "", "1234:abcd::1", false, "1234-abcd--1"},
      {"", "", "1234:abcd::6666:0:0", false, "1234-abcd--6666-0-0"},
      {"", "", "fd00:1::", false, "fd00-1--0"},
      {"Host-1", "pod-1", "10.11.12.13", true, "host-1"},
      {"host-1", "pod-1", "10.11.12.13", false, "host-1"},
      {"", "pod-1", "10.11.12.13", true, "pod-1"},
      {"", "pod-1", "10.11.12.13", false, "10-11-12-13"},
      {"", long_name, "10.11.12.13", true, "10-11-12-13"},
      {"", "a.b", "10.11.12.13", true, "10-11-12-13"},
  };
  for (const auto& c : cases) {
    api::Endpoint endpoint;
    endpoint.hostname = c.hostname;
    endpoint.target.name = c.pod;
    EXPECT_EQ(endpoint_label(endpoint, *Ip::parse(c.ip), c.pod_names), c.label);
  }
}

TEST(HashTrie, EntriesOfOneHashStandSideBySide) {
  struct Entry {
    uint64_t key_hash;
    int value;
    uint64_t hash() const { return key_hash; }
  };
  HashTrie<Entry> trie;
  for (int i = 0; i < 100; ++i) trie.insert({42, i}, 1);
  for (int i = 0; i < 100; ++i) trie.insert({static_cast<uint64_t>(i) << 60, i}, 1);
  const HashTrie<Entry> copy = trie;
  int seen = 0;
  trie.each(42, [&](const Entry&) { ++seen; });
  EXPECT_EQ(seen, 100);
  for (int i = 0; i < 100; i += 2) {
    EXPECT_TRUE(trie.erase(42, [&](const Entry& e) { return e.value == i; }, 2));
    EXPECT_FALSE(trie.erase(42, [&](const Entry& e) { return e.value == i; }, 2));
  }
  EXPECT_EQ(trie.size(), 150u);
  EXPECT_EQ(copy.size(), 200u);
  seen = 0;
  copy.each(42, [&](const Entry&) { ++seen; });
  EXPECT_EQ(seen, 100);
}

}  // namespace
}  // namespace fairlead::dns
