// What golden files cannot say: incremental work, and work in proportion.
#include "dataplane/compile.h"

#include <gtest/gtest.h>

#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane {
namespace {

using api::ObjectKey;

class CompileSeeds : public testing::TestWithParam<uint32_t> {};

TEST_P(CompileSeeds, UpdatingEqualsCompilingAnew) {
  RandomCluster cluster(GetParam());
  ServiceTable table;
  table.node = random_node();
  for (int step = 0; step < 200; ++step) {
    const auto tick = cluster.step();
    const ServiceTable before = table;
    const auto changed = update(table, *tick.snapshot, tick.changes);
    ASSERT_EQ(to_text(table), to_text(compile(*tick.snapshot, table.node))) << "step " << step;
    ASSERT_EQ(table, compile(*tick.snapshot, table.node)) << "step " << step;
    // `changed` names the difference, all of it and nothing else.
    std::set<ObjectKey> differing;
    for (const auto& [key, entry] : table.services) {
      const auto old = before.services.find(key);
      if (old == before.services.end() || old->second != entry) differing.insert(key);
    }
    for (const auto& [key, entry] : before.services) {
      if (!table.services.contains(key)) differing.insert(key);
    }
    ASSERT_EQ(changed, differing) << "step " << step;
  }
}

TEST_P(CompileSeeds, BackendsAreLocalFirstAndSetsAreInside) {
  RandomCluster cluster(GetParam());
  for (int step = 0; step < 100; ++step) {
    const auto table = compile(*cluster.step().snapshot, random_node());
    for (const auto& [key, entry] : table.services) {
      for (const PortRule& rule : entry.ports) {
        ASSERT_TRUE(std::is_sorted(rule.frontends.begin(), rule.frontends.end()));
        ASSERT_LE(rule.cluster_first, rule.backends.size());
        bool local = true;
        for (const Backend& backend : rule.backends) {
          ASSERT_TRUE(local || !backend.local) << key.to_string();
          ASSERT_EQ(backend.ip.is_v4(), !rule.ipv6);
          local = backend.local;
        }
        for (const Backend& backend : local_backends(rule)) ASSERT_TRUE(backend.local);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CompileSeeds, testing::Range(1u, 9u));

TEST(Compile, EverythingChangedComparesWithWhatIsHeld) {
  api::SnapshotBuilder builder;
  auto tick = big_cluster(builder, 3, 2);
  ServiceTable table = compile(*tick.snapshot, {});
  table.services.erase({"default", "s1"});                               // one is missing,
  table.services[{"default", "gone"}] = table.services.begin()->second;  // one is too many
  tick.changes = {};
  tick.changes.everything = true;
  EXPECT_EQ(update(table, *tick.snapshot, tick.changes),
            (std::set<ObjectKey>{{"default", "gone"}, {"default", "s1"}}));
  EXPECT_EQ(table, compile(*tick.snapshot, {}));
}

TEST(Compile, AChangeThatMeansNothingChangesNothing) {
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 2, 3).snapshot, {});
  api::EndpointSlice slice = big_slice(1, 3);
  slice.meta.annotations["endpoints.kubernetes.io/last-change-trigger-time"] = "now";
  builder.put(std::make_shared<const api::EndpointSlice>(slice));
  const auto tick = builder.take();
  EXPECT_TRUE(tick.changes.services.contains({"default", "s1"}));
  EXPECT_TRUE(update(table, *tick.snapshot, tick.changes).empty());
}

TEST(Compile, OneEndpointTouchesOneService) {
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 50, 4).snapshot, {});
  builder.put(std::make_shared<const api::EndpointSlice>(big_slice(7, 5)));
  const auto tick = builder.take();
  EXPECT_EQ(update(table, *tick.snapshot, tick.changes), (std::set<ObjectKey>{{"default", "s7"}}));
  EXPECT_EQ(table.services.at({"default", "s7"}).ports[0].backends.size(), 5u);
}

TEST(Compile, AServiceThatIsGoneHasNoPorts) {
  EXPECT_TRUE(compile_service(api::Snapshot(), {}, {"default", "nothing"}).ports.empty());
}

}  // namespace
}  // namespace fairlead::dataplane
