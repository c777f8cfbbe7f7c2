// The userspace driver keeps the contract of all drivers, over a kernel in memory and over the real
// one; and what is its own.
#include "tests/dataplane/driver_contract.h"
#include "tests/dataplane/userspace/kernel.h"

namespace fairlead::dataplane {
namespace {

using namespace userspace;

ContractCase userspace_case(std::string name, bool real) {
  ContractCase out;
  out.name = std::move(name);
  out.make = [real] { return std::make_unique<UserspaceKernel>(real); };
  out.make_fake = [] { return std::make_unique<UserspaceKernel>(false); };
  if (real) out.missing = {&why_no_namespaces};
  out.endpoint_writes = 0;  // the forwarder's table only
  out.later_writes = 64;
  out.keeps_entries = false;
  return out;
}

INSTANTIATE_TEST_SUITE_P(Kernels, DriverContract,
                         testing::Values(userspace_case("Fake", false),
                                         userspace_case("Real", true)),
                         contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, DriverFaults, testing::Values(userspace_case("Fake", false)),
                         contract_name);

constexpr std::string_view web = R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  externalIPs: [192.168.0.2, 203.0.113.1]
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [192.168.0.0/24, 198.51.100.0/24]
  ports: [{name: p, port: 80, nodePort: 30080}, {name: d, port: 53, nodePort: 30053, protocol: UDP}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: p, port: 8080}]
endpoints: [{addresses: ["10.2.0.2"], nodeName: node-1}]
)";

ServiceTable web_table() {
  api::SnapshotBuilder builder;
  EXPECT_TRUE(put_yaml(builder, web));
  NodeConfig node = random_node();
  node.node_ips.pop_back();
  return compile(*builder.take().snapshot, node);
}

constexpr std::string_view web_dump =
    "captured 10.96.0.1:53/UDP -> refuse\n"
    "captured 10.96.0.1:80/TCP -> carry\n"
    "captured 127.0.0.1:30053/UDP -> refuse\n"
    "captured 127.0.0.1:30080/TCP -> node carry, pods carry, outside drop\n"
    "captured 192.168.0.1:30053/UDP -> refuse\n"
    "captured 192.168.0.1:30080/TCP -> node carry, pods carry, outside drop\n"
    "captured 192.168.0.2:53/UDP -> refuse\n"
    "captured 192.168.0.2:80/TCP -> node carry, pods carry, outside drop\n"
    "captured 203.0.113.1:53/UDP -> refuse\n"
    "captured 203.0.113.1:80/TCP -> node carry, pods carry, outside drop\n"
    "captured 203.0.113.9:53/UDP -> refuse, guarded\n"
    "captured 203.0.113.9:80/TCP -> node carry, pods carry, outside drop, guarded\n"
    "admitted 192.168.0.0/24 to 203.0.113.9:53/UDP\n"
    "admitted 198.51.100.0/24 to 203.0.113.9:53/UDP\n"
    "admitted 203.0.113.9/32 to 203.0.113.9:53/UDP\n"  // the node itself
    "admitted 192.168.0.0/24 to 203.0.113.9:80/TCP\n"
    "admitted 198.51.100.0/24 to 203.0.113.9:80/TCP\n"
    "admitted 203.0.113.9/32 to 203.0.113.9:80/TCP\n"
    "vip 10.96.0.1\n"
    "vip 203.0.113.1\n"  // 192.168.0.2 is the node's own: its other ports stay as they are
    "vip 203.0.113.9\n"
    "source ::1/128 is node\n"
    "source 10.1.0.0/16 is pods\n"
    "source 127.0.0.0/8 is node\n"
    "source 192.168.0.1/32 is node\n"
    "source fd00::a01:0/112 is pods\n"
    "source fd01::1/128 is node\n"
    "local 10.96.0.1 src 192.168.0.1\n"
    "local 203.0.113.1 src 192.168.0.1\n"
    "local 203.0.113.9 src 192.168.0.1\n";

class UserspaceDriver : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) SKIP_WITHOUT_NAMESPACES();
    kernel_ = std::make_unique<UserspaceKernel>(GetParam());
  }
  std::unique_ptr<Driver> start(const UserspaceOptions& options = {}) {
    auto driver = kernel_->make_driver(options);
    const auto started = driver->start();
    EXPECT_TRUE(started) << started.error().message;
    return driver;
  }
  size_t routes() { return kernel_->routes().list()->size(); }

  std::unique_ptr<UserspaceKernel> kernel_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, UserspaceDriver, testing::Values(false, true),
                         [](const auto& suite) { return suite.param ? "Real" : "Fake"; });

