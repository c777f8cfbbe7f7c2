// Whatever happens in whatever order, the incremental table is the one made from nothing.
#include "ingress/route_builder.h"

#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "net/tls.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress {
namespace {

using testing::Cluster;

class RandomCluster {
 public:
  explicit RandomCluster(uint32_t seed) : random_(seed) {
    for (size_t i = 0; i < 3; ++i) {
      pairs_.push_back(*net::self_signed(
          {.common_name = cat("c", i), .dns_names = {cat("c", i, ".test"), "h0.test"}}));
    }
    cluster.ingress_class();
  }

  void change() {
    switch (pick(8)) {
      case 0:
        cluster.erase(api::Kind::ingress, ingress_name());
        break;
      case 1:
        cluster.erase(api::Kind::service, service_name());
        break;
      case 2:
        cluster.erase(api::Kind::secret, secret_name());
        break;
      case 3:
        change_class();
        break;
      case 4:
        change_secret();
        break;
      case 5:
        change_service();
        break;
      default:
        change_ingress();
        break;
    }
  }

  Cluster cluster;

 private:
  size_t pick(size_t count) { return random_() % count; }
  std::string ingress_name() { return cat("i", pick(8)); }
  std::string service_name() { return cat("s", pick(5)); }
  std::string secret_name() { return cat("t", pick(3)); }

  void change_class() {
    const bool ours = pick(3) != 0;
    cluster.ingress_class(pick(2) == 0 ? "fairlead" : "other", ours ? "fairlead.io/ingress" : "x/y",
                          pick(3) == 0);
  }
  void change_secret() {
    const auto& pair = pairs_[pick(pairs_.size())];
    cluster.tls_secret(secret_name(), pick(4) == 0 ? "broken" : pair.certificate_pem, pair.key_pem);
  }
  void change_service() {
    std::vector<SocketAddress> endpoints;
    for (size_t i = pick(4); i > 0; --i) {
      endpoints.push_back({Ip::v4(0x0a000000U + static_cast<uint32_t>(pick(20))), 80});
    }
    cluster.service(service_name(), endpoints, static_cast<uint16_t>(80 + pick(2)));
  }
  void change_ingress() {
    api::Ingress ingress;
    ingress.meta.key = {"default", ingress_name()};
    ingress.meta.creation_timestamp = cat("2026-01-0", 1 + pick(3), "T00:00:00Z");
    const char* const classes[] = {"fairlead", "fairlead", "fairlead", "other", ""};
    ingress.class_name = classes[pick(5)];
    if (pick(5) == 0) ingress.meta.annotations["fairlead.io/ssl-redirect"] = "true";
    if (pick(4) == 0) ingress.default_backend = backend();
    for (size_t i = pick(4); i > 0; --i) ingress.rules.push_back(rule());
    for (size_t i = pick(3); i > 0; --i) {
      api::IngressTls tls{.secret_name = secret_name()};
      for (size_t k = pick(3); k > 0; --k) tls.hosts.push_back(host());
      ingress.tls.push_back(tls);
    }
    cluster.put(std::make_shared<const api::Ingress>(ingress));
  }
  api::IngressRule rule() {
    api::IngressRule rule{.host = host(), .has_http = pick(6) != 0};
    const char* const paths[] = {"/", "/a", "/a/", "/a/b", "/c", "", "bad"};
    for (size_t i = rule.has_http ? 1 + pick(3) : 0; i > 0; --i) {
      rule.paths.push_back({.path = paths[pick(7)],
                            .type = static_cast<api::PathType>(pick(3)),
                            .backend = backend()});
    }
    return rule;
  }
  std::string host() {
    const char* const hosts[] = {"h0.test", "h1.test", "h2.test", "*.test", "", "b@d"};
    return hosts[pick(6)];
  }
  api::IngressBackend backend() {
    return {.service = service_name(), .port_number = static_cast<uint16_t>(80 + pick(2))};
  }

