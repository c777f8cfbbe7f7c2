// ServiceSync with random tables against maps in memory, also such as fail.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "base/text.h"
#include "tests/dataplane/ebpf/sync_lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

TEST(ServiceSyncProperty, IncrementalIsFullIsReadBackAndNoMomentIsWrong) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    auto sync = std::make_unique<ServiceSync>(maps);
    ServiceTable table;
    sync->apply(table, {}, true);
    for (int step = 0; step < 25; ++step) {
      ServiceTable next = random_table(random, table);
      Sets before = sets_of(table), after = sets_of(next);
      std::string wrong;
      maps.on_write([&] {
        if (wrong.empty()) wrong = wrong_now(maps, before, after);
      });
      ApplyReport report = sync->apply(next, differences(table, next), false);
      maps.on_write(nullptr);
      ASSERT_TRUE(report.ok()) << report.errors[0];
      ASSERT_EQ(wrong, "") << "seed " << seed << " step " << step;
      FakeMaps full_maps;
      ServiceSync full(full_maps);
      ASSERT_TRUE(full.apply(next, {}, true).ok());
      ASSERT_EQ(dump(maps, *sync), dump(full_maps, full)) << "seed " << seed << " step " << step;
      ASSERT_EQ(hashed_choices(maps), hashed_choices(full_maps)) << "seed " << seed;
      if (step % 5 == 4) {  // a restart reads the maps back and has nothing to write
        sync = std::make_unique<ServiceSync>(maps);
        ASSERT_TRUE(sync->load());
        ASSERT_EQ(sync->apply(next, {}, true).writes, 0u) << "seed " << seed << " step " << step;
        ASSERT_EQ(dump(maps, *sync), dump(full_maps, full));
      }
      table = std::move(next);
    }
  }
}

TEST(ServiceSyncProperty, RestartWithAnotherTableIsNeverWrongEither) {
  for (unsigned seed = 100; seed < 160; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    ServiceTable first = random_table(random, random_table(random, {}));
    ServiceSync(maps).apply(first, {}, true);
    ServiceTable second = random_table(random, random_table(random, first));
    ServiceSync sync(maps);
    ASSERT_TRUE(sync.load());
    std::string wrong;
    maps.on_write([&] {
      if (wrong.empty()) wrong = wrong_now(maps, sets_of(first), sets_of(second));
    });
    ASSERT_TRUE(sync.apply(second, {}, true).ok());
    maps.on_write(nullptr);
    EXPECT_EQ(wrong, "") << "seed " << seed;
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(second, {}, true);
    EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed;
  }
}

TEST(ServiceSyncProperty, EveryWriteMayFailOnce) {
  for (unsigned seed = 200; seed < 208; ++seed) {
    std::mt19937 random(seed);
    ServiceTable first = random_table(random, random_table(random, random_table(random, {})));
    ServiceTable second = random_table(random, random_table(random, first));
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(second, {}, true);
    for (size_t broken = 0;; ++broken) {
      FakeMaps maps;
      size_t from = SIZE_MAX;
      FaultyMaps faulty(maps, [&](size_t n, MapId, bool) {
        return from != SIZE_MAX && n == from + broken ? EIO : 0;
      });
      ServiceSync sync(faulty);
      ASSERT_TRUE(sync.apply(first, {}, true).ok());
      from = faulty.writes();
      ApplyReport report = sync.apply(second, differences(first, second), false);
      if (faulty.writes() <= from + broken) {
        EXPECT_TRUE(report.ok());
        break;  // there is no such write
      }
      // A slot or a frontend that failed is tried once more at the end of the same call.
      const bool in_sync = dump(maps, sync) == dump(full_maps, full) &&
                           hashed_choices(maps) == hashed_choices(full_maps);
      EXPECT_EQ(report.ok(), in_sync) << "write " << broken << " failed in silence";
      EXPECT_EQ(sync.pending(), !in_sync);
      EXPECT_EQ(wrong_now(maps, sets_of(first), sets_of(second)), "") << "write " << broken;
      for (int again = 0; again < 3 && sync.pending(); ++again) sync.retry();
      EXPECT_FALSE(sync.pending());
      EXPECT_TRUE(sync.retry().ok());
      EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed << " write " << broken;
      EXPECT_EQ(hashed_choices(maps), hashed_choices(full_maps)) << "seed " << seed;
    }
  }
}

TEST(ServiceSyncProperty, ManyWritesFailAndItStillConverges) {
  for (unsigned seed = 300; seed < 330; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    bool broken = true;
    FaultyMaps faulty(maps,
                      [&](size_t, MapId, bool) { return broken && random() % 3 == 0 ? EIO : 0; });
    ServiceSync sync(faulty);
    ServiceTable table;
    for (int step = 0; step < 10; ++step) {
      ServiceTable next = random_table(random, table);
      sync.apply(next, differences(table, next), step == 0);
      table = std::move(next);
    }
    broken = false;
    for (int again = 0; again < 3; ++again) sync.retry();
    EXPECT_TRUE(sync.retry().ok());
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(table, {}, true);
    EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