TEST_P(UserspaceDriver, CapturesWhatTheTableSays) {
  const auto driver = start();
  EXPECT_EQ(driver->mode(), "userspace");
  const ServiceTable table = web_table();
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(driver->dump(), web_dump);
  EXPECT_EQ(report.writes, 30u);
  EXPECT_EQ(driver->apply(table, {{"default", "web"}}, false).writes, 0u);
  const auto entries = driver->kernel_entries({"default", "web"});
  ASSERT_EQ(entries.size(), 21u);
  EXPECT_EQ(entries[0], "sk_lookup captured 10.96.0.1:53/UDP -> refuse");
  EXPECT_EQ(entries[12], "sk_lookup admitted 198.51.100.0/24 to 203.0.113.9:53/UDP");
  EXPECT_EQ(entries[20], "local 203.0.113.9 dev lo table local proto 146 src 192.168.0.1");
}

TEST_P(UserspaceDriver, SourceRangesMayChange) {
  const auto driver = start();
  ServiceTable table = web_table();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  const std::set<api::ObjectKey> changed{{"default", "web"}};
  auto& ports = table.services.begin()->second.ports;
  for (PortRule& rule : ports) rule.source_ranges = {*Cidr::parse("198.51.100.0/24")};
  const ApplyReport report = driver->apply(table, changed, false);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.writes, 4u) << "the node itself is not admitted any more, nor its network";
  for (PortRule& rule : ports) rule.source_ranges.clear();
  EXPECT_EQ(driver->apply(table, changed, false).writes, 4u);
  EXPECT_EQ(driver->dump().find("guarded"), std::string::npos);
  EXPECT_EQ(driver->dump().find("admitted"), std::string::npos);
  EXPECT_TRUE(driver->verify(false)->empty());
}

TEST_P(UserspaceDriver, OtherAddressesOfTheNodeAreTheSourceOfItsConnections) {
  const auto driver = start();
  ServiceTable table = web_table();
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  table.node.node_ips = {Ip::v4(0xc0a80002)};
  ASSERT_TRUE(driver->apply(table, {}, false).ok());
  EXPECT_NE(driver->dump().find("local 10.96.0.1 src 192.168.0.2"), std::string::npos);
  EXPECT_EQ(driver->dump().find("192.168.0.1"), std::string::npos);
}

TEST_P(UserspaceDriver, ALaterRunRemovesWhatAKilledOneLeft) {
  ASSERT_TRUE(kernel_->routes().add(Ip::v4(0x0a600009), {}));
  ASSERT_TRUE(kernel_->routes().add(*Ip::parse("fd96::9"), {}));
  const auto driver = start();
  EXPECT_EQ(routes(), 0u);
  EXPECT_NE(kernel_->log().text().find("earlier run"), std::string::npos);
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  EXPECT_EQ(driver->dump(), web_dump);
}

TEST_P(UserspaceDriver, NothingOutlivesIt) {
  ASSERT_TRUE(start()->apply(web_table(), {}, true).ok());
  EXPECT_EQ(routes(), 0u);
}

TEST_P(UserspaceDriver, CleanupWithoutStartRemovesWhatAKilledRunLeft) {
  ASSERT_TRUE(kernel_->routes().add(Ip::v4(0x0a600009), {}));
  const auto driver = kernel_->make_driver();
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(routes(), 0u);
  EXPECT_FALSE(driver->apply(web_table(), {}, true).ok()) << "not started";
  EXPECT_FALSE(driver->verify(true));
}

TEST_P(UserspaceDriver, ARetiredOneTakesNoMoreAndKeepsItsAddresses) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  ASSERT_TRUE(driver->retire());
  EXPECT_TRUE(driver->drained());
  EXPECT_EQ(driver->apply({}, {}, true).writes, 0u);
  EXPECT_TRUE(driver->verify(true)->empty());
  EXPECT_EQ(driver->dump(), web_dump);
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(routes(), 0u);
}

class UserspaceDriverOnFake : public testing::Test {
 protected:
  UserspaceKernel kernel_{false};
};

