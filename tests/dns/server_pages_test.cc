// The pages that the server has beside its answers, and what it says when it cannot listen.
#include <gmock/gmock.h>

#include <thread>

#include "net/http_client.h"
#include "server_rig.h"
namespace fairlead::dns::testing {
namespace {
using ::testing::HasSubstr;
using ::testing::StartsWith;
class ServerPagesTest : public ServerTest {
 protected:
  net::HttpResponse get(uint16_t port, std::string target) {
    const auto response = net::fetch({.host = "127.0.0.1", .port = port},
                                     {.target = std::move(target)}, std::chrono::seconds(5));
    EXPECT_TRUE(response) << response.error().message;
    return response ? *response : net::HttpResponse{};
  }
};
TEST_F(ServerPagesTest, PagesOfHealthReadyAndPrometheus) {
  const uint16_t health = free_port(), metrics = free_port();
  start(cat(".:", port_, " {\n health 127.0.0.1:", health, "\n ready 127.0.0.1:", health,
            "\n prometheus 127.0.0.1:", metrics, "\n kubernetes cluster.local\n}"),
        1, false);
  EXPECT_EQ(get(health, "/health").status, 200);
  EXPECT_EQ(get(health, "/health").body, "OK");
  EXPECT_EQ(get(health, "/ready").status, 503);
  EXPECT_EQ(get(health, "/ready").body, "kubernetes");
  publish_cluster();
  EXPECT_EQ(get(health, "/ready").status, 200);
  EXPECT_EQ(get(health, "/other").status, 404);
  udp(ask(web_name, type::a));
  const auto page = get(metrics, "/metrics");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr(cat("coredns_dns_requests_total{server=\"dns://:", port_,
                                       "\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\","
                                       "type=\"A\"} 1\n")));
}

TEST_F(ServerPagesTest, LameduckAnswersWhileNotReady) {
  const uint16_t health = free_port();
  start(cat(".:", port_, " {\n health 127.0.0.1:", health, " {\n  lameduck 500ms\n }\n",
            " ready 127.0.0.1:", health, "\n kubernetes cluster.local\n}"),
        1);
  EXPECT_EQ(get(health, "/ready").status, 200);
  std::thread stopping([this] { server_.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(get(health, "/ready").status, 503);
  EXPECT_EQ(get(health, "/health").status, 200);
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NOERROR");
  stopping.join();
}

TEST_F(ServerPagesTest, ErrorsOfBindingNameLineAndAddress) {
  const auto held = net::bind_udp({loopback.ip, port_});
  ASSERT_TRUE(held);
  auto parsed = parse_corefile(cat("# first\n.:", port_, " {\n errors\n}"), "Corefile");
  auto server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto started = (*server)->start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, StartsWith(cat("Corefile:2: udp 127.0.0.1:", port_)));

  const auto tcp = net::listen_tcp(loopback);
  const uint16_t taken = net::local_address(tcp->get())->port;
  const uint16_t other = free_port();
  parsed = parse_corefile(cat(".:", other, " {\n\n health 127.0.0.1:", taken, "\n}"), "Corefile");
  server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto health = (*server)->start();
  ASSERT_FALSE(health);
  EXPECT_THAT(health.error().message, StartsWith(cat("Corefile:3: health: 127.0.0.1:", taken)));
}

}  // namespace
}  // namespace fairlead::dns::testing
