// Requests end to end: a client socket, the ingress, upstreams in the test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/text.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;
SocketAddress refused_address() {
  TestUpstream gone([](int, int) {});
  return gone.address();
}

TEST(Proxy, forwards_and_answers) {
  RecordingUpstream upstream("hello");
  Ingress ingress;
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("web", "shop.example.com", "web");
  ingress.publish_and_wait();

  Client client(ingress.http());
  client.send("GET /a?b=c HTTP/1.1\r\nHost: Shop.Example.com:8080\r\nUser-Agent: test\r\n\r\n");
  const std::string response = client.read_response();
  EXPECT_EQ(status_of(response), 200);
  EXPECT_EQ(body_of(response), "hello");
  ASSERT_EQ(upstream.requests().size(), 1U);
  const std::string request = upstream.requests()[0];
  EXPECT_THAT(request, StartsWith("GET /a?b=c HTTP/1.1\r\nHost: Shop.Example.com:8080\r\n"));
  EXPECT_EQ(field_of(request, "X-Forwarded-For"), "127.0.0.1");
  EXPECT_EQ(field_of(request, "X-Real-IP"), "127.0.0.1");
  EXPECT_EQ(field_of(request, "X-Forwarded-Proto"), "http");
  EXPECT_EQ(field_of(request, "X-Forwarded-Host"), "Shop.Example.com:8080");
  EXPECT_EQ(field_of(request, "X-Forwarded-Port"), cat(ingress.http().port));
  EXPECT_EQ(field_of(request, "X-Request-ID").size(), 32U);
  EXPECT_FALSE(field_of(response, "Date").empty());
  EXPECT_EQ(field_of(response, "Server"), "fairlead");

  client.send(get("unknown.example.com"));
  EXPECT_EQ(status_of(client.read_response()), 404);
  client.send(get("shop.example.com"));
  EXPECT_EQ(status_of(client.read_response()), 200);
  EXPECT_EQ(upstream.connections(), 1);
}

TEST(Proxy, a_trusted_peers_forwarding_fields_are_believed) {
  RecordingUpstream upstream;
  Ingress ingress({}, 1, false, {*Cidr::parse("127.0.0.0/8"), *Cidr::parse("10.0.0.0/8")});
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(
      "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.2.3\r\n"
      "X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\nX-Forwarded-Port: 443\r\n\r\n");
  EXPECT_EQ(status_of(client.read_response()), 200);
  const std::string request = upstream.requests().at(0);
  EXPECT_EQ(field_of(request, "X-Forwarded-For"), "6.6.6.6, 192.0.2.7, 10.1.2.3, 127.0.0.1");
  EXPECT_EQ(field_of(request, "X-Real-IP"), "192.0.2.7");
  EXPECT_EQ(field_of(request, "X-Forwarded-Proto"), "https");
  EXPECT_EQ(field_of(request, "X-Forwarded-Host"), "public.test");
  EXPECT_EQ(field_of(request, "X-Forwarded-Port"), "443");
  EXPECT_THAT(ingress.log_text(), HasSubstr("\"client\":\"192.0.2.7\""));
}

TEST(Proxy, keep_alive_reuses_one_connection_for_a_thousand_requests) {
  RecordingUpstream upstream;
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(client.send(get("a", cat("/", i))));
    ASSERT_EQ(status_of(client.read_response()), 200) << i;
  }
  EXPECT_EQ(upstream.connections(), 1);
  EXPECT_EQ(ingress.server->status().requests, 1000U);
}

TEST(Proxy, requests_go_to_every_endpoint_in_turn) {
  RecordingUpstream a, b, c;
  Ingress ingress;
  serve(ingress, {a.address(), b.address(), c.address()});
  Client client(ingress.http());
  for (int i = 0; i < 30; ++i) {
    client.send(get("a"));
    ASSERT_EQ(status_of(client.read_response()), 200);
  }
  EXPECT_EQ(a.requests().size(), 10U);
  EXPECT_EQ(b.requests().size(), 10U);
  EXPECT_EQ(c.requests().size(), 10U);
}

TEST(Proxy, an_endpoint_that_refuses_is_passed_over) {
  RecordingUpstream alive;
  Ingress ingress;
  serve(ingress, {refused_address(), alive.address()});
  for (int i = 0; i < 20; ++i) {
    Client client(ingress.http());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    ASSERT_EQ(status_of(client.read_response()), 200);
  }
  EXPECT_EQ(alive.requests().size(), 20U);
}

TEST(Proxy, without_any_endpoint_that_connects_it_is_502) {
  Ingress ingress;
  serve(ingress, {refused_address()});
  Client client(ingress.http());
  client.send(get("a"));
  const std::string response = client.read_response();
  EXPECT_EQ(status_of(response), 502);
  EXPECT_EQ(body_of(response), "502 Bad Gateway: endpoint refused the connection\n");
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 502);
  EXPECT_THAT(ingress.log_text(), HasSubstr("\"note\":\"endpoint refused the connection\""));
}

TEST(Proxy, without_endpoints_it_is_503_and_status_says_why) {
  Ingress ingress;
  ingress.cluster.ingress("web", "", "shop");
  ingress.publish_and_wait();
  Client client(ingress.http());
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 503);
  EXPECT_THAT(ingress.server->status().problems,
              ::testing::ElementsAre(
                  "Ingress default/web: spec.rules[0].http.paths[0].backend.service: Service "
                  "'shop' not found: answering 503"));
  EXPECT_THAT(ingress.sink.text(), HasSubstr("Service 'shop' not found"));
}

