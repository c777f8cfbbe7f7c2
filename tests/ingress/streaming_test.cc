// Bodies larger than any buffer, slow readers, tunnels, time-outs, and routes that change
// meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/text.h"
#include "ingress/buffer.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr size_t megabyte = 1024 * 1024;
// Smaller ones stall on loopback, whose segments are 64 KiB.
constexpr int small_buffer = 128 * 1024;

void serve(Ingress& ingress, const std::vector<SocketAddress>& endpoints) {
  ingress.cluster.service("web", endpoints);
  ingress.cluster.ingress("web", "", "web");
  ingress.publish_and_wait();
}

// A body whose every part is different.
std::string pattern(size_t size) {
  std::string out(size, 0);
  uint32_t state = 1;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

std::string receive(int fd, size_t size, std::string have = {}) {
  while (have.size() < size) {
    char bytes[65536];
    const ssize_t got = ::recv(fd, bytes, std::min(sizeof bytes, size - have.size()), 0);
    if (got <= 0) break;
    have.append(bytes, static_cast<size_t>(got));
  }
  return have;
}

std::string chunked(const std::string& body, size_t chunk_bytes) {
  std::string out;
  for (size_t i = 0; i < body.size(); i += chunk_bytes) {
    const std::string_view part = std::string_view(body).substr(i, chunk_bytes);
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    out += cat(size, part, "\r\n");
  }
  return out + "0\r\n\r\n";
}

std::string unchunked(std::string_view text) {
  std::string out;
  for (;;) {
    const size_t line = text.find("\r\n");
    if (line == text.npos) return out;
    const size_t size = std::stoul(std::string(text.substr(0, line)), nullptr, 16);
    out += text.substr(line + 2, size);
    if (size == 0) return out;
    text.remove_prefix(line + 2 + size + 2);
  }
}

struct Echo {
  const char* name;
  bool chunked_request;
  size_t piece;
};
class BigBody : public ::testing::TestWithParam<Echo> {};

// The endpoint sends back what it gets while it gets it.
void echo_by_length(int fd, int) {
  std::string buffer;
  const std::string head = read_head(fd, buffer);
  const auto size = parse_int(field_of(head, "content-length"));
  if (!size) return;
  write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: ", *size, "\r\n\r\n"));
  size_t left = static_cast<size_t>(*size);
  write_all(fd, buffer);
  left -= buffer.size();
  char bytes[30000];
  while (left > 0) {
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return;
    write_all(fd, {bytes, static_cast<size_t>(got)});
    left -= static_cast<size_t>(got);
  }
  read_head(fd, buffer);
}

void echo_chunks(int fd, int) {
  std::string buffer;
  read_head(fd, buffer);
  write_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string all;
  char bytes[30000];
  for (;;) {
    write_all(fd, buffer);
    all += buffer;
    if (all.ends_with("\r\n0\r\n\r\n")) break;
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return;
    buffer.assign(bytes, static_cast<size_t>(got));
  }
  read_head(fd, buffer);
}

TEST_P(BigBody, passes_both_ways_at_once) {
  const std::string body = pattern(8 * megabyte);
  TestUpstream upstream(GetParam().chunked_request ? echo_chunks : echo_by_length);
  Limits limits;
  limits.socket_buffer_bytes = small_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_buffer);
  std::thread sender([&] {
    if (GetParam().chunked_request) {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      client.send(chunked(body, GetParam().piece));
    } else {
      client.send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(), "\r\n\r\n"));
      client.send(body);
    }
  });
  std::string response;
  std::string head_rest;
  const std::string head = read_head(client.fd(), head_rest);
  if (GetParam().chunked_request) {
    response = std::move(head_rest);
    char bytes[65536];
    while (!response.ends_with("\r\n0\r\n\r\n")) {
      const ssize_t got = ::recv(client.fd(), bytes, sizeof bytes, 0);
      if (got <= 0) break;
      response.append(bytes, static_cast<size_t>(got));
    }
    response = unchunked(response);
  } else {
    response = receive(client.fd(), body.size(), std::move(head_rest));
  }
  sender.join();
  EXPECT_EQ(response.size(), body.size());
  EXPECT_TRUE(response == body);
}