  std::mt19937 random_;
  std::vector<net::CertificatePair> pairs_;
};

class Incremental : public ::testing::TestWithParam<uint32_t> {};

TEST_P(Incremental, equals_full) {
  const RouteBuilder::Options options{.controller = "fairlead.io/ingress"};
  RandomCluster world(GetParam());
  RouteBuilder incremental(options);
  for (int step = 0; step < 150; ++step) {
    for (uint32_t i = 0; i <= GetParam() % 3; ++i) world.change();
    const auto tick = world.cluster.take();
    const auto got = incremental.update(*tick.snapshot, tick.changes);
    RouteBuilder full(options);
    const auto want = full.update(*tick.snapshot, {.everything = true});
    ASSERT_EQ(got->describe(), want->describe()) << "seed " << GetParam() << " step " << step;
    ASSERT_EQ(incremental.problems(), full.problems()) << step;
    ASSERT_EQ(got->route_count, want->route_count) << step;
    ASSERT_EQ(got->hosts.size(), want->hosts.size()) << step;
    ASSERT_EQ(got->certificates.size(), want->certificates.size()) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Incremental, ::testing::Range(1U, 13U));

TEST(RouteBuilder, an_old_table_keeps_its_routes_and_endpoints) {
  Cluster cluster;
  cluster.ingress_class();
  cluster.service("web", {*SocketAddress::parse("10.0.0.1:80")});
  cluster.ingress("web", "a.test", "web");
  RouteBuilder builder({.controller = "fairlead.io/ingress"});
  auto tick = cluster.take();
  const auto before = builder.update(*tick.snapshot, tick.changes);
  cluster.service("web", {*SocketAddress::parse("10.0.0.2:80")});
  cluster.erase(api::Kind::ingress, "web");
  tick = cluster.take();
  const auto after = builder.update(*tick.snapshot, tick.changes);
  const Route* route = before->match("a.test", "/");
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(before->backend(*route).endpoints.at(0).to_string(), "10.0.0.1:80");
  EXPECT_EQ(after->match("a.test", "/"), nullptr);
}

TEST(RouteBuilder, hosts_that_an_edit_does_not_touch_are_shared) {
  Cluster cluster;
  cluster.ingress_class();
  for (int i = 0; i < 50; ++i) cluster.ingress(cat("i", i), cat("h", i, ".test"), "web");
  RouteBuilder builder({.controller = "fairlead.io/ingress"});
  auto tick = cluster.take();
  const auto before = builder.update(*tick.snapshot, tick.changes);
  cluster.ingress("i7", "h7.test", "api");
  tick = cluster.take();
  const auto after = builder.update(*tick.snapshot, tick.changes);
  for (int i = 0; i < 50; ++i) {
    const std::string host = cat("h", i, ".test");
    EXPECT_EQ(before->hosts.find(host) == after->hosts.find(host), i != 7) << host;
  }
}

TEST(RouteBuilder, ipv6_endpoints_and_terminating_ones_count) {
  Cluster cluster;
  cluster.ingress_class();
  cluster.service("web", {});
  cluster.ingress("web", "a.test", "web");
  api::EndpointSlice six;
  six.meta.key = {"default", "web-6"};
  six.service = "web";
  six.address_type = "IPv6";
  six.ports.push_back({.name = "http", .port = 8080});
  six.endpoints.push_back(
      {.addresses = {*Ip::parse("fd00::1")}, .ready = false, .serving = true, .terminating = true});
  six.endpoints.push_back({.addresses = {*Ip::parse("fd00::2")}, .ready = false, .serving = false});
  cluster.put(std::make_shared<const api::EndpointSlice>(six));
  RouteBuilder builder({.controller = "fairlead.io/ingress"});
  const auto tick = cluster.take();
  const auto table = builder.update(*tick.snapshot, tick.changes);
  const auto& endpoints = table->backend(*table->match("a.test", "/")).endpoints;
  ASSERT_EQ(endpoints.size(), 1U);
  EXPECT_EQ(endpoints[0].to_string(), "[fd00::1]:8080");
}

TEST(RouteBuilder, external_names_are_refused) {
  Cluster cluster;
  cluster.ingress_class();
  api::Service service;
  service.meta.key = {"default", "web"};
  service.type = api::ServiceType::external_name;
  service.external_name = "metadata.internal";
  cluster.put(std::make_shared<const api::Service>(service));
  cluster.ingress("web", "a.test", "web");
  RouteBuilder builder({.controller = "fairlead.io/ingress"});
  const auto tick = cluster.take();
  const auto table = builder.update(*tick.snapshot, tick.changes);
  EXPECT_TRUE(table->backend(*table->match("a.test", "/")).endpoints.empty());
  ASSERT_EQ(builder.problems().size(), 1U);
  EXPECT_NE(builder.problems()[0].find("ExternalName"), std::string::npos);
}

}  // namespace
}  // namespace fairlead::ingress
