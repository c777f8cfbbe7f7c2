// The userspace driver over the fake kernel and, where this machine has what it needs, over the
// real one: the same cases run on both.
#include "dataplane/userspace/driver.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/userspace/fake_kernel.h"
#include "net/netlink.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane {
namespace {

using namespace userspace;

class BorrowedClock final : public Clock {
 public:
  explicit BorrowedClock(const Clock& clock) : clock_(clock) {}
  MonoTime now() const override { return clock_.now(); }
  WallTime wall() const override { return clock_.wall(); }

 private:
  const Clock& clock_;
};

UserspaceDoors fake_doors(FakeKernel& kernel, const Clock& clock) {
  return {make_fake_capture(kernel), make_fake_routes(kernel),
          std::make_unique<BorrowedClock>(clock)};
}

FakeKernel node_kernel() {
  FakeKernel kernel;
  for (const Ip& ip : random_node().node_ips) kernel.addresses.insert(ip);
  return kernel;
}

enum class KernelKind { fake, real };

class UserspaceDriver : public testing::TestWithParam<KernelKind> {
 protected:
  void SetUp() override {
    if (GetParam() == KernelKind::fake) return;
    SKIP_WITHOUT_NAMESPACES();
    netns_ = std::make_unique<FreshNetns>();
    netlink_.emplace(*net::Netlink::open());
    ASSERT_TRUE(netlink_->add_veth("d0", "d1"));
    ASSERT_TRUE(netlink_->set_up("d1"));
    ASSERT_TRUE(netlink_->set_up("d0"));
    for (const Ip& ip : random_node().node_ips) {
      ASSERT_TRUE(netlink_->add_address("d0", ip, ip.is_v4() ? 24 : 64));
    }
  }

  std::unique_ptr<Driver> make_driver() {
    auto driver = GetParam() == KernelKind::fake
                      ? make_userspace_driver({}, Log(sink_), registry_, fake_doors(fake_, clock_))
                      : make_userspace_driver({}, Log(sink_), registry_);
    const auto started = driver->start();
    EXPECT_TRUE(started) << started.error().message;
    return driver;
  }

  // What a driver that starts from nothing makes of the table.
  static std::string expected(const ServiceTable& table) {
    MemoryLogSink sink;
    Registry registry;
    RealClock clock;
    FakeKernel kernel = node_kernel();
    const auto driver = make_userspace_driver({}, Log(sink), registry, fake_doors(kernel, clock));
    EXPECT_TRUE(driver->start());
    const ApplyReport report = driver->apply(table, {}, true);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    return driver->dump();
  }

  void break_route(const Ip& ip) {
    if (netlink_) {
      ASSERT_TRUE(netlink_->delete_local(ip, route_protocol));
    } else {
      fake_.routes.erase(ip);
    }
  }
  void add_route(const Ip& ip) {
    if (netlink_) {
      ASSERT_TRUE(netlink_->add_local({ip, {}}, route_protocol));
    } else {
      fake_.routes.emplace(ip, std::nullopt);
    }
  }
  size_t routes() {
    return netlink_ ? netlink_->locals(route_protocol)->size() : fake_.routes.size();
  }

  MemoryLogSink sink_;
  Registry registry_;
  RealClock clock_;
  FakeKernel fake_ = node_kernel();
  std::unique_ptr<FreshNetns> netns_;
  std::optional<net::Netlink> netlink_;
};

INSTANTIATE_TEST_SUITE_P(Kernels, UserspaceDriver,
                         testing::Values(KernelKind::fake, KernelKind::real),
                         [](const auto& suite) {
                           return suite.param == KernelKind::fake ? "Fake" : "Real";
                         });

constexpr std::string_view web = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.1
  externalIPs: [192.168.0.2, 203.0.113.1]
  ports: [{name: p, port: 80, nodePort: 30080}, {name: d, port: 53, nodePort: 30053, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: p, port: 8080}]
endpoints: [{addresses: ["10.2.0.2"]}]
)";

ServiceTable web_table() {
  api::SnapshotBuilder builder;
  EXPECT_TRUE(put_yaml(builder, web));
  return compile(*builder.take().snapshot, random_node());
}

