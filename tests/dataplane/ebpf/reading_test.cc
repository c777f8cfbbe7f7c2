// Reading the maps back: what verify() says of each of them, and what is said when one cannot be
// read or holds what nobody wrote.
#include <gtest/gtest.h>

#include <cerrno>

#include "base/text.h"
#include "dataplane/ebpf/conntrack.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/verify.h"
#include "tests/dataplane/ebpf/sync_lab.h"
#include "tests/dataplane/ebpf/tables.h"

namespace fairlead::dataplane::ebpf {
namespace {

using test::table_of;

// One entry in each map.
constexpr const char* one_of_each = R"(
node 192.0.2.1
pods 10.1.0.0/16
services 10.96.0.0/16
nodes 192.0.2.0/24
nodes fd02::/64
a/web TCP lb:203.0.113.1:80 -> 10.1.0.2:8080 from=10.0.0.0/8 maglev
)";

// Reads nothing of one map.
class UnreadableMaps final : public Maps {
 public:
  UnreadableMaps(Maps& base, MapId broken) : base_(base), broken_(broken) {}
  WriteOutcome update(MapId map, Bytes keys, Bytes values) override {
    return base_.update(map, keys, values);
  }
  WriteOutcome erase(MapId map, Bytes keys) override { return base_.erase(map, keys); }
  int each(MapId map, const Visit& visit) const override {
    return map == broken_ ? EPERM : base_.each(map, visit);
  }
  int get(MapId map, const std::byte* key, std::byte* value) const override {
    return map == broken_ ? EPERM : base_.get(map, key, value);
  }
  size_t capacity(MapId map) const override { return base_.capacity(map); }

 private:
  Maps& base_;
  MapId broken_;
};

class Reading : public testing::Test {
 protected:
  void SetUp() override {
    const ServiceTable table = table_of(one_of_each);
    ApplyReport report;
    node_.apply(table.node, report);
    ASSERT_TRUE(report.ok());
    ASSERT_TRUE(services_.apply(table, {}, true).ok());
  }
  using Blob = std::vector<std::byte>;
  std::pair<Blob, Blob> entry_of(MapId map) const {
    EXPECT_EQ(maps_.size(map), 1u);
    std::pair<Blob, Blob> out;
    const MapShape& shape = shape_of(map);
    maps_.each(map, [&](const std::byte* key, const std::byte* value) {
      out = {{key, key + shape.key_size}, {value, value + shape.value_size}};
    });
    return out;
  }
  // What verify() says, and that it puts it right when asked to.
  std::string drift() {
    const auto found = *verify_maps(maps_, services_, node_, false);
    const auto repaired = *verify_maps(maps_, services_, node_, true);
    EXPECT_EQ(found.size(), 1u);
    EXPECT_EQ(repaired.size(), found.size());
    if (found.size() != 1 || repaired.size() != 1) return "";
    EXPECT_TRUE(!found[0].repaired && repaired[0].repaired);
    EXPECT_TRUE(verify_maps(maps_, services_, node_, false)->empty()) << found[0].what;
    return found[0].what;
  }

