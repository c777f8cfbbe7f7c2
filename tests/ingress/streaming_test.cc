// Bodies larger than any buffer, both ways at once, and readers that are slow.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/text.h"
#include "ingress/buffer.h"
#include "tests/ingress/testing.h"
namespace fairlead::ingress::testing {
namespace {
using std::chrono::milliseconds;
constexpr size_t megabyte = 1024 * 1024;
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
  limits.socket_buffer_bytes = small_socket_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_socket_buffer);
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
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small_socket_buffer, sizeof small_socket_buffer);
    write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: ", 64 * megabyte, "\r\n\r\n"));
    const std::string block(16 * 1024, 'x');
    while (pushed < 64 * megabyte) {
      const ssize_t sent = ::send(fd, block.data(), block.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      pushed += static_cast<size_t>(sent);
    }
  });
  Limits limits;
  limits.socket_buffer_bytes = small_socket_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_socket_buffer);
  client.send(get("a"));
  EXPECT_FALSE(client.read_some().empty());
  size_t before = SIZE_MAX;
  for (int i = 0; i < 50 && before != pushed; ++i) {
    before = pushed;
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(before, pushed);                                            // it stands still
  EXPECT_LT(pushed, 4 * slab_bytes + 8 * size_t{small_socket_buffer});  // the kernel doubles them
  size_t got = 0;
  while (got < 4 * megabyte) got += client.read_some().size();  // and goes on
  EXPECT_GT(pushed, 3 * megabyte);
}

TEST(Streaming, a_slow_endpoint_stops_the_client) {
  std::atomic<bool> go{false};
  std::atomic<size_t> received{0};
  TestUpstream upstream([&](int fd, int) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small_socket_buffer, sizeof small_socket_buffer);
    std::string buffer;
    read_head(fd, buffer);
    while (!go) std::this_thread::sleep_for(milliseconds(5));
    received = receive(fd, 16 * megabyte, std::move(buffer)).size();
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    read_head(fd, buffer);
  });
  Limits limits;
  limits.socket_buffer_bytes = small_socket_buffer;
  Ingress ingress(limits);
  serve(ingress, {upstream.address()});
  Client client(ingress.http(), small_socket_buffer);
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
  EXPECT_LT(sent, 4 * slab_bytes + 8 * size_t{small_socket_buffer});
  go = true;
  sender.join();
  EXPECT_EQ(body_of(client.read_response()), "ok");
  EXPECT_EQ(received, 16 * megabyte);
}

}  // namespace
}  // namespace fairlead::ingress::testing
