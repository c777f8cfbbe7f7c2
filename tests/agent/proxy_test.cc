// Proxy between the feed and a driver: when it counts as brought up, and what it does about writes
// that fail.
#include "agent/proxy.h"

#include <gtest/gtest.h>

#include "dataplane/fake_driver.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::agent {
namespace {

using dataplane::FaultyDriver;

// Takes everything, under the name of a mode that has no SCTP.
class LimitedDriver final : public dataplane::FakeDriver {
 public:
  std::string_view mode() const override { return "ebpf"; }
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

TEST_F(ProxyTest, AServiceThatTheModeCannotServeIsNamedAndDoesNotKeepTheNodeDown) {
  LimitedDriver& driver = start<LimitedDriver>();
  api::SnapshotBuilder builder;
  dataplane::big_cluster(builder, 1, 2);
  api::Service sctp;
  sctp.meta.key = {"default", "signal"};
  sctp.cluster_ips = {Ip::v4(0x0a600064)};
  sctp.ports = {{.name = "m3ua", .protocol = Protocol::sctp, .port = 2905}};
  builder.put(std::make_shared<const api::Service>(sctp));
  auto tick = builder.take();
  tick.changes.everything = true;
  proxy_->update(*tick.snapshot, tick.changes);
  EXPECT_TRUE(proxy_->status().applied);
  EXPECT_EQ(driver.applies(), 1u) << "no retry would help";
  ASSERT_EQ(proxy_->status().lacking.size(), 1u);
  EXPECT_EQ(proxy_->status().lacking[0],
            "default/signal:m3ua: no SCTP in ebpf mode; these ports are not served");
  EXPECT_NE(sink_.text().find("no SCTP"), std::string::npos);

  builder.erase(api::Kind::service, sctp.meta.key);
  tick = builder.take();
  proxy_->update(*tick.snapshot, tick.changes);
  EXPECT_TRUE(proxy_->status().lacking.empty());
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
