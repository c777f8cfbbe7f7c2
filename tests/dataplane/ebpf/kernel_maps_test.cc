// KernelMaps against maps of the kernel, one of each kind that it is used with: more than one batch
// holds, batches that fail in the middle, maps without batches.
#include "dataplane/ebpf/kernel_maps.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/text.h"
#include "net/fd.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

class KernelMapsTest : public testing::Test {
 protected:
  void SetUp() override { REQUIRE_BPF(); }

  net::Fd make(bpf_map_type type, size_t key, size_t value, uint32_t entries) {
    LIBBPF_OPTS(bpf_map_create_opts, opts);
    if (type == BPF_MAP_TYPE_LPM_TRIE) opts.map_flags = BPF_F_NO_PREALLOC;
    net::Fd fd(bpf_map_create(type, "test", static_cast<uint32_t>(key),
                              static_cast<uint32_t>(value), entries, &opts));
    EXPECT_TRUE(fd) << strerror(errno);
    return fd;
  }
  // As `map`, which has its shape.
  KernelMaps with(MapId map, const net::Fd& fd) {
    KernelMaps::Fds fds;
    fds.fill(-1);
    fds[static_cast<size_t>(map)] = fd.get();
    return KernelMaps(fds);
  }
};

std::vector<fl_backend_key> keys_of(uint32_t from, uint32_t to) {
  std::vector<fl_backend_key> keys;
  for (uint32_t slot = from; slot < to; ++slot) keys.push_back({1, slot});
  return keys;
}

std::map<uint32_t, uint16_t> ports_by_slot(const Maps& maps) {
  std::map<uint32_t, uint16_t> ports;
  each_entry<fl_backend_key, fl_backend>(
      maps, MapId::backends, [&](const fl_backend_key& key, const fl_backend& value) {
        EXPECT_TRUE(ports.emplace(key.slot, value.port).second) << "slot " << key.slot << " twice";
      });
  return ports;
}

TEST_F(KernelMapsTest, EveryEntryOfALargeMapIsReadOnce) {
  constexpr uint32_t count = 70000;  // three batches of 1 MiB
  const net::Fd fd = make(BPF_MAP_TYPE_HASH, sizeof(fl_backend_key), sizeof(fl_backend), count);
  KernelMaps maps = with(MapId::backends, fd);
  EXPECT_EQ(maps.capacity(MapId::backends), count);
  EXPECT_EQ(maps.capacity(MapId::frontends), 0u) << "no such map";
  const auto keys = keys_of(0, count);
  std::vector<fl_backend> values(count);
  for (uint32_t i = 0; i < count; ++i) values[i].port = static_cast<uint16_t>(i);
  const WriteOutcome written = maps.update(MapId::backends, bytes_of(keys), bytes_of(values));
  EXPECT_EQ(written.done, count) << strerror(written.error);
  const auto ports = ports_by_slot(maps);
  ASSERT_EQ(ports.size(), count);
  EXPECT_EQ(ports.at(69999), static_cast<uint16_t>(69999));
  EXPECT_EQ(maps.erase(MapId::backends, bytes_of(keys)).done, count);
  EXPECT_EQ(ports_by_slot(maps).size(), 0u);
}

TEST_F(KernelMapsTest, AWriteSaysHowFarItCame) {
  for (const uint32_t room : {1u, 3u, 5u, 8u}) {
    const net::Fd fd = make(BPF_MAP_TYPE_HASH, sizeof(fl_backend_key), sizeof(fl_backend), room);
    KernelMaps maps = with(MapId::backends, fd);
    for (const uint32_t count : {1u, 3u, 4u, 5u, 9u}) {
      const auto keys = keys_of(0, count);
      const std::vector<fl_backend> values(count);
      const WriteOutcome outcome = maps.update(MapId::backends, bytes_of(keys), bytes_of(values));
      EXPECT_EQ(outcome.done, std::min(count, room)) << count << " into " << room;
      EXPECT_EQ(outcome.error, count > room ? E2BIG : 0) << count << " into " << room;
      EXPECT_EQ(ports_by_slot(maps).size(), std::min(count, room));
      maps.erase(MapId::backends, bytes_of(keys));
    }
  }
}

TEST_F(KernelMapsTest, WhatIsNotThereIsAsGoodAsErasedWhereverItStands) {
  for (const uint32_t count : {3u, 4u, 5u, 9u, 40u}) {
    for (const uint32_t every : {1u, 2u, 3u}) {
      const net::Fd fd = make(BPF_MAP_TYPE_HASH, sizeof(fl_backend_key), sizeof(fl_backend), 64);
      KernelMaps maps = with(MapId::backends, fd);
      const std::vector<fl_backend> one(1);
      for (uint32_t slot = 0; slot < count; slot += every) {
        maps.update(MapId::backends, bytes_of(keys_of(slot, slot + 1)), bytes_of(one));
      }
      maps.update(MapId::backends, bytes_of(keys_of(50, 51)), bytes_of(one));
      const WriteOutcome gone = maps.erase(MapId::backends, bytes_of(keys_of(0, count)));
      EXPECT_EQ(gone.error, 0);
      EXPECT_EQ(gone.done, count);
      EXPECT_EQ(ports_by_slot(maps).size(), 1u) << count << ", each " << every;
    }
  }
}

