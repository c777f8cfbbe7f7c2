// What happens to a client's idle connections between two calls.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/socket.h"
#include "tests/net/http_rig.h"
#include "tests/net/loop_turns.h"

namespace fairlead::net {
namespace {

// The server's end of every connection, moved by the test.
class Bench {
 public:
  Bench()
      : listener_(listen_tcp(*SocketAddress::parse("127.0.0.1:0")).value()),
        client(loop, {.host = "127.0.0.1", .port = local_address(listener_.get())->port}) {}

  // One call, which is answered as soon as something of it comes, on whatever connection.
  Outcome call(HttpRequest request = {}) {
    Outcome outcome;
    const auto call = client.call(std::move(request), outcome.callbacks());
    bool answered = false;
    for (int i = 0; i < 500 && outcome.dones == 0; ++i) {
      loop.run_once(std::chrono::milliseconds(2));
      accept();
      for (const Fd& peer : peers) {
        char bytes[4096];
        if (answered || ::recv(peer.get(), bytes, sizeof bytes, MSG_DONTWAIT) <= 0) continue;
        say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        answered = true;
      }
    }
    EXPECT_EQ(outcome.dones, 1);
    return outcome;
  }
  void say(const Fd& peer, std::string_view bytes) {
    ::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // Whether the client has closed its end, once all that it sent is read.
  bool left(const Fd& peer) {
    std::vector<char> bytes(1 << 16);
    for (int i = 0; i < 100; ++i) {
      loop.run_once(std::chrono::milliseconds(1));
      ssize_t got = 1;
      while (got > 0) got = ::recv(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got == 0 || errno != EAGAIN) return true;
    }
    return false;
  }

 private:
  void accept() {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) peers.push_back(std::move(fd));
  }
  Fd listener_;

 public:
  EventLoop loop;
  HttpClient client;
  std::vector<Fd> peers;
};

TEST(HttpClientIdle, ConnectionThatTheServerClosesIsLetGo) {
  Bench bench;
  EXPECT_EQ(bench.call().body, "ok");
  ::shutdown(bench.peers[0].get(), SHUT_WR);
  EXPECT_TRUE(bench.left(bench.peers[0]));
  EXPECT_EQ(bench.call().body, "ok");
  EXPECT_EQ(bench.peers.size(), 2u);
}

TEST(HttpClientIdle, AnswerThatNobodyAskedForIsNotThatOfTheNextCall) {
  Bench bench;
  EXPECT_EQ(bench.call().body, "ok");
  bench.say(bench.peers[0], "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate");
  EXPECT_TRUE(bench.left(bench.peers[0]));
  const Outcome next = bench.call();
  EXPECT_EQ(next.head.status, 200);
  EXPECT_EQ(next.body, "ok");
  EXPECT_EQ(bench.peers.size(), 2u);
}

TEST(HttpClientIdle, ConnectionThatIsResetIsLetGo) {
  Bench bench;
  EXPECT_EQ(bench.call().body, "ok");
  const linger reset{1, 0};
  ::setsockopt(bench.peers[0].get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  bench.peers[0].reset();
  turn(bench.loop, 20);
  EXPECT_EQ(bench.call().body, "ok");
  EXPECT_EQ(bench.peers.size(), 2u);
}

TEST(HttpClientIdle, ConnectionWhoseRequestWasAnsweredTooEarlyIsNotUsedAgain) {
  Bench bench;
  const std::string more_than_a_socket_takes(30'000'000, 'b');
  EXPECT_EQ(bench.call({.method = "PUT", .body = more_than_a_socket_takes}).body, "ok");
  EXPECT_TRUE(bench.left(bench.peers[0]));
  EXPECT_EQ(bench.call().body, "ok");
  EXPECT_EQ(bench.peers.size(), 2u);
}

}  // namespace
}  // namespace fairlead::net