constexpr std::string_view web_dump =
    "captured 10.96.0.1:53/UDP -> refuse\n"
    "captured 10.96.0.1:80/TCP -> tcp\n"
    "captured 127.0.0.1:30053/UDP -> refuse\n"
    "captured 127.0.0.1:30080/TCP -> tcp\n"
    "captured 192.168.0.1:30053/UDP -> refuse\n"
    "captured 192.168.0.1:30080/TCP -> tcp\n"
    "captured 192.168.0.2:53/UDP -> refuse\n"
    "captured 192.168.0.2:80/TCP -> tcp\n"
    "captured 192.168.0.2:30053/UDP -> refuse\n"
    "captured 192.168.0.2:30080/TCP -> tcp\n"
    "captured 203.0.113.1:53/UDP -> refuse\n"
    "captured 203.0.113.1:80/TCP -> tcp\n"
    "vip 10.96.0.1\n"
    "vip 203.0.113.1\n"  // 192.168.0.2 is the node's own: its other ports stay as they are
    "local 10.96.0.1 src 192.168.0.1\n"
    "local 203.0.113.1 src 192.168.0.1\n";

TEST_P(UserspaceDriver, CapturesWhatTheTableSays) {
  const auto driver = make_driver();
  EXPECT_EQ(driver->mode(), "userspace");
  EXPECT_EQ(driver->dump(), "");
  const ServiceTable table = web_table();
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 1u);
  EXPECT_EQ(report.writes, 16u);
  EXPECT_EQ(driver->dump(), web_dump);
  EXPECT_EQ(driver->apply(table, {{"default", "web"}}, false).writes, 0u);
  EXPECT_EQ(driver->apply(table, {}, true).writes, 0u);
  EXPECT_EQ(join(driver->kernel_entries({"default", "web"}), "\n"),
            "sk_lookup captured 10.96.0.1:53/UDP -> refuse\n"
            "sk_lookup captured 10.96.0.1:80/TCP -> tcp\n"
            "sk_lookup captured 127.0.0.1:30053/UDP -> refuse\n"
            "sk_lookup captured 127.0.0.1:30080/TCP -> tcp\n"
            "sk_lookup captured 192.168.0.1:30053/UDP -> refuse\n"
            "sk_lookup captured 192.168.0.1:30080/TCP -> tcp\n"
            "sk_lookup captured 192.168.0.2:53/UDP -> refuse\n"
            "sk_lookup captured 192.168.0.2:80/TCP -> tcp\n"
            "sk_lookup captured 192.168.0.2:30053/UDP -> refuse\n"
            "sk_lookup captured 192.168.0.2:30080/TCP -> tcp\n"
            "sk_lookup captured 203.0.113.1:53/UDP -> refuse\n"
            "sk_lookup captured 203.0.113.1:80/TCP -> tcp\n"
            "local 10.96.0.1 dev lo table local proto 146 src 192.168.0.1\n"
            "local 203.0.113.1 dev lo table local proto 146 src 192.168.0.1");
  EXPECT_TRUE(driver->kernel_entries({"default", "none"}).empty());
}

TEST_P(UserspaceDriver, ABackendMoreCostsNothingInTheKernel) {
  const auto driver = make_driver();
  ServiceTable table = web_table();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.services.begin()->second.ports[0].backends.push_back({Ip::v4(0x0a020009), 8080, false});
  const ApplyReport report = driver->apply(table, {{"default", "web"}}, false);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.writes, 0u);
}

TEST_P(UserspaceDriver, RandomStepsEndAsCompiledAnewAndAsReadBack) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    RandomCluster cluster(seed);
    const auto driver = make_driver();
    ServiceTable table;
    table.node = random_node();
    ASSERT_TRUE(driver->apply(table, {}, true).ok());
    for (int step = 0; step < 60; ++step) {
      const auto tick = cluster.step();
      const auto changed = update(table, *tick.snapshot, tick.changes);
      const ApplyReport report = driver->apply(table, changed, step % 20 == 19);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_EQ(driver->dump(), expected(table)) << "seed " << seed << " step " << step;
      const auto drifts = driver->verify(false);
      ASSERT_TRUE(drifts);
      ASSERT_TRUE(drifts->empty()) << drifts->front().what;
    }
  }
}

