// Connections through the forwarder: every byte, in every order of ends; who gets the next one.
#include <poll.h>

#include <ctime>

#include "tests/dataplane/userspace/tcp_lab.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr size_t long_transfer = 24 << 20;

TEST_F(TcpForwarding, LongTransfersBothWaysAtOnceArriveWhole) {
  const std::string there = pattern(long_transfer, 1), back = pattern(long_transfer, 2);
  std::atomic<bool> right = false;
  LoopbackServer server([&](int fd) {
    std::thread sender([&] {
      send_all(fd, back);
      ::shutdown(fd, SHUT_WR);
    });
    right = receive_all(fd) == there;
    sender.join();
  });
  begin({server.address()});
  const net::Fd fd = dial(address_);
  ASSERT_TRUE(fd);
  std::thread sender([&] {
    EXPECT_TRUE(send_all(fd.get(), there));
    ::shutdown(fd.get(), SHUT_WR);
  });
  EXPECT_TRUE(receive_all(fd.get()) == back);
  sender.join();
  EXPECT_TRUE(idle());
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_EQ(metrics_.bytes.value(), 2 * long_transfer);
}

TEST_F(TcpForwarding, TheEndOfOneDirectionLeavesTheOther) {
  struct Case {
    const char* name;
    bool server_ends_first;
    size_t request, answer;
  };
  const Case cases[] = {
      {"the client ends, then the answer", false, 8, 18},
      {"the server ends, then the request", true, 8, 18},
      {"an end without a word, then the answer", false, 0, 18},
      {"the server ends without a word", true, 8, 0},
      {"both without a word", false, 0, 0},
      {"long ones, the client first", false, 3 << 20, 3 << 20},
      {"long ones, the server first", true, 3 << 20, 3 << 20},
  };
  std::atomic<const Case*> current = nullptr;
  std::atomic<bool> right = false;
  LoopbackServer server([&](int fd) {
    const Case* now = current;
    const std::string request = pattern(now->request, 1), answer = pattern(now->answer, 2);
    const auto speak = [&] {
      send_all(fd, answer);
      ::shutdown(fd, SHUT_WR);
    };
    if (now->server_ends_first) speak();
    right = receive_all(fd) == request;  // only the client's end makes this return
    if (!now->server_ends_first) speak();
  });
  begin({server.address()});
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    current = &one;
    right = false;
    const net::Fd fd = dial(address_);
    std::string answer;
    if (one.server_ends_first) answer = receive_all(fd.get());
    ASSERT_TRUE(send_all(fd.get(), pattern(one.request, 1)));
    ::shutdown(fd.get(), SHUT_WR);
    if (!one.server_ends_first) answer = receive_all(fd.get());
    EXPECT_TRUE(answer == pattern(one.answer, 2));
    EXPECT_TRUE(idle());
    EXPECT_TRUE(eventually([&] { return right.load(); }));
  }
}

