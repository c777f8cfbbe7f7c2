#include "api/snapshot.h"

#include <gtest/gtest.h>

#include <random>

#include "base/text.h"

namespace fairlead::api {
namespace {

using Slices = std::vector<std::shared_ptr<const EndpointSlice>>;

Object service(std::string ns, std::string name, uint16_t port = 80, std::string version = "1") {
  auto object = std::make_shared<Service>();
  object->meta.key = {std::move(ns), std::move(name)};
  object->meta.resource_version = std::move(version);
  object->ports = {{.port = port}};
  return std::shared_ptr<const Service>(std::move(object));
}

Object slice(std::string ns, std::string name, std::string owner, uint16_t port = 80) {
  auto object = std::make_shared<EndpointSlice>();
  object->meta.key = {std::move(ns), std::move(name)};
  object->service = std::move(owner);
  object->ports = {{.port = port}};
  return std::shared_ptr<const EndpointSlice>(std::move(object));
}

std::string names(const Slices& slices) {
  std::vector<std::string> out;
  for (const auto& one : slices) out.push_back(one->meta.key.name);
  return join(out, " ");
}

TEST(Snapshot, IsEmptyAtFirst) {
  const Snapshot snapshot;
  EXPECT_EQ(snapshot.count(Kind::pod), 0u);
  EXPECT_EQ(snapshot.find<Service>({"a", "b"}), nullptr);
  EXPECT_TRUE(snapshot.slices_of({"a", "b"}).empty());
  EXPECT_EQ(snapshot.generation(), 0u);
}

TEST(Snapshot, FirstTickSaysEverything) {
  SnapshotBuilder builder;
  builder.put(service("n", "a"));
  EXPECT_TRUE(builder.dirty());
  const auto tick = builder.take();
  EXPECT_TRUE(tick.changes.everything);
  EXPECT_TRUE(tick.changes.touches(Kind::secret));
  EXPECT_EQ(tick.changes.objects, (std::set<Change>{{Kind::service, {"n", "a"}}}));
  EXPECT_EQ(tick.snapshot->generation(), 1u);
  EXPECT_FALSE(builder.dirty());
  const auto second = builder.take();
  EXPECT_FALSE(second.changes.everything);
  EXPECT_TRUE(second.changes.empty());
  EXPECT_EQ(second.snapshot->generation(), 2u);
}

TEST(Snapshot, OldSnapshotsStayAsTheyWere) {
  SnapshotBuilder builder;
  builder.put(service("n", "a", 80));
  const auto first = builder.take();
  builder.put(service("n", "a", 81));
  builder.put(service("n", "b"));
  const auto second = builder.take();
  builder.erase(Kind::service, {"n", "a"});
  const auto third = builder.take();
  EXPECT_EQ(first.snapshot->find<Service>({"n", "a"})->ports[0].port, 80);
  EXPECT_EQ(first.snapshot->find<Service>({"n", "b"}), nullptr);
  EXPECT_EQ(second.snapshot->find<Service>({"n", "a"})->ports[0].port, 81);
  EXPECT_EQ(third.snapshot->find<Service>({"n", "a"}), nullptr);
  EXPECT_EQ(third.snapshot->count(Kind::service), 1u);
}

TEST(Snapshot, EqualObjectsAndNewResourceVersionsAreNoChange) {
  SnapshotBuilder builder;
  builder.put(service("n", "a", 80, "1"));
  builder.take();
  builder.put(service("n", "a", 80, "1"));
  EXPECT_FALSE(builder.dirty());
  builder.put(service("n", "a", 80, "2"));
  EXPECT_FALSE(builder.dirty());
  EXPECT_EQ(builder.take().snapshot->find<Service>({"n", "a"})->meta.resource_version, "2");
  builder.put(service("n", "a", 81, "3"));
  EXPECT_TRUE(builder.dirty());
}

TEST(Snapshot, WhatComesBackToTheOldStateIsNoChange) {
  SnapshotBuilder builder;
  builder.put(service("n", "a", 80));
  builder.take();
  builder.put(service("n", "a", 81));
  builder.put(service("n", "a", 80));
  builder.put(service("n", "new"));
  builder.erase(Kind::service, {"n", "new"});
  builder.erase(Kind::service, {"n", "never"});
  EXPECT_TRUE(builder.take().changes.empty());
}

TEST(Snapshot, IndexesSlicesByServiceOrderedByName) {
  SnapshotBuilder builder;
  for (const char* name : {"s3", "s1", "s2"}) builder.put(slice("n", name, "web"));
  builder.put(slice("other", "s0", "web"));
  builder.put(slice("n", "orphan", ""));
  const auto tick = builder.take();
  EXPECT_EQ(names(tick.snapshot->slices_of({"n", "web"})), "s1 s2 s3");
  EXPECT_EQ(names(tick.snapshot->slices_of({"other", "web"})), "s0");
  EXPECT_EQ(tick.changes.services, (std::set<ObjectKey>{{"n", "web"}, {"other", "web"}}));
}

TEST(Snapshot, ASliceThatMovesTouchesBothServices) {
  SnapshotBuilder builder;
  builder.put(slice("n", "s", "old"));
  builder.take();
  builder.put(slice("n", "s", "passing"));
  builder.put(slice("n", "s", "new"));
  const auto moved = builder.take();
  EXPECT_EQ(moved.changes.services, (std::set<ObjectKey>{{"n", "old"}, {"n", "new"}}));
  EXPECT_TRUE(moved.snapshot->slices_of({"n", "old"}).empty());
  EXPECT_EQ(names(moved.snapshot->slices_of({"n", "new"})), "s");
  builder.erase(Kind::endpoint_slice, {"n", "s"});
  EXPECT_EQ(builder.take().changes.services, (std::set<ObjectKey>{{"n", "new"}}));
}

TEST(Snapshot, ChangesOfOtherKindsTouchNoService) {
  SnapshotBuilder builder;
  builder.take();
  auto node = std::make_shared<Node>();
  node->meta.key.name = "n1";
  builder.put(std::shared_ptr<const Node>(node));
  const auto tick = builder.take();
  EXPECT_TRUE(tick.changes.services.empty());
  EXPECT_TRUE(tick.changes.touches(Kind::node));
  EXPECT_FALSE(tick.changes.touches(Kind::pod));
  EXPECT_FALSE(tick.changes.touches(Kind::namespace_));
}

// Random operations against plain maps: after every tick the snapshot equals the model, the changes
// are exactly the difference to the model before, and older snapshots still equal theirs.
class Model {
 public:
  std::map<ObjectKey, uint16_t> services;                        // -> port
  std::map<ObjectKey, std::pair<std::string, uint16_t>> slices;  // -> service, port

