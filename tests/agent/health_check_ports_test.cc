#include "agent/health_check_ports.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "api/json.h"
#include "net/http_client.h"
#include "net/socket.h"

namespace fairlead::agent {
namespace {

const api::ObjectKey web{"default", "web"};
const Ip localhost = Ip::v4(0x7f000001);

// A port that was free a moment ago.
uint16_t free_port() {
  const auto fd = net::listen_tcp({localhost, 0});
  return net::local_address(fd->get())->port;
}

dataplane::ServiceTable table_with(uint16_t port, uint32_t local) {
  dataplane::ServiceTable table;
  table.node.node_port_ips = {{localhost}};
  table.services[web].health_check = {port, local};
  return table;
}

class HealthCheckPortsTest : public ::testing::Test {
 protected:
  net::HttpResponse get(uint16_t port) {
    net::HttpTarget target;
    target.host = "127.0.0.1";
    target.port = port;
    std::atomic<bool> done = false;
    Result<net::HttpResponse> response = net::HttpResponse{};
    std::thread client([&] {
      response = net::fetch(target, {}, std::chrono::seconds(5));
      done = true;
    });
    while (!done) loop_.run_once(std::chrono::milliseconds(10));
    client.join();
    return response ? *response : net::HttpResponse{.status = 0};
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  bool healthy_ = true;
  HealthCheckPorts ports_{loop_, [this] { return healthy_; }, Log(sink_)};
};

TEST_F(HealthCheckPortsTest, Says200OnlyWithALocalEndpointAndAHealthyProxy) {
  const uint16_t port = free_port();
  ports_.update(table_with(port, 2), {}, true);
  const auto good = get(port);
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.headers.get("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(good.headers.get("Content-Type"), "application/json");
  const auto body = parse_json(good.body);
  ASSERT_TRUE(body);
  EXPECT_EQ(find_string(*body, "service", "name"), "web");
  EXPECT_EQ(find(*body, "localEndpoints")->to_number<int>(), 2);

  healthy_ = false;
  EXPECT_EQ(get(port).status, 503);
  healthy_ = true;
  ports_.update(table_with(port, 0), {web}, false);
  const auto none = get(port);
  EXPECT_EQ(none.status, 503);
  EXPECT_EQ(none.headers.get("X-Load-Balancing-Endpoint-Weight"), "0");
}

TEST_F(HealthCheckPortsTest, FollowsThePortAndTheService) {
  const uint16_t first = free_port(), second = free_port();
  ports_.update(table_with(first, 1), {}, true);
  EXPECT_EQ(ports_.listening().size(), 1u);
  ports_.update(table_with(second, 1), {web}, false);
  EXPECT_EQ(get(first).status, 0) << "nobody listens any more";
  EXPECT_EQ(get(second).status, 200);
  ports_.update({}, {web}, false);
  EXPECT_EQ(get(second).status, 0);
  EXPECT_TRUE(ports_.listening().empty());
}

TEST_F(HealthCheckPortsTest, AFullUpdateForgetsWhatIsGone) {
  const uint16_t port = free_port();
  ports_.update(table_with(port, 1), {}, true);
  dataplane::ServiceTable empty;
  ports_.update(empty, {}, true);
  EXPECT_EQ(get(port).status, 0);
}

TEST_F(HealthCheckPortsTest, ABusyPortIsAnErrorUntilItIsFree) {
  auto taken = net::listen_tcp({localhost, 0});
  ASSERT_TRUE(taken);
  const uint16_t port = net::local_address(taken->get())->port;
  ports_.update(table_with(port, 1), {}, true);
  ASSERT_EQ(ports_.errors().size(), 1u);
  EXPECT_NE(ports_.errors()[0].find("default/web: health check port"), std::string::npos);
  taken = net::Fd();
  ports_.update(table_with(port, 1), {}, true);
  EXPECT_TRUE(ports_.errors().empty());
  EXPECT_EQ(get(port).status, 200);
}

TEST_F(HealthCheckPortsTest, ABusyPortIsTriedAgainUntilItIsFree) {
  HealthCheckPorts ports(loop_, [] { return true; }, Log(sink_), std::chrono::milliseconds(5));
  auto taken = net::listen_tcp({localhost, 0});
  ASSERT_TRUE(taken);
  const uint16_t port = net::local_address(taken->get())->port;
  ports.update(table_with(port, 1), {}, true);
  for (int i = 0; i < 10; ++i) loop_.run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(ports.errors().size(), 1u);
  const std::string said = sink_.text();
  EXPECT_EQ(said.find("health check port"), said.rfind("health check port")) << "once is enough";
  taken = net::Fd();
  for (int i = 0; i < 500 && !ports.errors().empty(); ++i) {
    loop_.run_once(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(ports.errors(), std::vector<std::string>{});
  EXPECT_EQ(get(port).status, 200);
}

TEST_F(HealthCheckPortsTest, ServicesMayTradeTheirPorts) {
  const api::ObjectKey a{"default", "a"}, b{"default", "b"};
  const uint16_t one = free_port(), other = free_port();
  dataplane::ServiceTable table;
  table.node.node_port_ips = {{localhost}};
  const auto give = [&](uint16_t to_a, uint16_t to_b) {
    table.services[a].health_check = {to_a, 1};
    table.services[b].health_check = {to_b, 2};
    ports_.update(table, {a, b}, false);
  };
  give(one, other);
  give(other, one);
  EXPECT_EQ(ports_.errors(), std::vector<std::string>{});
  EXPECT_EQ(get(one).headers.get("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(get(other).headers.get("X-Load-Balancing-Endpoint-Weight"), "1");
  give(0, other);  // from a Service that is named first, too
  EXPECT_EQ(ports_.errors(), std::vector<std::string>{});
  EXPECT_EQ(get(other).headers.get("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(get(one).status, 0);
}

}  // namespace
}  // namespace fairlead::agent
