// Random changes of a cluster, with a kernel that refuses some writes: in the end the kernel, the
// counts and the health-check ports are what a fresh start would make of it.
#include <gtest/gtest.h>

#include <random>

#include "agent/proxy.h"
#include "dataplane/compile.h"
#include "dataplane/fake_driver.h"
#include "net/socket.h"

namespace fairlead::agent {
namespace {

constexpr int services = 6;

std::string text_of(const dataplane::ServiceTable& table) { return to_text(table); }

class ProxyProperty : public testing::TestWithParam<unsigned> {
 protected:
  ProxyProperty() : random_(GetParam()) {
    auto driver = std::make_unique<dataplane::FaultyDriver>();
    driver_ = driver.get();
    config_.verify_interval = {};
    config_.node_ips = {Ip::v4(0xc0a80001)};
    proxy_ = std::make_unique<Proxy>(loop_, config_, "node-1", std::move(driver), "", Log(sink_),
                                     registry_);
    EXPECT_TRUE(proxy_->start());
  }
  unsigned upto(unsigned most) { return std::uniform_int_distribution<unsigned>(0, most)(random_); }
  bool maybe() { return upto(1) == 1; }

  api::Service random_service(unsigned number) {
    api::Service service;
    service.meta.key = {"default", cat("s", number)};
    service.type = maybe() ? api::ServiceType::node_port : api::ServiceType::cluster_ip;
    service.cluster_ips = {Ip::v4(0x0a600000 + number)};
    if (maybe()) service.cluster_ips.push_back(*Ip::parse(cat("fd96::", number + 1)));
    if (maybe()) service.internal_policy = api::TrafficPolicy::local;
    for (unsigned i = 0; i <= upto(2); ++i) {
      api::ServicePort port{.name = cat("p", i), .port = static_cast<uint16_t>(80 + i)};
      if (service.type == api::ServiceType::node_port) {
        port.node_port = static_cast<uint16_t>(30000 + number * 10 + i);
      }
      service.ports.push_back(port);
    }
    return service;
  }
  api::EndpointSlice random_slice(unsigned number) {
    api::EndpointSlice slice;
    slice.meta.key = {"default", cat("s", number, "-x")};
    slice.service = cat("s", number);
    slice.address_type = "IPv4";
    for (unsigned i = 0; i <= upto(2); ++i) {
      slice.ports.push_back({.name = cat("p", i), .port = static_cast<uint16_t>(8080 + i)});
    }
    for (unsigned i = 0; i < upto(4); ++i) {
      api::Endpoint& endpoint = slice.endpoints.emplace_back();
      endpoint.addresses = {Ip::v4(0x0a800000 + number * 64 + i)};
      endpoint.node_name = cat("node-", upto(2));
      endpoint.ready = maybe();
    }
    return slice;
  }
  void change() {
    const unsigned number = upto(services - 1);
    const std::string name = cat("s", number);
    switch (upto(3)) {
      case 0:
        return builder_.erase(api::Kind::service, {"default", name});
      case 1:
        return builder_.erase(api::Kind::endpoint_slice, {"default", name + "-x"});
      case 2:
        builder_.put(std::make_shared<const api::Service>(random_service(number)));
        return;
      default:
        builder_.put(std::make_shared<const api::EndpointSlice>(random_slice(number)));
    }
  }
  void tick(bool everything = false) {
    auto next = builder_.take();
    next.changes.everything = next.changes.everything || everything;
    snapshot_ = next.snapshot;
    proxy_->update(*next.snapshot, next.changes);
  }
  Counts recount() const {
    TableCounts counts;
    counts.replace(proxy_->table());
    return counts.total();
  }

  std::minstd_rand random_;
  net::EventLoop loop_;
  AgentConfig config_;
  MemoryLogSink sink_;
  Registry registry_;
  api::SnapshotBuilder builder_;
  std::shared_ptr<const api::Snapshot> snapshot_;
  dataplane::FaultyDriver* driver_ = nullptr;
  std::unique_ptr<Proxy> proxy_;
};

TEST_P(ProxyProperty, EndsWhereAFreshStartWould) {
  tick(true);
  for (int round = 0; round < 60; ++round) {
    for (unsigned i = 0; i <= upto(3); ++i) change();
    if (upto(4) == 0) driver_->fail_service({"default", cat("s", upto(services - 1))});
    if (upto(9) == 0) driver_->fail_all("the map is full");
    tick(upto(15) == 0);
    EXPECT_EQ(proxy_->status().backends, recount().backends) << round;
    EXPECT_EQ(proxy_->status().services, proxy_->table().services.size());
    if (upto(3) == 0) {
      driver_->heal();
      tick();  // nothing new: what is undone waits for its retry
    }
  }
  driver_->heal();
  for (int i = 0; i < 500 && !proxy_->status().last_report.ok(); ++i) {
    loop_.run_once(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(proxy_->status().last_report.ok()) << proxy_->status().last_report.errors.front();
  EXPECT_EQ(text_of(driver_->kernel()), text_of(proxy_->table()));
  EXPECT_EQ(text_of(proxy_->table()),
            text_of(dataplane::compile(*snapshot_, proxy_->table().node)));
  EXPECT_TRUE(proxy_->health().healthy());
  EXPECT_NE(
      cat("\n", registry_.text()).find("\nkubeproxy_sync_proxy_rules_service_changes_pending 0\n"),
      std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ProxyProperty, testing::Range(1u, 13u));

}  // namespace
}  // namespace fairlead::agent
