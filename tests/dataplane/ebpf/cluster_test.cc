// Random clusters through compile() and the maps in memory: however a state was reached, the maps
// hold the same, and a restart finds nothing to write.
#include <memory>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/service_sync.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

std::string dump(const Maps& maps, const ServiceSync& sync) {
  return dump_maps(maps, [&](uint32_t id) { return sync.name_of(id); });
}

// What a fresh driver makes of the table.
std::string dump_of(const ServiceTable& table) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(), {.netns_cookie = 1});
  ApplyReport report;
  node.apply(table.node, report);
  sync.apply(table, {}, true);
  return dump(maps, sync);
}

TEST(EbpfCluster, IncrementalIsFullIsReadBack) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    RandomCluster cluster(seed);
    FakeMaps maps;
    auto sync = std::make_unique<ServiceSync>(maps);
    auto node = std::make_unique<NodeSync>(maps, sync->addresses(), NodeFacts{.netns_cookie = 1});
    ServiceTable table;
    table.node = random_node();
    ApplyReport report;
    node->apply(table.node, report);
    sync->apply(table, {}, true);
    for (int step = 0; step < 60; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const ApplyReport applied = sync->apply(table, changed, false);
      ASSERT_TRUE(applied.ok()) << applied.errors[0];
      ASSERT_EQ(dump(maps, *sync), dump_of(table)) << seed << " step " << step;
      if (step % 10 != 9) continue;
      const std::string before = dump(maps, *sync);
      sync = std::make_unique<ServiceSync>(maps);
      ASSERT_TRUE(sync->load());
      node = std::make_unique<NodeSync>(maps, sync->addresses(), NodeFacts{.netns_cookie = 1});
      ASSERT_TRUE(node->load());
      ApplyReport again;
      node->apply(table.node, again);
      const ApplyReport full = sync->apply(table, {}, true);
      ASSERT_EQ(again.writes + full.writes, 0u) << seed << " step " << step;
      ASSERT_EQ(dump(maps, *sync), before);
    }
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