// Closes each connection after one answer, without saying so.
void answer_once(int fd, int) {
  std::string buffer;
  if (read_head(fd, buffer).empty()) return;
  write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  std::this_thread::sleep_for(milliseconds(5));
}

TEST(Proxy, an_idle_connection_that_was_closed_fails_no_request) {
  TestUpstream upstream(answer_once);
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  for (int i = 0; i < 60; ++i) {
    // Some just before, some just after the endpoint closes.
    std::this_thread::sleep_for(std::chrono::microseconds(i * 170));
    client.send(i % 2 == 0 ? get("a") : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    const int status = status_of(client.read_response());
    // A POST may have reached it before it closed: only that may fail.
    if (i % 2 == 0) {
      ASSERT_EQ(status, 200) << i;
    } else {
      ASSERT_TRUE(status == 200 || status == 502) << i << ": " << status;
    }
  }
}

TEST(Proxy, a_post_that_reached_an_endpoint_is_not_sent_again) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);  // and closes
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(status_of(client.read_response()), 502);
  EXPECT_EQ(upstream.connections(), 1);
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 502);
  EXPECT_EQ(upstream.connections(), 4);  // a GET is tried three times
}

TEST(Proxy, half_closed_clients_get_their_answer) {
  RecordingUpstream upstream("late");
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a") + get("a"));
  client.shutdown_write();
  EXPECT_EQ(body_of(client.read_response()), "late");
  EXPECT_EQ(body_of(client.read_response()), "late");
  EXPECT_TRUE(client.closed());
}

TEST(Proxy, hot_route_swaps_under_load_fail_no_request) {
  RecordingUpstream a, b;
  Ingress ingress({}, 2);
  serve(ingress, {a.address()});
  std::atomic<bool> stop{false};
  std::atomic<int> good{0}, bad{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&, i] {
      Client client(ingress.http());
      while (!stop) {
        client.send(i % 2 == 0 ? get("a")
                               : "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc");
        (status_of(client.read_response()) == 200 ? good : bad)++;
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    ingress.cluster.service("web", {i % 2 == 0 ? b.address() : a.address()});
    ingress.cluster.ingress(cat("other-", i), cat("other-", i, ".test"), "web");
    if (i > 5) ingress.cluster.erase(api::Kind::ingress, cat("other-", i - 5));
    ingress.publish();
    std::this_thread::sleep_for(milliseconds(3));
  }
  stop = true;
  for (auto& client : clients) client.join();
  EXPECT_EQ(bad, 0);
  EXPECT_GT(good, 100);
  EXPECT_FALSE(a.requests().empty());
  EXPECT_FALSE(b.requests().empty());
}

TEST(Proxy, redirects_to_https_with_308) {
  RecordingUpstream upstream;
  Ingress ingress({}, 1, true);
  auto object = make_ingress("web", "secure.test", "web");
  object.meta.annotations["fairlead.io/ssl-redirect"] = "true";
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.put(std::make_shared<const api::Ingress>(object));
  ingress.publish_and_wait();
  Client client(ingress.http());
  client.send(get("secure.test", "/a?b=c"));
  const std::string response = client.read_response();
  EXPECT_EQ(status_of(response), 308);
  EXPECT_EQ(field_of(response, "Location"),
            cat("https://secure.test:", ingress.https().port, "/a?b=c"));
  client.send(get("secure.test", "/.well-known/acme-challenge/token"));
  EXPECT_EQ(status_of(client.read_response()), 200);
}

TEST(Proxy, every_request_is_in_the_log_and_the_metrics) {
  RecordingUpstream upstream;
  Ingress ingress;
  serve(ingress, {upstream.address()});
  {
    Client client(ingress.http());
    client.send("GET /a\"b?c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: \xff\"x\\\r\n\r\n");
    EXPECT_EQ(status_of(client.read_response()), 200);
    client.send("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(status_of(client.read_response()), 400);
  }
  const std::string metrics = ingress.registry.text();
  EXPECT_THAT(metrics, HasSubstr("nginx_ingress_controller_requests{namespace=\"default\","
                                 "ingress=\"web\",service=\"web\",status=\"2xx\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("nginx_ingress_controller_request_duration_seconds_count{"
                                 "namespace=\"default\",ingress=\"web\",service=\"web\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("fairlead_ingress_refused_requests_total 1\n"));
  EXPECT_THAT(metrics, HasSubstr("fairlead_ingress_connections_accepted_total 1\n"));
  const std::string log = ingress.log_text();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2);
  EXPECT_THAT(log, HasSubstr("\"method\":\"GET\",\"host\":\"a.test\",\"target\":\"/a\\\"b?c\""));
  EXPECT_THAT(log, HasSubstr("\"user_agent\":\"\\u00ff\\\"x\\\\\""));
  EXPECT_THAT(log, HasSubstr("\"ingress\":\"web\",\"service\":\"web\""));
  EXPECT_THAT(log, HasSubstr("\"status\":400"));
  EXPECT_THAT(log, HasSubstr("\"note\":\"no Host\""));
}

}  // namespace
}  // namespace fairlead::ingress::testing