  Changes difference(const Model& before) const {
    Changes out;
    compare(before.services, services, [&](const ObjectKey& key, auto*, auto*) {
      out.objects.insert({Kind::service, key});
      out.services.insert(key);
    });
    compare(before.slices, slices, [&](const ObjectKey& key, auto* old, auto* now) {
      out.objects.insert({Kind::endpoint_slice, key});
      for (const auto* one : {old, now}) {
        if (one != nullptr && !one->first.empty()) out.services.insert({key.ns, one->first});
      }
    });
    return out;
  }

  void expect_equal(const Snapshot& snapshot) const {
    ASSERT_EQ(snapshot.count(Kind::service), services.size());
    ASSERT_EQ(snapshot.count(Kind::endpoint_slice), slices.size());
    size_t seen = 0;
    snapshot.each<Service>([&](const Service& object) {
      ++seen;
      ASSERT_EQ(services.at(object.meta.key), object.ports[0].port);
    });
    ASSERT_EQ(seen, services.size());
    std::map<ObjectKey, std::vector<std::string>> index;
    for (const auto& [key, value] : slices) {
      const auto found = snapshot.find<EndpointSlice>(key);
      ASSERT_NE(found, nullptr);
      ASSERT_EQ((std::pair{found->service, found->ports[0].port.value()}), value);
      if (!value.first.empty()) index[{key.ns, value.first}].push_back(key.name);
    }
    for (const char* ns : {"a", "b"}) {
      for (int i = 0; i < 10; ++i) {
        const ObjectKey key{ns, cat("svc", i)};
        ASSERT_EQ(names(snapshot.slices_of(key)), join(index[key], " "));
      }
    }
  }

