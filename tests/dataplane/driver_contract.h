// What the driver of every mode keeps to, as tests: over kernels in memory and over real ones. The
// driver_test.cc of a mode includes this once and instantiates DriverContract with its kernels, and
// DriverFaults with those in memory.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "dataplane/compile.h"
#include "tests/dataplane/contract_kernel.h"

namespace fairlead::dataplane {

inline std::string contract_name(const testing::TestParamInfo<ContractCase>& info) {
  return info.param.name;
}

class DriverContract : public testing::TestWithParam<ContractCase> {
 protected:
  void SetUp() override {
    SKIP_WHERE_MISSING(GetParam().missing);
    kernel_ = GetParam().make();
  }

  // What a driver that starts from nothing makes of the table.
  static std::string expected(const ServiceTable& table) {
    const auto kernel = GetParam().make_fake();
    const auto driver = kernel->make_driver();
    EXPECT_TRUE(driver->start());
    const ApplyReport report = driver->apply(table, {}, true);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    return driver->dump();
  }

  std::unique_ptr<Driver> start() {
    auto driver = kernel_->make_driver();
    const auto started = driver->start();
    EXPECT_TRUE(started) << started.error().message;
    return driver;
  }

  static void apply(Driver& driver, const ServiceTable& table,
                    const std::set<api::ObjectKey>& changed, bool full) {
    const ApplyReport report = driver.apply(table, changed, full);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    ASSERT_EQ(driver.dump(), expected(table));
    ASSERT_EQ(drifts(driver, false), "");
  }

  // A line for each drift; "!" marks those that are repaired.
  static std::string drifts(Driver& driver, bool repair) {
    const auto drifts = driver.verify(repair);
    if (!drifts) return cat("error: ", drifts.error().message);
    std::string out;
    for (const Drift& drift : *drifts) append(out, cat(drift.what, drift.repaired ? "!\n" : "\n"));
    return out;
  }

  std::unique_ptr<ContractKernel> kernel_;
};

TEST_P(DriverContract, StartsFromNothing) {
  const auto driver = start();
  EXPECT_EQ(driver->dump(), "");
  const ServiceTable table = big_table(3, 4);
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 3u);
  EXPECT_GT(report.writes, 0u);
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(DriverContract, EveryKindOfServiceIsReadBackAsWritten) {
  const auto driver = start();
  ServiceTable table = every_kind_table();
  apply(*driver, table, {}, true);
  // Without endpoints, and without Services.
  for (auto& [key, entry] : table.services) {
    for (PortRule& rule : entry.ports) rule.backends.clear();
  }
  apply(*driver, table, {}, true);
  table.services.clear();
  apply(*driver, table, {}, true);
}

TEST_P(DriverContract, OneEndpointCostsWhatItChanges) {
  const auto driver = start();
  api::SnapshotBuilder builder;
  ServiceTable table = compile(*big_cluster(builder, 40, 4).snapshot, random_node());
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  builder.put(std::make_shared<const api::EndpointSlice>(big_slice(7, 5)));
  auto tick = builder.take();
  const auto changed = update(table, *tick.snapshot, tick.changes);
  const ApplyReport report = driver->apply(table, changed, false);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 1u);
  EXPECT_EQ(report.writes, GetParam().endpoint_writes);
  EXPECT_EQ(driver->dump(), expected(table));
  // The same table again: nothing to send.
  EXPECT_EQ(driver->apply(table, changed, false).writes, 0u);
}

