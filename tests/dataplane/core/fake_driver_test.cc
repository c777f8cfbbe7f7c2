#include "dataplane/fake_driver.h"

#include <gtest/gtest.h>

#include "dataplane/compile.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane {
namespace {

ServiceTable table_of(uint32_t services) {
  api::SnapshotBuilder builder;
  return compile(*big_cluster(builder, services, 2).snapshot, {});
}

TEST(FakeDriver, HoldsOnlyWhatItWasToldAbout) {
  FakeDriver driver;
  ASSERT_TRUE(driver.start());
  const ServiceTable table = table_of(3);
  const ApplyReport report = driver.apply(table, {{"default", "s1"}}, false);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.writes, 1u);
  EXPECT_NE(driver.kernel(), table);  // a forgotten entry shows
  EXPECT_EQ(driver.kernel().services.size(), 1u);
  driver.apply(table, {}, true);
  EXPECT_EQ(driver.kernel(), table);
  EXPECT_EQ(driver.dump(), to_text(table));
  EXPECT_EQ(driver.applies(), 2u);
}

TEST(FakeDriver, FullRemovesWhatTheTableLost) {
  FakeDriver driver;
  driver.apply(table_of(3), {}, true);
  driver.apply(table_of(1), {}, true);
  EXPECT_EQ(driver.kernel(), table_of(1));
  ASSERT_TRUE(driver.cleanup());
  EXPECT_TRUE(driver.kernel().services.empty());
}

TEST(FaultyDriver, FailedWritesAreReportedAndRetried) {
  FaultyDriver driver;
  driver.fail_service({"default", "s1"});
  const ServiceTable table = table_of(3);
  const ApplyReport report = driver.apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0], "service default/s1: write refused");
  EXPECT_EQ(report.writes, 2u);
  EXPECT_FALSE(driver.retry().ok());
  driver.heal();
  EXPECT_TRUE(driver.retry().ok());
  EXPECT_EQ(driver.kernel(), table);
  EXPECT_EQ(driver.retry().writes, 0u);
}

TEST(FaultyDriver, TheNextApplyTriesAgainToo) {
  FaultyDriver driver;
  driver.fail_all("out of memory");
  EXPECT_EQ(driver.apply(table_of(2), {}, true).errors.size(), 2u);
  driver.heal();
  EXPECT_TRUE(driver.apply(table_of(2), {}, false).ok());
  EXPECT_EQ(driver.kernel(), table_of(2));
}

TEST(FaultyDriver, StartCanFail) {
  FaultyDriver driver;
  driver.fail_start("no such kernel");
  EXPECT_EQ(driver.start().error().message, "no such kernel");
  driver.heal();
  EXPECT_TRUE(driver.start());
}

}  // namespace
}  // namespace fairlead::dataplane
