// Proxy between the feed and a driver: when it counts as brought up, and what it does about writes
// that fail.
#include "agent/proxy.h"

#include <gtest/gtest.h>

#include "dataplane/fake_driver.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::agent {
namespace {

using dataplane::FaultyDriver;

// Everything is written, but one Service needs what the mode does not have.
class LimitedDriver final : public dataplane::FakeDriver {
 public:
  dataplane::ApplyReport apply(const dataplane::ServiceTable& table,
                               const std::set<api::ObjectKey>& changed, bool full) override {
    dataplane::ApplyReport report = FakeDriver::apply(table, changed, full);
    report.unsupported = {"default/dns:sctp: SCTP is not served"};
    return report;
  }
};

class ProxyTest : public ::testing::Test {
 protected:
  template <class D>
  D& start() {
    auto driver = std::make_unique<D>();
    D& kept = *driver;
    proxy_ = std::make_unique<Proxy>(loop_, config_, "node-1", std::move(driver), "as configured",
                                     Log(sink_), registry_);
    EXPECT_TRUE(proxy_->start());
    return kept;
  }
  void update() {
    api::SnapshotBuilder builder;
    auto tick = dataplane::big_cluster(builder, 3, 2);
    tick.changes.everything = true;
    proxy_->update(*tick.snapshot, tick.changes);
  }
  void run_until(const std::function<bool()>& done) {
    const MonoTime end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < end) {
      loop_.run_once(std::chrono::milliseconds(20));
    }
  }

  net::EventLoop loop_;
  AgentConfig config_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<Proxy> proxy_;
};

TEST_F(ProxyTest, IsUpAfterTheFirstFullTable) {
  FaultyDriver& driver = start<FaultyDriver>();
  EXPECT_FALSE(proxy_->status().applied);
  update();
  EXPECT_TRUE(proxy_->status().applied);
  EXPECT_EQ(driver.applies(), 1u);
  EXPECT_EQ(proxy_->status().services, 3u);
}

TEST_F(ProxyTest, AServiceThatTheModeCannotServeDoesNotKeepTheNodeDown) {
  LimitedDriver& driver = start<LimitedDriver>();
  update();
  EXPECT_TRUE(proxy_->status().applied);
  ASSERT_EQ(proxy_->status().last_report.unsupported.size(), 1u);
  EXPECT_EQ(driver.applies(), 1u) << "no retry would help";
}

TEST_F(ProxyTest, AFailedWriteIsTriedAgainUntilItWorks) {
  FaultyDriver& driver = start<FaultyDriver>();
  driver.fail_all("the map is full");
  update();
  EXPECT_FALSE(proxy_->status().applied);
  EXPECT_FALSE(proxy_->status().last_report.ok());
  driver.heal();
  run_until([&] { return proxy_->status().applied; });
  EXPECT_TRUE(proxy_->status().applied);
  EXPECT_TRUE(proxy_->status().last_report.ok());
  EXPECT_EQ(driver.kernel().services, proxy_->table().services);
}

}  // namespace
}  // namespace fairlead::agent