  FakeMaps maps_;
  ServiceSync services_{maps_};
  NodeSync node_{maps_, services_.addresses(), {.netns_cookie = 7}};
};

TEST_F(Reading, EveryMapHasItsWordsForADrift) {
  const std::pair<MapId, const char*> cases[] = {
      {MapId::frontends, "frontend 203.0.113.1:80/TCP"},
      {MapId::backends, "backend slot 0 of list 1"},
      {MapId::members, "member 10.1.0.2:8080 of service 1"},
      {MapId::addresses, "address 192.0.2.1"},
      {MapId::source_ranges, "source range 10.0.0.0/8 of service 1"},
      {MapId::pod_cidrs, "pod CIDR 10.1.0.0/16"},
      {MapId::service_cidrs, "service CIDR 10.96.0.0/16"},
      {MapId::config, "the node's config"},
      {MapId::maglev, "table of list 1"},
  };
  for (const auto& [map, words] : cases) {
    auto [key, value] = entry_of(map);
    maps_.erase(map, key);
    EXPECT_EQ(drift(), cat(words, " is missing"));
    Blob other = value;
    other.back() ^= std::byte{1};
    maps_.update(map, key, other);
    EXPECT_EQ(drift(), cat(words, " has another value"));
    EXPECT_EQ(entry_of(map), std::pair(key, value));
    if (map == MapId::config) continue;  // an array has no other key
    key.back() ^= std::byte{1};
    maps_.update(map, key, value);
    EXPECT_TRUE(drift().ends_with(" is not ours")) << words;
  }
}

TEST_F(Reading, AMapThatCannotBeReadIsNamed) {
  for (const MapId map :
       {MapId::frontends, MapId::backends, MapId::members, MapId::addresses, MapId::source_ranges,
        MapId::pod_cidrs, MapId::service_cidrs, MapId::maglev, MapId::config}) {
    UnreadableMaps maps(maps_, map);
    const std::string words =
        cat("cannot read the ", shape_of(map).name, " map: Operation not permitted");
    const auto verified = verify_maps(maps, services_, node_, true);
    ASSERT_FALSE(verified);
    EXPECT_EQ(verified.error().message, words);
    if (map == MapId::config) continue;  // it is written anew
    ServiceSync services(maps);
    NodeSync node(maps, services.addresses(), {});
    Result<void> loaded = services.load();
    if (loaded) loaded = node.load();
    ASSERT_FALSE(loaded) << words;
    EXPECT_EQ(loaded.error().message, words);
  }
}

TEST_F(Reading, ADumpSaysThatItIsNotWhole) {
  const auto name = [](uint32_t) { return std::string("a/web:p"); };
  for (const MapId map :
       {MapId::backends, MapId::members, MapId::maglev, MapId::source_ranges, MapId::frontends}) {
    const UnreadableMaps maps(maps_, map);
    const std::string text = dump_maps(maps, name);
    EXPECT_TRUE(text.ends_with(": Operation not permitted\n")) << text;
    EXPECT_TRUE(text.starts_with("mode ebpf\naddress 192.0.2.1 node node-ports\n")) << text;
  }
}

TEST_F(Reading, ADumpShowsWhatDoesNotFitTogether) {
  const auto name = [](uint32_t id) { return id == 1 ? std::string("a/web:p") : std::string(); };
  const char* node_part = R"(mode ebpf
address 192.0.2.1 node node-ports
localhost-node-ports
masquerade-as 192.0.2.1
nodes-in 192.0.2.0/24
nodes-in fd02::/64
pod-cidr 10.1.0.0/16
service-cidr 10.96.0.0/16
)";
  EXPECT_EQ(dump_maps(maps_, name), cat(node_part, R"(frontend 203.0.113.1:80/TCP a/web:p maglev
  backend 10.1.0.2:8080 places 2011
  source-range 10.0.0.0/8
)"));
  maps_.erase(MapId::source_ranges, entry_of(MapId::source_ranges).first);
  maps_.erase(MapId::members, entry_of(MapId::members).first);
  EXPECT_EQ(dump_maps(maps_, name), cat(node_part, R"(frontend 203.0.113.1:80/TCP a/web:p maglev
  backend 10.1.0.2:8080 (no member) places 2011
  no source-range
)"));
  auto [key, value] = entry_of(MapId::backends);
  maps_.erase(MapId::backends, key);
  key.front() ^= std::byte{2};  // list 3
  maps_.update(MapId::backends, key, value);
  EXPECT_EQ(dump_maps(maps_, name), cat(node_part, R"(frontend 203.0.113.1:80/TCP a/web:p maglev
  missing slot 0
  no source-range
unreachable slots 1
)"));
  maps_.erase(MapId::frontends, entry_of(MapId::frontends).first);
  EXPECT_EQ(dump_maps(maps_, name), cat(node_part, "unreachable slots 1\nstray tables 1\n"));
}

TEST_F(Reading, FlowsThatCannotBeReadStayAndEveryPacketIsLookedAt) {
  const std::vector<fl_tuple> keys(1);
  const std::vector<fl_nat> values(1);
  maps_.update(MapId::conntrack, bytes_of(keys), bytes_of(values));
  UnreadableMaps maps(maps_, MapId::conntrack);
  const ConntrackSweep sweep = sweep_conntrack(maps, 1'000'000);
  EXPECT_EQ(sweep.error, EPERM);
  EXPECT_EQ(sweep.removed, 0u);
  EXPECT_EQ(maps_.size(MapId::conntrack), 1u);
  EXPECT_EQ(live_flows(maps_, 1'000'000), 0u) << "it has been idle for long";
  EXPECT_NE(live_flows(maps, 1'000'000), 0u) << "or would be thrown away with all others";
  const auto memory = std::make_unique<fl_marks>();
  EXPECT_EQ(Marks(*memory).refresh(maps), EPERM);
  EXPECT_NE(memory->everything, 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