INSTANTIATE_TEST_SUITE_P(Streaming, BigBody,
                         ::testing::Values(Echo{"length", false, 0}, Echo{"chunks_1k", true, 1000},
                                           Echo{"chunks_100k", true, 100'000},
                                           Echo{"one_chunk", true, 8 * megabyte}),
                         [](const auto& param) { return std::string(param.param.name); });

// How much an endpoint can push before it is stopped: the proxy's window and the kernel's buffers,
// not the size of the body.
TEST(Streaming, a_slow_client_stops_the_endpoint) {
  std::atomic<size_t> pushed{0};
  TestUpstream upstream([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small_buffer, sizeof small_buffer);
    write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: ", 64 * megabyte, "\r\n\r\n"));
    const std::string block(16 * 1024, 'x');
    while (pushed < 64 * megabyte) {
      const ssize_t sent = ::send(fd, block.data(), block.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      pushed += static_cast<size_t>(sent);
    }
  });
  Limits limits;
  limits.socket_buffer_bytes = small_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_buffer);
  client.send(get("a"));
  EXPECT_FALSE(client.read_some().empty());
  size_t before = SIZE_MAX;
  for (int i = 0; i < 50 && before != pushed; ++i) {
    before = pushed;
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(before, pushed);                                     // it stands still
  EXPECT_LT(pushed, 4 * slab_bytes + 8 * size_t{small_buffer});  // the kernel doubles them
  size_t got = 0;
  while (got < 4 * megabyte) got += client.read_some().size();  // and goes on
  EXPECT_GT(pushed, 3 * megabyte);
}

TEST(Streaming, a_slow_endpoint_stops_the_client) {
  std::atomic<bool> go{false};
  std::atomic<size_t> received{0};
  TestUpstream upstream([&](int fd, int) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small_buffer, sizeof small_buffer);
    std::string buffer;
    read_head(fd, buffer);
    while (!go) std::this_thread::sleep_for(milliseconds(5));
    received = receive(fd, 16 * megabyte, std::move(buffer)).size();
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    read_head(fd, buffer);
  });
  Limits limits;
  limits.socket_buffer_bytes = small_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_buffer);
  std::atomic<size_t> sent{0};
  std::thread sender([&] {
    client.send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", 16 * megabyte, "\r\n\r\n"));
    const std::string block(16 * 1024, 'y');
    while (sent < 16 * megabyte && client.send(block)) sent += block.size();
  });
  size_t before = SIZE_MAX;
  for (int i = 0; i < 50 && before != sent; ++i) {
    before = sent;
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(before, sent);
  EXPECT_LT(sent, 4 * slab_bytes + 8 * size_t{small_buffer});
  go = true;
  sender.join();
  EXPECT_EQ(body_of(client.read_response()), "ok");
  EXPECT_EQ(received, 16 * megabyte);
}

