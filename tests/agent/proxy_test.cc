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
  proxy_->update(*tick.snapshot, tick.changes);
  EXPECT_NE(sink_.text().find("no SCTP"), std::string::npos);
  EXPECT_EQ(sink_.text().find("no SCTP"), sink_.text().rfind("no SCTP")) << "once is enough";

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

// A kernel that refuses for a while, and a cluster that goes on changing meanwhile.
TEST_F(ProxyTest, UpdatesThatFailDoNotPutTheRetryOff) {
  FaultyDriver& driver = start<FaultyDriver>();
  driver.fail_all("the map is full");
  for (int i = 0; i < 50; ++i) update();
  driver.heal();
  const MonoTime healed = std::chrono::steady_clock::now();
  run_until([&] { return proxy_->status().applied; });
  EXPECT_TRUE(proxy_->status().applied);
  EXPECT_LT(std::chrono::steady_clock::now() - healed, std::chrono::seconds(5));
}

TEST_F(ProxyTest, ARetryThatFailsIsFollowedByAnother) {
  FaultyDriver& driver = start<FaultyDriver>();
  driver.fail_all("the map is full");
  update();
  const auto errors = [&] {
    return registry_.text().find("fairlead_proxy_apply_errors_total 3\n") != std::string::npos;
  };
  run_until(errors);
  EXPECT_TRUE(errors());
  EXPECT_FALSE(proxy_->status().applied);
  driver.heal();
  run_until([&] { return proxy_->status().applied; });
  EXPECT_EQ(driver.kernel().services, proxy_->table().services);
}

// One Service that the kernel will not have must not keep the others from their changes.
TEST_F(ProxyTest, OneEntryThatFailsKeepsNoOtherOut) {
  FaultyDriver& driver = start<FaultyDriver>();
  update();
  const api::ObjectKey bad = proxy_->table().services.begin()->first;
  driver.fail_service(bad);
  api::SnapshotBuilder builder;
  auto tick = dataplane::big_cluster(builder, 3, 4);
  tick.changes.everything = true;
  proxy_->update(*tick.snapshot, tick.changes);
  EXPECT_FALSE(proxy_->status().last_report.ok());
  EXPECT_TRUE(proxy_->status().applied) << "a full table was there once";
  for (const auto& [key, entry] : proxy_->table().services) {
    EXPECT_EQ(driver.kernel().services.at(key) == entry, key != bad) << key.to_string();
  }
  EXPECT_FALSE(proxy_->verify(false)) << "not while something waits";
  driver.heal();
  run_until([&] { return proxy_->status().last_report.ok(); });
  EXPECT_EQ(driver.kernel().services, proxy_->table().services);
}

api::Node node_object(std::string zone, std::string heartbeat) {
  api::Node node;
  node.meta.key = {"", "node-1"};
  node.meta.annotations["heartbeat"] = std::move(heartbeat);
  node.internal_ips = {Ip::v4(0xc0a80001)};
  node.zone = std::move(zone);
  return node;
}

TEST_F(ProxyTest, ANodeThatChangesIsCompiledAnewOnlyWhenTheTableDependsOnIt) {
  FaultyDriver& driver = start<FaultyDriver>();
  api::SnapshotBuilder builder;
  dataplane::big_cluster(builder, 3, 2);
  const auto put = [&](const api::Node& node) {
    builder.put(std::make_shared<const api::Node>(node));
    const auto tick = builder.take();
    proxy_->update(*tick.snapshot, tick.changes);
  };
  put(node_object("a", "1"));
  EXPECT_EQ(proxy_->table().node.zone, "a");
  const size_t applies = driver.applies();
  put(node_object("a", "2"));
  EXPECT_EQ(driver.applies(), applies);
  put(node_object("b", "2"));
  EXPECT_EQ(driver.applies(), applies + 1);
  EXPECT_EQ(proxy_->table().node.zone, "b");
}