 private:
  template <class Map, class Visit>
  static void compare(const Map& before, const Map& after, Visit visit) {
    std::set<ObjectKey> keys;
    for (const auto& [key, value] : before) keys.insert(key);
    for (const auto& [key, value] : after) keys.insert(key);
    for (const ObjectKey& key : keys) {
      const auto* old = before.contains(key) ? &before.at(key) : nullptr;
      const auto* now = after.contains(key) ? &after.at(key) : nullptr;
      if (old == nullptr || now == nullptr || *old != *now) visit(key, old, now);
    }
  }
};

TEST(Snapshot, EqualsAPlainModelUnderRandomOperations) {
  std::mt19937 random(20260102);
  const auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  SnapshotBuilder builder;
  Model model, previous;
  std::vector<std::pair<std::shared_ptr<const Snapshot>, Model>> kept;
  for (int tick = 0; tick < 400; ++tick) {
    for (int operations = below(12); operations > 0; --operations) {
      const ObjectKey key{below(2) == 0 ? "a" : "b", cat(below(2) == 0 ? "svc" : "x", below(10))};
      const auto port = static_cast<uint16_t>(1 + below(3));
      const std::string owner = below(8) == 0 ? "" : cat("svc", below(10));
      switch (below(6)) {
        case 0:
        case 1:
          builder.put(service(key.ns, key.name, port, cat(below(100))));
          model.services[key] = port;
          break;
        case 2:
        case 3:
          builder.put(slice(key.ns, key.name, owner, port));
          model.slices[key] = {owner, port};
          break;
        case 4:
          builder.erase(Kind::service, key);
          model.services.erase(key);
          break;
        case 5:
          builder.erase(Kind::endpoint_slice, key);
          model.slices.erase(key);
          break;
      }
      ASSERT_EQ(builder.keys(Kind::service).size(), model.services.size());
    }
    const auto [snapshot, changes] = builder.take();
    const Changes expected = model.difference(previous);
    ASSERT_EQ(changes.objects, expected.objects) << "tick " << tick;
    ASSERT_EQ(changes.services, expected.services) << "tick " << tick;
    ASSERT_NO_FATAL_FAILURE(model.expect_equal(*snapshot)) << "tick " << tick;
    previous = model;
    if (tick % 40 == 0) kept.emplace_back(snapshot, model);
  }
  for (const auto& [snapshot, then] : kept) ASSERT_NO_FATAL_FAILURE(then.expect_equal(*snapshot));
}

TEST(Snapshot, SharesWhatDidNotChange) {
  SnapshotBuilder builder;
  for (int i = 0; i < 5000; ++i) builder.put(service("n", cat("s", i)));
  const auto before = builder.take().snapshot;
  builder.put(service("n", "s7", 81));
  const auto after = builder.take().snapshot;
  // The same entry in the same bucket, not a copy of it.
  int shared = 0;
  for (int i = 0; i < 5000; ++i) {
    const ObjectKey key{"n", cat("s", i)};
    shared += before->find_object(Kind::service, key) == after->find_object(Kind::service, key);
  }
  EXPECT_GT(shared, 4900);
  EXPECT_LT(shared, 5000);
}

TEST(Snapshot, FindsPendingObjectsInTheBuilder) {
  SnapshotBuilder builder;
  EXPECT_EQ(builder.find_object(Kind::service, {"n", "a"}), nullptr);
  builder.put(service("n", "a"));
  ASSERT_NE(builder.find_object(Kind::service, {"n", "a"}), nullptr);
  EXPECT_EQ(builder.keys(Kind::service), (std::vector<ObjectKey>{{"n", "a"}}));
  builder.erase(Kind::service, {"n", "a"});
  EXPECT_EQ(builder.find_object(Kind::service, {"n", "a"}), nullptr);
}

}  // namespace
}  // namespace fairlead::api