TEST_P(UserspaceDriver, OtherAddressesOfTheNodeAreServedByTheNextApply) {
  const auto driver = make_driver();
  ServiceTable table = web_table();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.node_ips = {Ip::v4(0xc0a80002)};
  ASSERT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_EQ(driver->dump(), expected(table));
  EXPECT_NE(driver->dump().find("local 10.96.0.1 src 192.168.0.2"), std::string::npos);
  EXPECT_EQ(driver->dump().find("192.168.0.1"), std::string::npos);
}

TEST_P(UserspaceDriver, ALaterRunRemovesWhatAKilledOneLeft) {
  add_route(Ip::v4(0x0a600009));
  add_route(*Ip::parse("fd96::9"));
  EXPECT_EQ(routes(), 2u);
  const auto driver = make_driver();
  EXPECT_EQ(routes(), 0u);
  EXPECT_NE(sink_.text().find("earlier run"), std::string::npos);
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  EXPECT_EQ(driver->dump(), web_dump);
}

TEST_P(UserspaceDriver, CleanupWithoutStartRemovesWhatAKilledRunLeft) {
  add_route(Ip::v4(0x0a600009));
  const auto driver =
      GetParam() == KernelKind::fake
          ? make_userspace_driver({}, Log(sink_), registry_, fake_doors(fake_, clock_))
          : make_userspace_driver({}, Log(sink_), registry_);
  EXPECT_EQ(routes(), 1u);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(routes(), 0u);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_FALSE(driver->apply(web_table(), {}, true).ok()) << "not started";
  EXPECT_FALSE(driver->verify(true));
}

TEST_P(UserspaceDriver, NothingOutlivesIt) {
  {
    const auto driver = make_driver();
    ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
    EXPECT_EQ(routes(), 2u);
  }
  EXPECT_EQ(routes(), 0u);
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  EXPECT_EQ(driver->dump(), web_dump);
}

TEST_P(UserspaceDriver, WhatOthersBreakIsFoundAndRepaired) {
  const auto driver = make_driver();
  EXPECT_FALSE(driver->verify(true)) << "there is no table yet";
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  break_route(Ip::v4(0x0a600001));
  add_route(Ip::v4(0x0a600009));
  const std::vector<Drift> wanted = {
      {"route local 10.96.0.1 src 192.168.0.1 is missing", "another user of ip route", false},
      {"route local 10.96.0.9 belongs to no Service", "another user of ip route", false}};
  EXPECT_EQ(*driver->verify(false), wanted);
  EXPECT_NE(driver->dump(), web_dump);
  std::vector<Drift> repaired = wanted;
  for (Drift& drift : repaired) drift.repaired = true;
  EXPECT_EQ(*driver->verify(true), repaired);
  EXPECT_EQ(driver->dump(), web_dump);
  EXPECT_TRUE(driver->verify(true)->empty());
  // A full apply reads the kernel, too.
  break_route(Ip::v4(0x0a600001));
  EXPECT_EQ(driver->apply(web_table(), {}, true).writes, 1u);
  EXPECT_EQ(driver->dump(), web_dump);
}

TEST_P(UserspaceDriver, ARetiredOneTakesNoMoreAndKeepsItsAddresses) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  ASSERT_TRUE(driver->retire());
  EXPECT_TRUE(driver->drained());
  EXPECT_EQ(driver->apply({}, {}, true).writes, 0u);
  EXPECT_EQ(driver->dump(), web_dump);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(routes(), 0u);
}

class UserspaceDriverOnFake : public testing::Test {
 protected:
  std::unique_ptr<Driver> make_driver() {
    return make_userspace_driver({}, Log(sink_), registry_, fake_doors(kernel_, clock_));
  }

  MemoryLogSink sink_;
  Registry registry_;
  RealClock clock_;
  FakeKernel kernel_ = node_kernel();
};