TEST_F(ProxyTest, AddressesOfTheMachineAreAskedOnlyWhenTheSettingsNeedThem) {
  int asked = 0;
  const auto update_with = [&](std::string_view setting) {
    config_.node_port_addresses.clear();
    EXPECT_TRUE(parse_setting(setting, config_.node_port_addresses));
    proxy_ = std::make_unique<Proxy>(loop_, config_, "node-1", std::make_unique<FaultyDriver>(), "",
                                     Log(sink_), registry_, nullptr, [&] {
                                       ++asked;
                                       return std::vector<Ip>{Ip::v4(0x0a000001)};
                                     });
    EXPECT_TRUE(proxy_->start());
    update();
    update();
  };
  update_with("");
  EXPECT_EQ(asked, 0);
  update_with("10.0.0.0/8");
  EXPECT_EQ(asked, 1) << "and not with each tick";
  EXPECT_EQ(proxy_->table().node.node_port_ips, std::vector<Ip>{Ip::v4(0x0a000001)});
}

TEST_F(ProxyTest, AnUpdateThatDoesNotReachTheKernelMakesItUnhealthyInTime) {
  config_.sync_period = std::chrono::milliseconds(1);
  FaultyDriver& driver = start<FaultyDriver>();
  update();
  EXPECT_TRUE(proxy_->health().healthy());
  driver.fail_all("the map is full");
  update();
  run_until([&] { return !proxy_->health().healthy(); });
  EXPECT_FALSE(proxy_->health().healthy());
  driver.heal();
  run_until([&] { return proxy_->health().healthy(); });
  EXPECT_TRUE(proxy_->health().healthy());
}

// Tells which entries it was asked for.
class EntriesDriver final : public dataplane::FakeDriver {
 public:
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override {
    return {cat("entry of ", service.to_string())};
  }
};

TEST_F(ProxyTest, ExplainsWithTheKernelsEntries) {
  start<EntriesDriver>();
  update();
  const auto& [key, entry] = *proxy_->table().services.begin();
  const dataplane::Frontend& frontend = entry.ports.at(0).frontends.at(0);
  const Ip source = Ip::v4(0xcb007107);
  const SocketAddress to{frontend.ip, frontend.port};
  const auto all = proxy_->explain(key, source, std::nullopt);
  EXPECT_EQ(all.mode, "fake");
  EXPECT_EQ(all.kernel, std::vector<std::string>{"entry of " + key.to_string()});
  EXPECT_FALSE(all.flows.empty());
  const auto one = proxy_->explain(key, source, std::pair(to, Protocol::tcp));
  EXPECT_EQ(one.flows.size(), 1u);
  EXPECT_TRUE(proxy_->explain(key, std::nullopt, std::nullopt).flows.empty());
  const auto flow = proxy_->explain(dataplane::FlowQuery{source, to, Protocol::tcp});
  EXPECT_EQ(flow.outcome, dataplane::FlowOutcome::forward);
  EXPECT_EQ(flow.kernel, all.kernel);
  const auto nobody =
      proxy_->explain(dataplane::FlowQuery{source, {Ip::v4(0x08080808), 53}, Protocol::udp});
  EXPECT_TRUE(nobody.kernel.empty());
}

TEST_F(ProxyTest, NamesServicesThatMayHaveBeenMeant) {
  start<dataplane::FakeDriver>();
  EXPECT_EQ(proxy_->expect_service({"default", "web"}).error().message,
            "nothing is known of the cluster yet: see fairlead status");
  update();
  const api::ObjectKey& key = proxy_->table().services.begin()->first;
  EXPECT_TRUE(proxy_->expect_service(key));
  EXPECT_EQ(
      proxy_->expect_service({"elsewhere", key.name}).error().message,
      cat("there is no Service elsewhere/", key.name, "; of this name there is ", key.to_string()));
  EXPECT_EQ(proxy_->expect_service({"default", "none"}).error().message,
            "there is no Service default/none");
}

TEST_F(ProxyTest, VerifiesOnlyWhatIsInSync) {
  FaultyDriver& driver = start<FaultyDriver>();
  EXPECT_FALSE(proxy_->verify(false)) << "no table yet";
  update();
  const auto cannot = proxy_->verify(false);
  ASSERT_FALSE(cannot);
  EXPECT_NE(cannot.error().message.find("cannot read the kernel back"), std::string::npos);
  driver.fail_all("the map is full");
  update();
  EXPECT_NE(proxy_->verify(false).error().message.find("not up to date"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::agent