TEST_F(UserspaceDriverOnFake, AnAddressIsLocalOnlyWhileItsPortsAreGuarded) {
  const auto driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  const Ip vip = Ip::v4(0x0a600001);
  // Whichever write of the capture fails: where the VIP is not guarded there is no route to it.
  FakeKernel::Door& door = kernel_.fake().capture_door;
  size_t without = 0;
  for (size_t good = 0; good < 100; ++good) {
    ASSERT_TRUE(driver->apply({.node = web_table().node}, {}, true).ok());
    door.fail_after(good);
    const bool ok = driver->apply(web_table(), {{"default", "web"}}, false).ok();
    EXPECT_NE(ok, door.failed());
    if (ok) break;
    const bool guarded = kernel_.fake().capture.entries.contains(Vip{vip});
    EXPECT_EQ(kernel_.fake().routes.contains(vip), guarded) << good;
    without += !guarded;
    EXPECT_TRUE(driver->retry().ok());
    EXPECT_EQ(driver->dump(), web_dump);
  }
  door.stop_failing();
  EXPECT_EQ(without, 1u);
}

TEST_F(UserspaceDriverOnFake, ARouteThatCannotBeRemovedKeepsItsGuard) {
  const auto driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  ServiceTable none{.node = web_table().node};
  kernel_.fake().routes_door.fail_after(0);
  const ApplyReport report = driver->apply(none, {{"default", "web"}}, false);
  EXPECT_EQ(join(report.errors, "\n"), "the route to 10.96.0.1 stays");
  const std::string held = driver->dump();
  EXPECT_NE(held.find("vip 10.96.0.1\n"), held.npos) << held;
  EXPECT_EQ(held.find("captured"), held.npos) << held;
  EXPECT_EQ(driver->verify(false)->size(), 2u) << "the route and its guard";
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_EQ(driver->dump().find("10.96.0.1"), std::string::npos);
  EXPECT_TRUE(driver->verify(false)->empty());
}

TEST_F(UserspaceDriverOnFake, ARouteWithAnotherSourceIsNamedAndMadeAnew) {
  const auto driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  ASSERT_TRUE(driver->apply(web_table(), {}, true).ok());
  const Ip vip = Ip::v4(0x0a600001);
  for (const std::optional<Ip>& source : {std::optional(Ip::v4(0xc0a80002)), std::optional<Ip>()}) {
    kernel_.fake().routes[vip] = source;
    const auto drifts = driver->verify(true);
    ASSERT_TRUE(drifts);
    ASSERT_EQ(drifts->size(), 1u);
    EXPECT_EQ(drifts->front().what, cat("route local 10.96.0.1", source ? " src 192.168.0.2" : "",
                                        " has another source"));
    EXPECT_TRUE(drifts->front().repaired);
    EXPECT_EQ(driver->dump(), web_dump);
  }
}

TEST_F(UserspaceDriverOnFake, StartFailsWithTheReasonWhereItCannotAttach) {
  kernel_.fake().attach_error = "userspace mode needs sk_lookup programs";
  const auto driver = kernel_.make_driver();
  const auto started = driver->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "userspace mode needs sk_lookup programs");
  EXPECT_FALSE(driver->apply(web_table(), {}, true).ok());
}

TEST_F(UserspaceDriverOnFake, AFullApplySaysThatItCannotAttachAgain) {
  const auto driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  kernel_.capture().detach();
  kernel_.fake().attach_error = "no such namespace";
  const ApplyReport report = driver->apply(web_table(), {}, true);
  EXPECT_EQ(join(report.errors, "\n"), "no such namespace");
  kernel_.fake().attach_error = "";
  EXPECT_TRUE(driver->retry().ok());
  EXPECT_TRUE(kernel_.fake().capture.attached);
  EXPECT_EQ(driver->dump(), web_dump);
}

TEST_F(UserspaceDriverOnFake, NewConnectionsWaitForTheNextRunWhenItEnds) {
  auto driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  EXPECT_FALSE(kernel_.fake().deferring);
  driver.reset();
  EXPECT_TRUE(kernel_.fake().deferring);
  driver = kernel_.make_driver();
  ASSERT_TRUE(driver->start());
  EXPECT_FALSE(kernel_.fake().deferring);
  kernel_.fake().capture_door.fail_after(0);
  driver.reset();
  EXPECT_NE(kernel_.log().text().find("no other socket"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::dataplane
