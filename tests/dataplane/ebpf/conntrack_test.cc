// When flows leave the connection table.
#include "dataplane/ebpf/conntrack.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr uint32_t now = 1'000'000;

TEST(ConntrackSweep, InAHurryClosedConnectionsGoSoonerAndNothingElse) {
  struct Case {
    const char* what;
    uint8_t protocol;
    uint16_t flags;
    uint32_t idle;
    bool stays, stays_in_a_hurry;
  };
  constexpr uint16_t closed = FL_NAT_REPLIED | FL_NAT_FIN | FL_NAT_PEER_FIN;
  const Case cases[] = {
      {"closed just now", IPPROTO_TCP, closed, 2, true, true},
      {"closed", IPPROTO_TCP, closed, 3, true, false},
      {"reset", IPPROTO_TCP, FL_NAT_RST, 3, true, false},
      {"closed long ago", IPPROTO_TCP, closed, FL_TIMEOUT_TCP_CLOSED + 1, false, false},
      {"idle", IPPROTO_TCP, FL_NAT_REPLIED, 3600, true, true},
      {"half closed", IPPROTO_TCP, FL_NAT_REPLIED | FL_NAT_FIN, 3600, true, true},
      {"opening", IPPROTO_TCP, 0, 30, true, true},
      {"datagrams", IPPROTO_UDP, FL_NAT_REPLIED, 100, true, true},
      {"a packet after the clock was read", IPPROTO_TCP, closed, UINT32_MAX, true, true},
  };
  for (const Case& c : cases) {
    for (const bool hurry : {false, true}) {
      FakeMaps maps;
      std::vector<fl_tuple> keys(1);
      std::vector<fl_nat> values(1);
      keys[0].protocol = c.protocol;
      values[0].flags = c.flags;
      values[0].seen = now - c.idle;
      maps.update(MapId::conntrack, bytes_of(keys), bytes_of(values));
      const ConntrackSweep sweep = sweep_conntrack(maps, now, hurry);
      EXPECT_EQ(sweep.entries, (hurry ? c.stays_in_a_hurry : c.stays) ? 1u : 0u) << c.what;
      EXPECT_EQ(maps.size(MapId::conntrack), sweep.entries) << c.what;
      EXPECT_EQ(sweep.entries + sweep.removed, 1u) << c.what;
    }
  }
}

// While the agent reads on, programs give the entries that it has seen to new connections.
class BusyMaps final : public Maps {
 public:
  explicit BusyMaps(FakeMaps& base) : base_(base) {}
  WriteOutcome update(MapId map, Bytes keys, Bytes values) override {
    return base_.update(map, keys, values);
  }
  WriteOutcome erase(MapId map, Bytes keys) override { return base_.erase(map, keys); }
  int get(MapId map, const std::byte* key, std::byte* value) const override {
    return base_.get(map, key, value);
  }
  size_t capacity(MapId map) const override { return base_.capacity(map); }
  int each(MapId map, const Visit& visit) const override {
    const int error = base_.each(map, visit);
    base_.erase(map, std::as_bytes(std::span(&gone, 1)));
    const fl_nat begun{.seen = now + 1};
    base_.update(map, std::as_bytes(std::span(&reused, 1)), std::as_bytes(std::span(&begun, 1)));
    return error;
  }

  fl_tuple reused{}, gone{};

 private:
  FakeMaps& base_;
};

TEST(ConntrackSweep, AConnectionThatBeginsMeanwhileKeepsItsEntry) {
  FakeMaps maps;
  std::vector<fl_tuple> keys(3);
  std::vector<fl_nat> values(3);
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i].protocol = IPPROTO_TCP;
    keys[i].sport = static_cast<uint16_t>(i);
    values[i].flags = FL_NAT_RST;
    values[i].seen = now - 100;
  }
  maps.update(MapId::conntrack, bytes_of(keys), bytes_of(values));
  BusyMaps busy(maps);
  busy.reused = keys[1];
  busy.gone = keys[2];
  const ConntrackSweep sweep = sweep_conntrack(busy, now);
  EXPECT_EQ(sweep.error, 0);
  EXPECT_EQ(sweep.removed, 1u);
  EXPECT_EQ(sweep.entries, 1u);
  EXPECT_EQ(maps.size(MapId::conntrack), 1u);
  ASSERT_NE(maps.find<fl_nat>(MapId::conntrack, keys[1]), nullptr);
}

TEST(SweepPace, IsDueWhenFlowsMayHaveFilledHalfOfTheMap) {
  constexpr size_t capacity = 1000;
  SweepPace pace;
  EXPECT_FALSE(pace.due(125, capacity)) << "500 entries";
  EXPECT_TRUE(pace.due(126, capacity));
  pace.swept(300, 1'000);
  EXPECT_FALSE(pace.due(1'000, capacity));
  EXPECT_FALSE(pace.due(1'050, capacity));
  EXPECT_TRUE(pace.due(1'051, capacity));
  pace.swept(501, 1'051);
  EXPECT_TRUE(pace.due(1'051, capacity)) << "as long as so many stay";
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