// Answers 101 and sends back every byte; says "bye" when the client has sent its last.
void tunnel(int fd, int) {
  std::string buffer;
  const std::string head = read_head(fd, buffer);
  if (field_of(head, "upgrade").empty()) return;
  write_all(fd, cat("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ",
                    field_of(head, "upgrade"), "\r\nSec-WebSocket-Accept: x\r\n\r\nhello"));
  write_all(fd, buffer);
  char bytes[4096];
  for (ssize_t got = 0; (got = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) {
    write_all(fd, {bytes, static_cast<size_t>(got)});
  }
  write_all(fd, "bye");
}

const std::string upgrade_request =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

std::string read_until(Client& client, std::string_view end) {
  std::string got;
  while (!got.ends_with(end)) {
    const std::string more = client.read_some();
    if (more.empty()) break;
    got += more;
  }
  return got;
}

TEST(Streaming, an_upgrade_becomes_a_tunnel_with_half_close) {
  TestUpstream upstream(tunnel);
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(upgrade_request + "early");
  const std::string start = read_until(client, "early");
  EXPECT_EQ(status_of(start), 101);
  EXPECT_EQ(field_of(start, "Upgrade"), "websocket");
  EXPECT_EQ(field_of(start, "Connection"), "upgrade");
  EXPECT_EQ(body_of(start), "helloearly");
  client.send("ping");
  EXPECT_EQ(read_until(client, "ping"), "ping");
  client.shutdown_write();
  EXPECT_EQ(client.read_all(), "bye");
  EXPECT_THAT(ingress.log_text(), HasSubstr("\"status\":101"));
}

TEST(Streaming, a_tunnel_and_a_long_request_survive_route_changes) {
  TestUpstream chat(tunnel);
  std::atomic<bool> finish{false};
  TestUpstream slow([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    while (!finish) std::this_thread::sleep_for(milliseconds(1));
    write_all(fd, "half");
  });
  Ingress ingress;
  ingress.cluster.service("chat", {chat.address()});
  ingress.cluster.service("slow", {slow.address()});
  ingress.cluster.ingress("chat", "chat.test", "chat");
  ingress.cluster.ingress("slow", "slow.test", "slow");
  ingress.publish_and_wait();
  Client socket(ingress.http()), request(ingress.http());
  socket.send("GET / HTTP/1.1\r\nHost: chat.test\r\n" + upgrade_request.substr(29));
  read_until(socket, "hello");
  request.send(get("slow.test"));
  read_until(request, "half");

  ingress.cluster.erase(api::Kind::ingress, "chat");
  ingress.cluster.erase(api::Kind::ingress, "slow");
  ingress.cluster.erase(api::Kind::service, "slow");
  ingress.publish_and_wait();
  Client fresh(ingress.http());
  fresh.send(get("slow.test"));
  EXPECT_EQ(status_of(fresh.read_response()), 404);

  finish = true;
  EXPECT_EQ(read_until(request, "half"), "half");
  request.send(get("slow.test"));
  EXPECT_EQ(status_of(request.read_response()), 404);
  socket.send("still here");
  EXPECT_EQ(read_until(socket, "still here"), "still here");
}

TEST(Streaming, hot_route_swaps_under_load_fail_no_request) {
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

Limits quick() {
  Limits limits;
  limits.header_timeout = milliseconds(300);
  limits.keep_alive_timeout = milliseconds(300);
  limits.body_timeout = milliseconds(300);
  limits.connect_timeout = milliseconds(300);
  limits.response_timeout = milliseconds(300);
  limits.tunnel_timeout = milliseconds(300);
  limits.upstream_idle_timeout = milliseconds(300);
  return limits;
}

TEST(Timeouts, a_slow_head_is_408_however_steadily_it_comes) {
  Ingress ingress(quick());
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
  Ingress ingress(quick());
  Client client(ingress.http());
  client.send("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(status_of(client.read_response()), 408);
  EXPECT_TRUE(client.closed());
}

TEST(Timeouts, silent_and_idle_connections_are_closed) {
  RecordingUpstream upstream;
  Ingress ingress(quick());
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
  Ingress ingress(quick());
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
  Ingress ingress(quick());
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
  Ingress ingress(quick());
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
  auto limits = quick();
  limits.socket_buffer_bytes = small_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_buffer);
  client.send(get("a"));
  std::this_thread::sleep_for(milliseconds(1000));
  EXPECT_LT(client.read_all().size(), 4 * megabyte);
  EXPECT_THAT(ingress.log_text(), HasSubstr("client reads too slowly"));
}

TEST(Timeouts, an_idle_tunnel_ends) {
  TestUpstream upstream(tunnel);
  Ingress ingress(quick());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(upgrade_request);
  read_until(client, "hello");
  EXPECT_TRUE(client.closed(2000));
}

TEST(Timeouts, idle_connections_to_endpoints_are_closed) {
  std::atomic<bool> closed{false};
  TestUpstream upstream([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    closed = read_head(fd, buffer).empty();
  });
  Ingress ingress(quick());
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
  Ingress ingress(quick());
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
