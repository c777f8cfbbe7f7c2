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
using ::testing::Not;
using ::testing::StartsWith;

// One Service "web" for every host.
void serve(Ingress& ingress, const std::vector<SocketAddress>& endpoints) {
  ingress.cluster.service("web", endpoints);
  ingress.cluster.ingress("web", "", "web");
  ingress.publish_and_wait();
}

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

TEST(Proxy, chunked_response_passes_and_is_unchunked_for_http10) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    while (!read_head(fd, buffer).empty()) {
      write_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5;x=y\r\n");
      std::this_thread::sleep_for(milliseconds(5));
      write_all(fd, "hello\r\n6\r\n world\r\n0\r\nT: v\r\n\r\n");
    }
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  for (int i = 0; i < 3; ++i) {
    client.send(get("a"));
    EXPECT_EQ(body_of(client.read_response()), "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  }
  EXPECT_EQ(upstream.connections(), 1);
  Client old(ingress.http());
  old.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
  const std::string response = old.read_all();
  EXPECT_EQ(body_of(response), "hello world");
  EXPECT_EQ(field_of(response, "Connection"), "close");
}

TEST(Proxy, a_response_until_close_is_passed_until_close) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\npart one,");
    std::this_thread::sleep_for(milliseconds(20));
    write_all(fd, " part two");
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  const std::string response = client.read_all();
  EXPECT_EQ(body_of(response), "part one, part two");
  EXPECT_EQ(field_of(response, "Connection"), "close");
}

struct BrokenResponse {
  const char* name;
  std::string bytes;
};

class OddResponse : public ::testing::TestWithParam<BrokenResponse> {};

TEST_P(OddResponse, becomes_502_and_ends_the_endpoints_connection) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    while (!read_head(fd, buffer).empty()) write_all(fd, GetParam().bytes);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  for (int i = 1; i <= 2; ++i) {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(status_of(client.read_response()), 502);
    EXPECT_EQ(upstream.connections(), i);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Proxy, OddResponse,
    ::testing::Values(
        BrokenResponse{"two_lengths",
                       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"},
        BrokenResponse{"equal_lengths",
                       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"},
        BrokenResponse{"length_and_chunked",
                       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "0\r\n\r\n"},
        BrokenResponse{"length_list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab"},
        BrokenResponse{"bad_length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"},
        BrokenResponse{"unknown_coding",
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        BrokenResponse{"coding_in_http10",
                       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        BrokenResponse{"folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"},
        BrokenResponse{"line_feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
        BrokenResponse{"bare_cr", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"},
        BrokenResponse{"nul", std::string("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 27)},
        BrokenResponse{"no_http", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
        BrokenResponse{"status_99", "HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n"},
        BrokenResponse{"status_600", "HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"},
        BrokenResponse{"blank_before_colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"},
        BrokenResponse{"unwanted_101",
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                       "Connection: upgrade\r\n\r\n"},
        BrokenResponse{"huge_head",
                       "HTTP/1.1 200 OK\r\nX: " + std::string(40000, 'a') + "\r\n\r\n"}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Proxy, bytes_behind_a_response_end_the_endpoints_connection) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    while (!read_head(fd, buffer).empty()) {
      write_all(fd,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    }
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  for (int i = 1; i <= 3; ++i) {
    client.send(get("a"));
    EXPECT_EQ(body_of(client.read_response()), "ok");
    EXPECT_EQ(upstream.connections(), i);
  }
}

TEST(Proxy, an_early_end_never_looks_complete) {
  const std::string starts[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
  };
  for (const std::string& start : starts) {
    TestUpstream upstream([&](int fd, int) {
      std::string buffer;
      read_head(fd, buffer);
      write_all(fd, start);
      std::this_thread::sleep_for(milliseconds(20));
    });
    Ingress ingress;
    serve(ingress, {upstream.address()});
    Client client(ingress.http());
    client.send(get("a"));
    EXPECT_EQ(client.read_response(), "");  // it never ends
    EXPECT_THAT(client.left(), Not(::testing::EndsWith("0\r\n\r\n")));
    EXPECT_THAT(ingress.log_text(), HasSubstr("endpoint closed in the middle of the response"));
  }
}

TEST(Proxy, a_malformed_chunk_in_a_response_never_looks_complete) {
  TestUpstream upstream([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n");
    read_head(fd, buffer);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  EXPECT_EQ(client.read_response(), "");
}

TEST(Proxy, interim_responses_pass) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n");
    write_all(fd, "Content-Length: 2\r\n\r\nok");
    read_head(fd, buffer);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  const std::string hint = client.read_response();
  EXPECT_EQ(status_of(hint), 103);
  EXPECT_EQ(field_of(hint, "Link"), "</a.css>");
  EXPECT_EQ(body_of(client.read_response()), "ok");
}

TEST(Proxy, too_many_interim_responses_are_502_or_the_end) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    for (int i = 0; i < 100; ++i) write_all(fd, "HTTP/1.1 102 Processing\r\n\r\n");
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  int status = 102, count = 0;
  while (status == 102) {
    status = status_of(client.read_response());
    ++count;
  }
  EXPECT_EQ(status, 502);
  EXPECT_LE(count, 9);
}

TEST(Proxy, expect_100_continue_is_answered_by_the_endpoint) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    char body[5];
    ::recv(fd, body, 5, MSG_WAITALL);
    write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", std::string_view(body, 5)));
    read_head(fd, buffer);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(status_of(client.read_response()), 100);
  client.send("12345");
  EXPECT_EQ(body_of(client.read_response()), "12345");
}

TEST(Proxy, an_early_answer_reaches_a_client_that_still_sends) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig");
    ::shutdown(fd, SHUT_RDWR);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
  for (int i = 0; i < 50; ++i) {
    if (!client.send(std::string(10000, 'x'))) break;
  }
  EXPECT_EQ(body_of(client.read_response()), "big");
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

TEST(Proxy, no_body_where_the_rules_forbid_one) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    for (std::string head = read_head(fd, buffer); !head.empty(); head = read_head(fd, buffer)) {
      if (head.starts_with("GET /204")) {
        write_all(fd, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
      } else if (head.starts_with("GET /304")) {
        write_all(fd, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n");
      } else {
        write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");  // to HEAD
      }
    }
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a", "/204"));
  EXPECT_EQ(field_of(client.read_response(), "Content-Length"), "");
  client.send(get("a", "/304"));
  EXPECT_EQ(field_of(client.read_response(), "Content-Length"), "5");
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(field_of(client.read_response(true), "Content-Length"), "5");
  client.send(get("a", "/204"));
  EXPECT_EQ(status_of(client.read_response()), 204);
  EXPECT_EQ(upstream.connections(), 1);
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
