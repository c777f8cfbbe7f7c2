// The marks that let tc pass most packets: what is marked, what is forgotten, and what never may
// be.
#include "dataplane/ebpf/marks.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>

#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

class MarksTest : public testing::Test {
 protected:
  static fl_ip ip(const char* text) { return to_map(*Ip::parse(text)); }
  void frontend(const char* address) {
    const fl_frontend_key key = {.ip = ip(address), .port = 80, .protocol = 6, .scope = 0};
    const fl_frontend value = {};
    maps.update(MapId::frontends, std::as_bytes(std::span(&key, 1)),
                std::as_bytes(std::span(&value, 1)));
  }
  void remove_frontend(const char* address) {
    const fl_frontend_key key = {.ip = ip(address), .port = 80, .protocol = 6, .scope = 0};
    maps.erase(MapId::frontends, std::as_bytes(std::span(&key, 1)));
  }
  static fl_tuple tuple(uint8_t hook, const char* src, const char* dst) {
    fl_tuple key{};
    key.src = ip(src);
    key.dst = ip(dst);
    key.hook = hook;
    return key;
  }
  void flow(const fl_tuple& key) {  // as a program does, past the marking
    const fl_nat value = {};
    base.update(MapId::conntrack, std::as_bytes(std::span(&key, 1)),
                std::as_bytes(std::span(&value, 1)));
  }
  // What bpf/marks.h asks.
  bool at_ingress(const char* dst) const {
    const fl_ip address = ip(dst);
    if (!memory->slots[fl_block_slot(&address)]) return false;
    return memory->slots[fl_address_slot(&address)] || memory->slots[fl_range_slot(&address)];
  }
  bool at_egress(const char* src, const char* dst) const {
    const fl_ip a = ip(src), b = ip(dst);
    return memory->slots[fl_pair_slot(&a, &b)];
  }
  void range(const char* cidr) {
    const fl_cidr key = to_map(*Cidr::parse(cidr));
    const uint32_t one = 1;
    maps.update(MapId::service_cidrs, std::as_bytes(std::span(&key, 1)),
                std::as_bytes(std::span(&one, 1)));
  }

  std::unique_ptr<fl_marks> memory = std::make_unique<fl_marks>();
  FakeMaps base;
  Marks marks{*memory};
  MarkingMaps maps{base, marks};
};

TEST_F(MarksTest, WhatIsWrittenIsMarkedAtOnceAndForgottenAfterTwoRefreshes) {
  memory->generation = 1;
  frontend("10.96.0.1");
  frontend("fd00::1");
  EXPECT_TRUE(at_ingress("10.96.0.1"));
  EXPECT_TRUE(at_ingress("fd00::1"));
  EXPECT_FALSE(at_ingress("10.96.0.2"));
  EXPECT_FALSE(at_ingress("fd00::2"));
  for (int i = 0; i < 600; ++i) ASSERT_EQ(marks.refresh(maps), 0);  // generations go round
  EXPECT_TRUE(at_ingress("10.96.0.1"));
  remove_frontend("10.96.0.1");
  marks.refresh(maps);
  EXPECT_TRUE(at_ingress("10.96.0.1")) << "a program may have it in hand";
  marks.refresh(maps);
  EXPECT_FALSE(at_ingress("10.96.0.1"));
  EXPECT_TRUE(at_ingress("fd00::1"));
  EXPECT_EQ(marks.used(), 2u) << "the address and its block";
}

TEST_F(MarksTest, FlowsOutliveTheirService) {
  memory->generation = 255;
  flow(tuple(FL_INGRESS, "10.1.0.2", "10.96.0.1"));
  flow(tuple(FL_EGRESS, "10.1.0.9", "10.1.0.2"));
  for (int i = 0; i < 5; ++i) ASSERT_EQ(marks.refresh(maps), 0);
  EXPECT_TRUE(at_ingress("10.96.0.1"));
  EXPECT_FALSE(at_ingress("10.1.0.2"));
  EXPECT_TRUE(at_egress("10.1.0.9", "10.1.0.2"));
  EXPECT_TRUE(at_egress("10.1.0.2", "10.1.0.9")) << "either way round";
  EXPECT_FALSE(at_egress("10.1.0.9", "10.1.0.3"));
  const fl_tuple key = tuple(FL_EGRESS, "10.1.0.9", "10.1.0.2");
  maps.erase(MapId::conntrack, std::as_bytes(std::span(&key, 1)));
  marks.refresh(maps);
  marks.refresh(maps);
  EXPECT_FALSE(at_egress("10.1.0.9", "10.1.0.2"));
}

