// Everything that may take too long, on either side; and the end of the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/text.h"
#include "tests/ingress/testing.h"
namespace fairlead::ingress::testing {
namespace {
using std::chrono::milliseconds;
using ::testing::HasSubstr;
constexpr size_t megabyte = 1024 * 1024;
TEST(Timeouts, a_slow_head_is_408_however_steadily_it_comes) {
  Ingress ingress(quick_limits());
  Client client(ingress.http());
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(1000, 'a');
  const auto start = std::chrono::steady_clock::now();
  for (const char c : head) {
    if (!client.send({&c, 1})) break;
    std::this_thread::sleep_for(milliseconds(10));
    if (client.closed(0) || std::chrono::steady_clock::now() - start > milliseconds(2000)) break;
    if (!(client.read_some(0)).empty()) break;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(1500));
}

TEST(Timeouts, a_head_that_stops_is_408) {
  Ingress ingress(quick_limits());
  Client client(ingress.http());
  client.send("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(status_of(client.read_response()), 408);
  EXPECT_TRUE(client.closed());
}

TEST(Timeouts, silent_and_idle_connections_are_closed) {
  RecordingUpstream upstream;
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client silent(ingress.http());
  EXPECT_TRUE(silent.closed(2000));
  Client idle(ingress.http());
  idle.send(get("a"));
  EXPECT_EQ(status_of(idle.read_response()), 200);
  EXPECT_TRUE(idle.closed(2000));
}

TEST(Timeouts, a_request_body_that_stops_is_408) {
  RecordingUpstream upstream;
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(status_of(client.read_response()), 408);
  EXPECT_TRUE(client.closed());
}

TEST(Timeouts, an_endpoint_that_does_not_answer_is_504) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    read_head(fd, buffer);
  });
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 504);
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 504);
  EXPECT_EQ(upstream.connections(), 2);
}

TEST(Timeouts, a_response_that_stops_never_looks_complete) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    read_head(fd, buffer);
  });
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  EXPECT_EQ(client.read_response(), "");
  EXPECT_THAT(ingress.log_text(), HasSubstr("endpoint stalled in the response"));
}

TEST(Timeouts, a_client_that_does_not_read_is_cut_off) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: ", 32 * megabyte, "\r\n\r\n"));
    write_all(fd, std::string(32 * megabyte, 'x'));
  });
  auto limits = quick_limits();
  limits.socket_buffer_bytes = small_socket_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_socket_buffer);
  client.send(get("a"));
  std::this_thread::sleep_for(milliseconds(1000));
  EXPECT_LT(client.read_all().size(), 4 * megabyte);
  EXPECT_THAT(ingress.log_text(), HasSubstr("client reads too slowly"));
}

TEST(Timeouts, idle_connections_to_endpoints_are_closed) {
  std::atomic<bool> closed{false};
  TestUpstream upstream([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    closed = read_head(fd, buffer).empty();
  });
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(get("a"));
  EXPECT_EQ(status_of(client.read_response()), 200);
  for (int i = 0; i < 100 && !closed; ++i) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_TRUE(closed);
}

TEST(Timeouts, an_endpoint_that_swallows_the_connection_is_504) {
  // A listener with a full queue: the kernel answers no more SYN.
  net::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::vector<net::Fd> fillers;
  for (int i = 0; i < 4; ++i) {
    net::Fd filler(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ::connect(filler.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    fillers.push_back(std::move(filler));
  }
  std::this_thread::sleep_for(milliseconds(20));
  Ingress ingress(quick_limits());
  serve(ingress, {{*Ip::parse("127.0.0.1"), ntohs(address.sin_port)}});
  Client client(ingress.http());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(status_of(client.read_response()), 504);
}

TEST(Shutdown, requests_in_flight_get_their_answer) {
  TestUpstream upstream([](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    std::this_thread::sleep_for(milliseconds(200));
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    read_head(fd, buffer);
  });
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client busy(ingress.http()), idle(ingress.http());
  busy.send(get("a"));
  std::this_thread::sleep_for(milliseconds(50));
  const auto start = std::chrono::steady_clock::now();
  ingress.server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(900));
  EXPECT_EQ(body_of(busy.read_response()), "ok");
  EXPECT_TRUE(busy.closed());
  EXPECT_TRUE(idle.closed());
}

}  // namespace
}  // namespace fairlead::ingress::testing