TEST_F(UserspaceDriverOnFake, EachWriteFailsOnceIsSaidAndMadeUp) {
  ServiceTable later = web_table();
  later.services.begin()->second.ports.pop_back();
  for (Frontend& frontend : later.services.begin()->second.ports[0].frontends) {
    if (frontend.kind == FrontendKind::external_ip) frontend.ip = Ip::v4(0xcb007109);
  }
  const std::set<api::ObjectKey> changed{{"default", "web"}};
  size_t failures = 0;
  for (size_t at = 1; at <= 40; ++at) {
    kernel_ = node_kernel();
    auto driver = make_driver();
    ASSERT_TRUE(driver->start());
    kernel_.fail_at = at;
    const ApplyReport first = driver->apply(web_table(), {}, true);
    ApplyReport second;
    if (first.ok()) second = driver->apply(later, changed, false);
    if (first.ok() && second.ok()) break;
    ++failures;
    const auto& errors = first.ok() ? second.errors : first.errors;
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_NE(errors[0].find("was to fail"), std::string::npos) << errors[0];
    EXPECT_TRUE(driver->retry().ok());
    EXPECT_TRUE(driver->retry().ok());
    EXPECT_EQ(driver->retry().writes, 0u);
    EXPECT_TRUE(driver->verify(false)->empty()) << "write " << at;
    EXPECT_TRUE(driver->apply(later, changed, false).ok());
    FakeKernel fresh = node_kernel();
    const auto other = make_userspace_driver({}, Log(sink_), registry_, fake_doors(fresh, clock_));
    ASSERT_TRUE(other->start());
    ASSERT_TRUE(other->apply(later, {}, true).ok());
    EXPECT_EQ(driver->dump(), other->dump()) << "write " << at;
    driver.reset();  // while its kernel is there
  }
  EXPECT_GT(failures, 20u);
}

TEST_F(UserspaceDriverOnFake, AnAddressIsLocalOnlyWhileItsPortsAreGuarded) {
  auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  kernel_.fail_at = kernel_.writes + 13;  // 12 captured keys, then the first VIP
  EXPECT_FALSE(driver->apply(web_table(), {}, true).ok());
  EXPECT_FALSE(kernel_.capture.vips.contains(Ip::v4(0x0a600001)));
  EXPECT_FALSE(kernel_.routes.contains(Ip::v4(0x0a600001)));
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_TRUE(kernel_.routes.contains(Ip::v4(0x0a600001)));
}

TEST_F(UserspaceDriverOnFake, StartFailsWithTheReasonWhereItCannotAttach) {
  kernel_.attach_error = "userspace mode needs sk_lookup programs";
  const auto driver = make_driver();
  const auto started = driver->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "userspace mode needs sk_lookup programs");
  EXPECT_FALSE(driver->apply(web_table(), {}, true).ok());
}

TEST_F(UserspaceDriverOnFake, DriftsOfTheCaptureAreNamed) {
  const auto driver = make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  CaptureState& capture = kernel_.capture;
  const FlowKey tcp{{Ip::v4(0x0a600001), 80}, Protocol::tcp};
  const FlowKey udp{{Ip::v4(0x0a600001), 53}, Protocol::udp};
  const FlowKey other{{Ip::v4(9), 9}, Protocol::tcp};
  capture.attached = false;
  capture.captured.erase(tcp);
  capture.captured[udp] = CaptureAction::udp;
  capture.captured[other] = CaptureAction::tcp;
  capture.vips.erase(Ip::v4(0x0a600001));
  capture.vips.insert(Ip::v4(9));
  kernel_.routes[Ip::v4(0x0a600001)] = Ip::v4(0xc0a80002);
  const auto drifts = *driver->verify(true);
  std::vector<std::string> lines;
  for (const Drift& drift : drifts) {
    EXPECT_TRUE(drift.repaired) << drift.what;
    lines.push_back(drift.what);
  }
  EXPECT_EQ(join(lines, "\n"),
            "the sk_lookup program is not attached\n"
            "captured 10.96.0.1:53/UDP is udp, not refuse\n"
            "captured 10.96.0.1:80/TCP is missing\n"
            "captured 0.0.0.9:9/TCP belongs to no Service\n"
            "vip 10.96.0.1 is missing\n"
            "route local 10.96.0.1 src 192.168.0.2 has another source\n"
            "vip 0.0.0.9 belongs to no Service");
  EXPECT_EQ(driver->dump(), web_dump);
  EXPECT_TRUE(capture.attached);
}

}  // namespace
}  // namespace fairlead::dataplane