TEST_F(TcpForwarding, ASlowReaderHoldsItsSenderBackAndNobodyElse) {
  const std::string back = pattern(long_transfer, 3);
  std::atomic<size_t> sent = 0;
  LoopbackServer server([&](int fd) {
    for (size_t at = 0; at < back.size(); at += 1 << 16) {
      if (!send_all(fd, std::string_view(back).substr(at, 1 << 16))) return;
      sent = at + (1 << 16);
    }
  });
  begin({server.address()});
  const net::Fd slow = dial(address_);
  const int small = 1 << 16;
  ::setsockopt(slow.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  size_t before = 1;
  ASSERT_TRUE(eventually([&] {  // until the sender stands still
    const size_t was = std::exchange(before, sent.load());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return was == sent && sent != 0;
  }));
  EXPECT_LT(sent, long_transfer);
  LoopbackServer other(says("hello"));
  publish({other.address()});
  EXPECT_EQ(greeting(), "hello");
  EXPECT_TRUE(receive_all(slow.get()) == back);
}

TEST_F(TcpForwarding, WaitingForASlowBackendCostsNoTime) {
  const std::string there = pattern(long_transfer, 4);
  std::atomic<bool> go = false, right = false;
  LoopbackServer server([&](int fd) {
    ::shutdown(fd, SHUT_WR);  // has nothing to say
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    right = receive_all(fd) == there;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    EXPECT_EQ(receive_all(fd.get()), "");
    const timeval briefly{0, 200'000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &briefly, sizeof briefly);
    size_t sent = 0;
    for (ssize_t n = 1; n > 0 && sent < there.size(); sent += static_cast<size_t>(n)) {
      n = std::max<ssize_t>(
          0, ::send(fd.get(), there.data() + sent, there.size() - sent, MSG_NOSIGNAL));
    }
    ASSERT_LT(sent, there.size()) << "everything fits into buffers: nobody waits";
    const timeval long_enough{20, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &long_enough, sizeof long_enough);
    std::thread rest([&] { send_all(fd.get(), std::string_view(there).substr(sent)); });
    const clock_t before = ::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_LT(::clock() - before, CLOCKS_PER_SEC / 4);
    go = true;
    rest.join();
  }
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, ABackendThatReadsLateGetsAllOfAClientThatHasGone) {
  const std::string there = pattern(200'000, 5);
  std::atomic<bool> go = false, right = false;
  LoopbackServer server([&](int fd) {
    const int small = 4096;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ::shutdown(fd, SHUT_WR);
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    right = receive_all(fd) == there;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    EXPECT_EQ(receive_all(fd.get()), "");
    EXPECT_TRUE(send_all(fd.get(), there));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const clock_t before = ::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(::clock() - before, CLOCKS_PER_SEC / 4);
  go = true;
  EXPECT_TRUE(eventually([&] { return right.load(); }));
  EXPECT_TRUE(idle());
}

// Its end has been passed on, and the backend is not looked at while the answer waits for it.
TEST_F(TcpForwarding, AClientThatHasSaidAllAndReadsLateGetsAllOfTheAnswer) {
  const net::Fd backend = *net::listen_tcp({Ip::v4(0x7f000001), 0});
  begin({*net::local_address(backend.get())});
  const net::Fd client = dial(address_);
  ::shutdown(client.get(), SHUT_WR);
  net::Fd server;
  ASSERT_TRUE(eventually([&] {
    server = net::Fd(::accept4(backend.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return static_cast<bool>(server);
  }));
  EXPECT_EQ(receive_all(server.get()), "");
  const std::string answer = pattern(long_transfer, 6);
  size_t said = 0;
  ASSERT_TRUE(eventually([&] {  // until nothing moves any more
    const size_t before = said;
    const auto rest = std::string_view(answer).substr(said);
    const ssize_t sent =
        ::send(server.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) said += static_cast<size_t>(sent);
    return said == before;
  }));
  ASSERT_LT(said, answer.size()) << "everything fits into buffers: nobody waits";
  std::thread rest([&] {
    send_all(server.get(), std::string_view(answer).substr(said));
    server.reset();
  });
  EXPECT_TRUE(receive_all(client.get()) == answer);
  rest.join();
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, TakesBackendsInTurn) {
  LoopbackServer a(says("a")), b(says("b")), c(says("c"));
  begin({a.address(), b.address(), c.address()});
  std::string seen;
  for (int i = 0; i < 7; ++i) seen += greeting();
  EXPECT_EQ(seen, "abcabca");
}

TEST_F(TcpForwarding, TenThousandShortConnectionsLeaveNothingOpen) {
  std::atomic<bool> stop = false;
  // One thread that answers each connection and closes: handlers by thread would be the slow part.
  net::Fd listener = *net::listen_tcp({Ip::v4(0x7f000001), 0});
  std::thread server([&] {
    while (!stop) {
      pollfd ready{listener.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const net::Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fd) ::send(fd.get(), "x", 1, MSG_NOSIGNAL);
    }
  });
  begin({*net::local_address(listener.get())});
  EXPECT_EQ(greeting(), "x");
  EXPECT_TRUE(idle());
  const size_t before = open_files();
  int good = 0;
  for (int i = 0; i < 10'000; ++i) good += greeting() == "x";
  stop = true;
  server.join();
  EXPECT_EQ(good, 10'000);
  EXPECT_TRUE(idle());
  EXPECT_EQ(open_files(), before);
  EXPECT_EQ(metrics_.accepted.value(), 10'001u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