TEST_P(DriverContract, RandomStepsEndAsCompiledAnewAndAsReadBack) {
  for (uint32_t seed = 1; seed <= GetParam().seeds; ++seed) {
    RandomCluster cluster(seed);
    const auto driver = start();
    ServiceTable table;
    table.node = random_node();
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    for (int step = 0; step < GetParam().steps; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      apply(*driver, table, changed, step % 20 == 19);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(DriverContract, ALaterRunTakesOverWithoutTouchingWhatIsRight) {
  for (const ServiceTable& table : {big_table(5, 4), every_kind_table()}) {
    ASSERT_TRUE(start()->apply(table, {}, true).ok());
    const auto second = start();
    if (GetParam().keeps_entries) {
      EXPECT_EQ(second->dump(), expected(table));
    }
    const ApplyReport report = second->apply(table, {}, true);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    EXPECT_EQ(report.writes == 0, GetParam().keeps_entries);
    EXPECT_EQ(second->dump(), expected(table));
  }
  // What changed while nobody ran is sent as the difference.
  ServiceTable later = big_table(5, 4);
  ASSERT_TRUE(start()->apply(later, {}, true).ok());
  const auto third = start();
  auto& backends = later.services.at({"default", "s2"}).ports[0].backends;
  backends.erase(backends.begin());
  later.services.erase({"default", "s4"});
  const ApplyReport report = third->apply(later, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_LT(report.writes, GetParam().later_writes);
  EXPECT_EQ(third->dump(), expected(later));
}

TEST_P(DriverContract, OtherNodeSettingsAreServedByTheNextApply) {
  ServiceTable table = every_kind_table();
  const auto driver = start();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const std::function<void(NodeConfig&)> changes[] = {
      [](NodeConfig& node) { node.local_pod_cidrs.clear(); },
      [](NodeConfig& node) { node.local_pod_cidrs = {*Cidr::parse("10.7.0.0/16")}; },
      [](NodeConfig& node) { node.service_cidrs = {*Cidr::parse("10.64.0.0/10")}; },
      [](NodeConfig& node) { node.masquerade_all = true; },
      [](NodeConfig& node) { node.node_ips = {Ip::v4(0xc0a80005)}; },
      [](NodeConfig& node) { node.node_port_ips.emplace(); },
  };
  for (const auto& change : changes) {
    change(table.node);
    apply(*driver, table, {}, false);
  }
}

TEST_P(DriverContract, WhatOthersBreakIsNamedAndRepaired) {
  const ServiceTable table = big_table(3, 2);
  const auto driver = start();
  apply(*driver, table, {}, true);
  const auto damages = kernel_->damages();
  EXPECT_GT(damages.size(), 3u);
  for (const auto& [make, said] : damages) {
    SCOPED_TRACE(said);
    ASSERT_TRUE(make());
    const auto seen = driver->verify(false);
    ASSERT_TRUE(seen) << seen.error().message;
    ASSERT_FALSE(seen->empty());
    if (said.ends_with("...")) {
      EXPECT_TRUE(seen->front().what.starts_with(said.substr(0, said.size() - 3)))
          << seen->front().what;
    } else {
      EXPECT_EQ(drifts(*driver, false), cat(said, "\n"));
    }
    EXPECT_FALSE(seen->front().repaired);
    EXPECT_NE(seen->front().owner, "");
    const auto repaired = driver->verify(true);
    ASSERT_TRUE(repaired) << repaired.error().message;
    ASSERT_FALSE(repaired->empty());
    for (const Drift& drift : *repaired) EXPECT_TRUE(drift.repaired) << drift.what;
    EXPECT_EQ(driver->dump(), expected(table));
    EXPECT_EQ(drifts(*driver, false), "");
    // A full apply repairs, too.
    ASSERT_TRUE(make());
    apply(*driver, table, {}, true);
  }
}

TEST_P(DriverContract, EntriesAreNamedForTheServicesThatHaveThem) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  EXPECT_FALSE(driver->kernel_entries({"default", "web"}).empty());
  EXPECT_TRUE(driver->kernel_entries({"default", "nobody"}).empty());
}

TEST_P(DriverContract, CleanupLeavesNothingAndMayBeRepeated) {
  const auto first = start();
  ASSERT_TRUE(first->cleanup());
  ASSERT_TRUE(first->apply(every_kind_table(), {}, true).ok());
  const auto second = kernel_->make_driver();  // as `fairlead cleanup` does: without start()
  const auto cleaned = second->cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  EXPECT_EQ(second->dump(), "");
  ASSERT_TRUE(second->cleanup());
  EXPECT_EQ(second->dump(), "");
  const ServiceTable table = big_table(2, 2);
  ASSERT_TRUE(second->start());
  ASSERT_TRUE(second->apply(table, {}, false).ok());
  EXPECT_EQ(second->dump(), expected(table));
}

TEST_P(DriverContract, OneThatRetiredIsDrainedWithoutFlows) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  const auto retired = driver->retire();
  ASSERT_TRUE(retired) << retired.error().message;
  EXPECT_TRUE(driver->drained());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
}

// Kernels in memory, whose doors can be made to fail.
class DriverFaults : public DriverContract {
 protected:
  // From one table to another with one request failing; then it must end well. False: the request
  // was never made.
  bool survives(size_t door, size_t good, bool full) {
    const ServiceTable before = big_table(3, 3);
    ServiceTable after = big_table(4, 2);
    after.services.erase({"default", "s1"});
    std::set<api::ObjectKey> changed;
    for (int i = 0; i < 4; ++i) changed.insert({"default", cat("s", i)});
    kernel_ = GetParam().make();
    const auto driver = start();
    EXPECT_TRUE(driver->apply(before, {}, true).ok());
    FailsOnce& fault = *kernel_->doors().at(door);
    const std::string said_before = kernel_->log().text();
    fault.fail_after(good);
    const ApplyReport report = driver->apply(after, changed, full);
    if (!fault.failed()) {
      EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
      return false;
    }
    // A driver may have found another way: then the log says so.
    EXPECT_TRUE(!report.ok() || kernel_->log().text() != said_before);
    const ApplyReport again = driver->retry();
    EXPECT_TRUE(again.ok()) << join(again.errors, "\n");
    EXPECT_EQ(driver->dump(), expected(after));
    EXPECT_EQ(driver->retry().writes, 0u);
    return true;
  }

  static ServiceTable faulty_table() { return big_table(3, 2); }

  // Calls act(driver, begin) again and again, each time with a kernel and a driver that has applied
  // faulty_table(): from begin() on one request fails, the first of a door, its second, ..., until
  // there are no more.
  template <class Act>
  void with_each_request_failing(Act act) {
    for (size_t door = 0; door < GetParam().make()->doors().size(); ++door) {
      bool failed = true;
      for (size_t good = 0; failed; ++good) {
        SCOPED_TRACE(cat("door ", door, " request ", good));
        ASSERT_LT(good, 500u);
        kernel_ = GetParam().make();
        auto driver = start();
        ASSERT_TRUE(driver->apply(faulty_table(), {}, true).ok());
        FailsOnce& fault = *kernel_->doors().at(door);
        fault.fail_after(500);  // forgets that it failed
        act(driver, [&] { fault.fail_after(good); });
        failed = fault.failed();
        if (HasFailure()) return;
      }
    }
  }
  void end_faults() {
    for (FailsOnce* door : kernel_->doors()) door->stop_failing();
  }
};

TEST_P(DriverFaults, EveryRequestMayFailOnce) {
  for (size_t door = 0; door < GetParam().make()->doors().size(); ++door) {
    size_t tried = 0;
    for (const bool full : {false, true}) {
      for (size_t good = 0;; ++good, ++tried) {
        SCOPED_TRACE(cat("door ", door, " request ", good, full ? " full" : ""));
        ASSERT_LT(good, 500u);
        if (!survives(door, good, full)) break;
        if (HasFailure()) return;
      }
    }
    EXPECT_GT(tried, 1u);
  }
}

TEST_P(DriverFaults, AVerificationThatFailsIsMadeUpForByTheNext) {
  with_each_request_failing([&](std::unique_ptr<Driver>& driver, const auto& begin) {
    ASSERT_TRUE(kernel_->damages().front().make());
    begin();
    (void)driver->verify(true);
    end_faults();
    const auto verified = driver->verify(true);
    ASSERT_TRUE(verified) << verified.error().message;
    ASSERT_EQ(driver->dump(), expected(faulty_table()));
    ASSERT_EQ(drifts(*driver, false), "");
  });
}

TEST_P(DriverFaults, AStartThatFailsMayBeRepeated) {
  with_each_request_failing([&](std::unique_ptr<Driver>& driver, const auto& begin) {
    driver.reset();
    driver = kernel_->make_driver();
    begin();
    const bool started = driver->start().has_value();
    end_faults();
    if (!started) {
      const auto again = driver->start();
      ASSERT_TRUE(again) << again.error().message;
    }
    ASSERT_TRUE(driver->apply(faulty_table(), {}, true).ok());
    ASSERT_EQ(driver->dump(), expected(faulty_table()));
  });
}

TEST_P(DriverFaults, ACleanupThatFailsMayBeRepeated) {
  with_each_request_failing([&](std::unique_ptr<Driver>& driver, const auto& begin) {
    begin();
    (void)driver->cleanup();
    end_faults();
    const auto again = driver->cleanup();
    ASSERT_TRUE(again) << again.error().message;
    ASSERT_EQ(driver->dump(), "");
  });
}

TEST_P(DriverFaults, ARetirementThatFailsIsMadeUpForByTheCleanup) {
  with_each_request_failing([&](std::unique_ptr<Driver>& driver, const auto& begin) {
    begin();
    (void)driver->retire();
    end_faults();
    EXPECT_TRUE(driver->drained());
    const auto cleaned = driver->cleanup();
    ASSERT_TRUE(cleaned) << cleaned.error().message;
    ASSERT_EQ(driver->dump(), "");
  });
}

TEST_P(DriverFaults, RandomFailuresConverge) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    kernel_ = GetParam().make();
    RandomCluster cluster(seed);
    const auto driver = start();
    ServiceTable table;
    table.node = random_node();
    const auto doors = kernel_->doors();
    for (int step = 0; step < 60; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      for (size_t i = 0; i < doors.size(); ++i) {
        const size_t period = 3 + i;
        if (static_cast<size_t>(step) % period == 0) {
          doors[i]->fail_after(static_cast<size_t>(step) % (7 - i));
        }
      }
      ApplyReport report = driver->apply(table, changed, false);
      for (int i = 0; i < 8 && !report.ok(); ++i) report = driver->retry();
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      for (FailsOnce* door : doors) door->stop_failing();
      ASSERT_EQ(driver->dump(), expected(table));
    }
  }
}

}  // namespace fairlead::dataplane