TEST_F(KernelMapsTest, AClosedMapSaysSo) {
  KernelMaps maps = with(MapId::backends, net::Fd());
  for (const uint32_t count : {1u, 9u}) {
    const auto keys = keys_of(0, count);
    EXPECT_EQ(maps.update(MapId::backends, bytes_of(keys), bytes_of(std::vector<fl_backend>(count)))
                  .error,
              EBADF);
    EXPECT_EQ(maps.erase(MapId::backends, bytes_of(keys)).error, EBADF);
  }
  EXPECT_EQ(maps.each(MapId::backends, [](const std::byte*, const std::byte*) {}), EBADF);
}

TEST_F(KernelMapsTest, OneEntryIsReadOrIsNotThere) {
  const net::Fd fd = make(BPF_MAP_TYPE_HASH, sizeof(fl_tuple), sizeof(fl_nat), 8);
  KernelMaps maps = with(MapId::conntrack, fd);
  std::vector<fl_tuple> keys(2);
  keys[1].sport = 7;
  std::vector<fl_nat> values(1);
  values[0].service = 42;
  maps.update(MapId::conntrack, bytes_of(std::vector{keys[1]}), bytes_of(values));
  fl_nat read{};
  const auto get = [&](const fl_tuple& key) {
    return maps.get(MapId::conntrack, reinterpret_cast<const std::byte*>(&key),
                    reinterpret_cast<std::byte*>(&read));
  };
  EXPECT_EQ(get(keys[0]), ENOENT);
  EXPECT_EQ(get(keys[1]), 0);
  EXPECT_EQ(read.service, 42u);
}

TEST_F(KernelMapsTest, TriesAreWrittenAndReadLikeTheOthers) {
  const net::Fd fd = make(BPF_MAP_TYPE_LPM_TRIE, sizeof(fl_cidr), sizeof(uint32_t), 600);
  KernelMaps maps = with(MapId::pod_cidrs, fd);
  std::vector<fl_cidr> keys;
  for (uint32_t i = 0; i < 601; ++i) {
    fl_cidr key{.prefixlen = 128, .ip = {}};
    key.ip.word[3] = i;
    keys.push_back(key);
  }
  const std::vector<uint32_t> ones(keys.size(), 1);
  const WriteOutcome outcome = maps.update(MapId::pod_cidrs, bytes_of(keys), bytes_of(ones));
  EXPECT_EQ(outcome.done, 600u);
  EXPECT_EQ(write_trouble(maps, MapId::pod_cidrs, outcome.error),
            "the pod_cidrs map is full (600 entries)");
  std::set<uint32_t> seen;
  each_entry<fl_cidr, uint32_t>(maps, MapId::pod_cidrs, [&](const fl_cidr& key, uint32_t) {
    EXPECT_TRUE(seen.insert(key.ip.word[3]).second);
  });
  EXPECT_EQ(seen.size(), 600u);
  EXPECT_EQ(maps.erase(MapId::pod_cidrs, bytes_of(keys)).done, 601u);
}

// Tries and arrays had none in the first kernels that run eBPF mode. No kernel has any for this
// kind, whose entries are links.
TEST_F(KernelMapsTest, MapsWithoutBatchesAreReadKeyByKey) {
  const net::Fd fd = make(BPF_MAP_TYPE_DEVMAP, 4, 4, 300);
  const uint32_t loopback = 1;
  for (const uint32_t key : {0u, 7u, 299u}) {
    ASSERT_EQ(bpf_map_update_elem(fd.get(), &key, &loopback, BPF_ANY), 0) << strerror(errno);
  }
  LIBBPF_OPTS(bpf_map_batch_opts, opts);
  uint32_t count = 300, next = 0;
  std::vector<uint32_t> keys(count), values(count);
  ASSERT_NE(
      bpf_map_lookup_batch(fd.get(), nullptr, &next, keys.data(), values.data(), &count, &opts), 0);
  std::vector<std::string> seen;
  EXPECT_EQ(each_in_map(fd.get(), 4, 4,
                        [&](const std::byte* key, const std::byte* value) {
                          uint32_t slot = 0, link = 0;
                          std::memcpy(&slot, key, 4);
                          std::memcpy(&link, value, 4);
                          seen.push_back(cat(slot, "=", link));
                        }),
            0);
  EXPECT_EQ(seen, (std::vector<std::string>{"0=1", "7=1", "299=1"}));
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
