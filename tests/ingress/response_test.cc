// What endpoints answer, whole, in pieces or broken, and what the client gets of it.
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
TEST(Response, chunked_response_passes_and_is_unchunked_for_http10) {
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

TEST(Response, a_response_until_close_is_passed_until_close) {
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

TEST(Response, bytes_behind_a_response_end_the_endpoints_connection) {
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

TEST(Response, an_early_end_never_looks_complete) {
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

TEST(Response, a_malformed_chunk_in_a_response_never_looks_complete) {
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

TEST(Response, interim_responses_pass) {
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

TEST(Response, too_many_interim_responses_are_502_or_the_end) {
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

TEST(Response, expect_100_continue_is_answered_by_the_endpoint) {
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

TEST(Response, an_early_answer_reaches_a_client_that_still_sends) {
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

TEST(Response, no_body_where_the_rules_forbid_one) {
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

}  // namespace
}  // namespace fairlead::ingress::testing