// A program reads the generation, the agent begins the next, the program writes the mark.
TEST_F(MarksTest, MarksOfTheLastGenerationStay) {
  marks.refresh(maps);
  const fl_ip address = ip("10.96.0.7");
  const auto slot = fl_address_slot(&address);
  const auto seen = static_cast<uint8_t>(memory->generation);
  marks.refresh(maps);
  memory->slots[slot] = seen;
  marks.refresh(maps);
  EXPECT_EQ(memory->slots[slot], 0) << "two generations late";
  memory->slots[slot] = static_cast<uint8_t>(memory->generation);
  marks.refresh(maps);
  EXPECT_NE(memory->slots[slot], 0);
}

// A kernel that does not let its maps be read.
class UnreadableMaps final : public Maps {
 public:
  WriteOutcome update(MapId, Bytes, Bytes) override { return {}; }
  WriteOutcome erase(MapId, Bytes) override { return {}; }
  int each(MapId, const Visit&) const override { return EPERM; }
  int get(MapId, const std::byte*, std::byte*) const override { return EPERM; }
  size_t capacity(MapId) const override { return 0; }
};

TEST_F(MarksTest, EveryPacketIsLookedAtUntilTheMapsAreRead) {
  marks.suspend();
  EXPECT_EQ(memory->everything, 1u);
  EXPECT_EQ(marks.refresh(maps), 0);
  EXPECT_EQ(memory->everything, 0u);
  EXPECT_EQ(marks.refresh(UnreadableMaps()), EPERM);
  EXPECT_EQ(memory->everything, 1u);
  EXPECT_EQ(marks.refresh(maps), 0);
  EXPECT_EQ(memory->everything, 0u);
}

TEST_F(MarksTest, RangesMarkTheirBlocks) {
  range("10.96.0.0/20");
  range("fd00::1:0/116");
  EXPECT_TRUE(at_ingress("10.96.0.0"));
  EXPECT_TRUE(at_ingress("10.96.15.255"));
  EXPECT_FALSE(at_ingress("10.96.16.0"));
  EXPECT_FALSE(at_ingress("10.95.255.255"));
  frontend("10.97.0.1");
  EXPECT_FALSE(at_ingress("10.97.0.2")) << "a block with one address that is dialled";
  EXPECT_TRUE(at_ingress("fd00::1:0"));
  EXPECT_TRUE(at_ingress("fd00::1:fff"));
  EXPECT_FALSE(at_ingress("fd00::1:1000"));
  EXPECT_EQ(memory->everything, 0u);
  range("10.0.0.0/8");
  EXPECT_EQ(memory->everything, 1u) << "more blocks than are worth marking";
  marks.refresh(maps);
  EXPECT_EQ(memory->everything, 1u);
}

// Hashes that fell together would cost more than the question saves.
TEST(MarkSlots, AddressesThatFollowEachOtherAreFarApart) {
  for (const char* first : {"10.96.0.0", "192.168.7.0", "fd00::", "2001:db8:1:2::"}) {
    std::set<uint32_t> addresses, pairs, blocks;
    fl_ip base = to_map(*Ip::parse(first)), peer = to_map(*Ip::parse("10.1.2.3"));
    for (uint32_t i = 0; i < 10'000; ++i) {
      fl_ip ip = base;
      ip.word[3] = __builtin_bswap32(__builtin_bswap32(base.word[3]) + i);
      addresses.insert(fl_address_slot(&ip));
      pairs.insert(fl_pair_slot(&ip, &peer));
      EXPECT_EQ(fl_pair_slot(&ip, &peer), fl_pair_slot(&peer, &ip));
      ip.word[3] = __builtin_bswap32(__builtin_bswap32(base.word[3]) + i * 256);
      blocks.insert(fl_block_slot(&ip));
    }
    EXPECT_GT(blocks.size(), 9'400u) << first;
    // Of 10,000 balls in 131,072 boxes, about 370 share one. Pairs are hashed with less care.
    EXPECT_GT(addresses.size(), 9'400u) << first;
    EXPECT_GT(pairs.size(), 9'300u) << first;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
