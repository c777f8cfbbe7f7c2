// NodeSync against maps in memory.
#include "dataplane/ebpf/node_sync.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/text.h"
#include "tests/dataplane/ebpf/sync_lab.h"
#include "tests/dataplane/ebpf/tables.h"

namespace fairlead::dataplane::ebpf {
namespace {

using test::table_of;

TEST(NodeSync, WritesOnlyDifferences) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(),
                {.netns_cookie = 7, .masquerade_port_low = 1024, .masquerade_port_high = 2});
  ApplyReport report;
  node.apply(table_of("node 192.0.2.1\nnode 192.0.2.2\nnode fd00::1\npods 10.1.0.0/16").node,
             report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 192.0.2.1 node node-ports
address 192.0.2.2 node node-ports
address fd00::1 node node-ports
localhost-node-ports
masquerade-as 192.0.2.1
masquerade-as fd00::1
pod-cidr 10.1.0.0/16
)");
  ApplyReport second;
  node.apply(table_of("node 192.0.2.2\npods 10.1.0.0/16\npods fd01::/48").node, second);
  EXPECT_EQ(second.writes, 1u + 1u + 2u) << "a CIDR, the config, two addresses away";
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 192.0.2.2 node node-ports
localhost-node-ports
masquerade-as 192.0.2.2
pod-cidr 10.1.0.0/16
pod-cidr fd01::/48
)");
  ApplyReport third;
  node.apply(table_of("node 192.0.2.2\npods 10.1.0.0/16\npods fd01::/48").node, third);
  EXPECT_EQ(third.writes, 0u);
}

TEST(NodeSync, FailedWritesAreRetriedAndEarlierStateIsTakenOver) {
  FakeMaps maps;
  ServiceSync sync(maps);
  bool broken = true;
  FaultyMaps faulty(maps, [&](size_t n, MapId, bool) { return broken && n % 2 == 0 ? EIO : 0; });
  ServiceSync on_faulty(faulty);
  NodeSync node(faulty, on_faulty.addresses(), {});
  NodeConfig wanted = table_of("node 192.0.2.1\nnode fd00::1\npods 10.1.0.0/16").node;
  ApplyReport report;
  node.apply(wanted, report);
  EXPECT_FALSE(report.ok());
  EXPECT_TRUE(node.pending());
  broken = false;
  ApplyReport again;
  node.retry(again);
  EXPECT_TRUE(again.ok());
  EXPECT_FALSE(node.pending());
  std::string expected = dump(maps, sync);
  EXPECT_NE(expected.find("address fd00::1 node node-ports"), std::string::npos);

  ServiceSync again_sync(maps);
  ASSERT_TRUE(again_sync.load());
  NodeSync restarted(maps, again_sync.addresses(), {});
  ASSERT_TRUE(restarted.load());
  ApplyReport after;
  restarted.apply(wanted, after);
  EXPECT_EQ(after.writes, 0u);
  EXPECT_EQ(dump(maps, sync), expected);
}

TEST(NodeSync, EveryWriteMayFailOnce) {
  const NodeConfig first = table_of("node 192.0.2.1\npods 10.1.0.0/16\nservices 10.96.0.0/16").node;
  const NodeConfig second =
      table_of("node 192.0.2.2\npods 10.2.0.0/16\nservices 10.97.0.0/16\nmasquerade-all").node;
  FakeMaps right_maps;
  ServiceSync right_services(right_maps);
  ApplyReport ignored;
  NodeSync(right_maps, right_services.addresses(), {}).apply(second, ignored);
  const std::string right = dump(right_maps, right_services);
  for (size_t broken = 0;; ++broken) {
    FakeMaps maps;
    size_t from = SIZE_MAX;
    FaultyMaps faulty(maps, [&](size_t n, MapId, bool) {
      return from != SIZE_MAX && n == from + broken ? ENOMEM : 0;
    });
    ServiceSync services(faulty);
    NodeSync node(faulty, services.addresses(), {});
    ApplyReport report;
    node.apply(first, report);
    ASSERT_TRUE(report.ok());
    from = faulty.writes();
    node.apply(second, report);
    if (faulty.writes() <= from + broken) {
      EXPECT_TRUE(report.ok());
      EXPECT_GT(broken, 5u) << "addresses, two kinds of CIDRs, the config";
      break;
    }
    ASSERT_EQ(report.errors.size(), 1u) << "write " << broken;
    EXPECT_NE(report.errors[0].find("map: Cannot allocate memory"), std::string::npos)
        << report.errors[0];
    EXPECT_TRUE(node.pending());
    ApplyReport again;
    node.retry(again);
    EXPECT_TRUE(again.ok());
    EXPECT_EQ(dump(maps, services), right) << "write " << broken;
  }
}

TEST(NodeSync, AFullMapIsNamed) {
  FakeMaps maps;
  maps.set_capacity(MapId::pod_cidrs, 1);
  maps.set_capacity(MapId::addresses, 1);
  ServiceSync services(maps);
  NodeSync node(maps, services.addresses(), {});
  ApplyReport report;
  node.apply(table_of("node 192.0.2.1\nnode 192.0.2.2\npods 10.1.0.0/16\npods 10.2.0.0/16").node,
             report);
  ASSERT_EQ(report.errors.size(), 2u);
  EXPECT_NE(report.errors[0].find(": the addresses map is full (1 entries, --max-services)"),
            std::string::npos)
      << report.errors[0];
  EXPECT_EQ(report.errors[1], "node: 10.2.0.0/16: the pod_cidrs map is full (1 entries)");
}

TEST(NodeSync, MasqueradePortsStayOffTheEphemeralRange) {
  using Range = std::pair<uint16_t, uint16_t>;
  EXPECT_EQ(masquerade_ports(32768, 60999), Range(1024, 29999));
  EXPECT_EQ(masquerade_ports(20000, 60999), Range(1024, 19999));
  EXPECT_EQ(masquerade_ports(2000, 60999), Range(61000, 65535));
  EXPECT_EQ(masquerade_ports(1024, 65535), Range(61000, 65535));
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
