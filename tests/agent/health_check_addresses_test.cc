// Health check ports on several addresses of a node: what is served when not all of them are free.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "agent/health_check_ports.h"
#include "net/http_client.h"
#include "net/socket.h"

namespace fairlead::agent {
namespace {

const api::ObjectKey web{"default", "web"};
const Ip v4 = Ip::v4(0x7f000001), other_v4 = Ip::v4(0x7f000002);
const Ip v6 = *Ip::parse("::1");

class HealthCheckAddresses : public ::testing::Test {
 protected:
  // A port that was free everywhere a moment ago.
  static uint16_t free_port() {
    const auto fd = net::listen_tcp({Ip{}, 0});
    return net::local_address(fd->get())->port;
  }
  static dataplane::ServiceTable table(std::optional<std::vector<Ip>> addresses, uint16_t port) {
    dataplane::ServiceTable out;
    out.node.node_port_ips = std::move(addresses);
    out.services[web].health_check = {port, 1};
    return out;
  }
  // 0: nobody listens.
  int ask(const Ip& ip, uint16_t port) {
    net::HttpTarget target;
    target.host = ip.to_string();
    target.port = port;
    std::atomic<bool> done = false;
    int status = 0;
    std::thread client([&] {
      const auto response = net::fetch(target, {}, std::chrono::seconds(5));
      status = response ? response->status : 0;
      done = true;
    });
    while (!done) loop_.run_once(std::chrono::milliseconds(10));
    client.join();
    return status;
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  HealthCheckPorts ports_{loop_, [] { return true; }, Log(sink_), std::chrono::milliseconds(5)};
};

TEST_F(HealthCheckAddresses, AllOfTheNodeWhenNoneAreNamed) {
  const uint16_t port = free_port();
  ports_.update(table(std::nullopt, port), {}, true);
  EXPECT_EQ(ask(v4, port), 200);
  EXPECT_EQ(ask(v6, port), 200);
  EXPECT_EQ(ports_.listening(), std::vector<std::string>{cat("health-check [::]:", port)});
}

TEST_F(HealthCheckAddresses, ThoseThatAreNamedAlone) {
  const uint16_t port = free_port();
  ports_.update(table({{v4, v6}}, port), {}, true);
  EXPECT_EQ(ask(v4, port), 200);
  EXPECT_EQ(ask(v6, port), 200);
  EXPECT_EQ(ask(other_v4, port), 0);
  EXPECT_EQ(ports_.listening(), (std::vector<std::string>{cat("health-check 127.0.0.1:", port),
                                                          cat("health-check [::1]:", port)}));
}

TEST_F(HealthCheckAddresses, NoneIsNoError) {
  const uint16_t port = free_port();
  ports_.update(table({std::vector<Ip>{}}, port), {}, true);
  EXPECT_EQ(ask(v4, port), 0);
  EXPECT_TRUE(ports_.errors().empty());
  EXPECT_TRUE(ports_.listening().empty());
}

TEST_F(HealthCheckAddresses, MoveWithTheNode) {
  const uint16_t port = free_port();
  ports_.update(table({{v4}}, port), {}, true);
  ports_.update(table({{other_v4}}, port), {}, true);
  EXPECT_EQ(ask(v4, port), 0);
  EXPECT_EQ(ask(other_v4, port), 200);
  EXPECT_EQ(ports_.listening().size(), 1u);
}

TEST_F(HealthCheckAddresses, OneThatIsTakenKeepsNoOtherFromBeingServed) {
  auto taken = net::listen_tcp({v4, 0});
  ASSERT_TRUE(taken);
  const uint16_t port = net::local_address(taken->get())->port;
  ports_.update(table({{v4, other_v4}}, port), {}, true);
  ASSERT_EQ(ports_.errors().size(), 1u);
  EXPECT_NE(ports_.errors()[0].find(cat("127.0.0.1:", port)), std::string::npos)
      << ports_.errors()[0];
  EXPECT_EQ(ask(other_v4, port), 200);
  EXPECT_EQ(ports_.listening(), std::vector<std::string>{cat("health-check 127.0.0.2:", port)});
  taken = net::Fd();
  for (int i = 0; i < 500 && !ports_.errors().empty(); ++i) {
    loop_.run_once(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(ports_.listening().size(), 2u);
  EXPECT_EQ(ask(v4, port), 200);
}

// Two Services cannot have one port, but a Service can be deleted and its port given anew while the
// agent has not heard of the first half.
TEST_F(HealthCheckAddresses, WhoeverComesSecondToAPortGetsItWhenTheFirstIsGone) {
  const api::ObjectKey late{"default", "zzz"};
  const uint16_t port = free_port();
  auto both = table({{v4}}, port);
  both.services[late].health_check = {port, 0};
  ports_.update(both, {web, late}, false);
  ASSERT_EQ(ports_.errors().size(), 1u);
  EXPECT_TRUE(ports_.errors()[0].starts_with("default/zzz: health check port"));
  EXPECT_EQ(ask(v4, port), 200) << "of the first";
  both.services.erase(web);
  ports_.update(both, {web}, false);
  for (int i = 0; i < 500 && !ports_.errors().empty(); ++i) {
    loop_.run_once(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(ask(v4, port), 503) << "of the second, which has no endpoint";
}

}  // namespace
}  // namespace fairlead::agent
