// Connections through the forwarder that one side resets: what was said before arrives, and so does
// the reset.
#include <future>

#include "base/text.h"
#include "tests/dataplane/userspace/tcp_lab.h"

namespace fairlead::dataplane::userspace {
namespace {

TEST_F(TcpForwarding, PassesAResetOnToTheOtherSide) {
  std::atomic<bool> was_reset = false;
  LoopbackServer server([&](int fd) {
    send_all(fd, "hello");
    char byte;
    was_reset = ::recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET;
  });
  begin({server.address()});
  {
    const net::Fd fd = dial(address_);
    char buffer[8];
    ASSERT_EQ(::recv(fd.get(), buffer, sizeof buffer, 0), 5);
    reset_at_close(fd.get());
  }
  EXPECT_TRUE(eventually([&] { return was_reset.load(); }));
  LoopbackServer resetting([](int fd) { reset_at_close(fd); });
  publish({resetting.address()});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_TRUE(idle());
}

TEST_F(TcpForwarding, WhatABackendSaidBeforeItsResetArrives) {
  LoopbackServer server([](int fd) {
    send_all(fd, "answer");
    reset_at_close(fd);  // like a server that does not read its request
  });
  begin({server.address()});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(greeting(), "answer");
  EXPECT_TRUE(idle());
}

// To ask for nothing would be to wait for something.
std::string receive_exactly(int fd, size_t size) {
  std::string out(size, ' ');
  if (size != 0) ::recv(fd, out.data(), size, MSG_WAITALL);
  return out;
}

// Like a server that refuses an upload by its first bytes: the other side is still talking, and
// what it says cannot be passed on any more. Whichever of the two the loop comes to first.
TEST_F(TcpForwarding, LastWordsBeforeAResetArriveAlthoughTheOtherSideIsTalking) {
  const net::Fd backend = *net::listen_tcp({Ip::v4(0x7f000001), 0});
  begin({*net::local_address(backend.get())});
  for (const bool client_resets : {false, true}) {
    for (const bool talks_first : {false, true}) {
      SCOPED_TRACE(cat("the ", client_resets ? "client" : "server", " resets, ",
                       talks_first ? "after" : "before", " the other one talks"));
      net::Fd client = dial(address_), server;
      ASSERT_TRUE(eventually([&] {
        server = net::Fd(::accept4(backend.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return static_cast<bool>(server);
      }));
      send_all(client.get(), "?");
      ASSERT_EQ(receive_exactly(server.get(), 1), "?");
      std::promise<void> held, go;
      loop_.post([&] {
        held.set_value();
        go.get_future().wait();
      });
      held.get_future().wait();
      net::Fd& resets = client_resets ? client : server;
      const net::Fd& talks = client_resets ? server : client;
      if (talks_first) send_all(talks.get(), "more");
      send_all(resets.get(), "enough");
      reset_at_close(resets.get());
      resets.reset();
      if (!talks_first) send_all(talks.get(), "more");
      go.set_value();
      EXPECT_EQ(receive_exactly(talks.get(), 6), "enough");
      char byte;
      EXPECT_TRUE(::recv(talks.get(), &byte, 1, 0) < 0 && errno == ECONNRESET);
      EXPECT_TRUE(idle());
    }
  }
}

TEST_F(TcpForwarding, AResetAtAnyStageEndsBothSidesAndLeavesNothing) {
  enum class Who { client, server };
  struct Case {
    const char* name;
    Who resets;
    size_t request, answer;  // what was said before
    bool client_ended;       // and had said all
  };
  const Case cases[] = {
      {"the client, at once", Who::client, 0, 0, false},
      {"the client, after its request", Who::client, 100, 0, false},
      {"the client, after the answer", Who::client, 100, 100, false},
      {"the client, when it had ended", Who::client, 100, 100, true},
      {"the client, in the middle of much", Who::client, 4 << 20, 0, false},
      {"the server, at once", Who::server, 0, 0, false},
      {"the server, after the request", Who::server, 100, 0, false},
      {"the server, after its answer", Who::server, 100, 100, false},
      {"the server, when the client had ended", Who::server, 100, 100, true},
  };
  const Case* now = nullptr;
  std::atomic<int> ended = 0;
  LoopbackServer server([&](int fd) {
    if (now->request <= 100) receive_exactly(fd, now->request);
    send_all(fd, pattern(now->answer, 1));
    if (now->resets == Who::server) {
      reset_at_close(fd);
    } else {
      receive_all(fd);  // until the reset
    }
    ++ended;
  });
  begin({server.address()});
  EXPECT_TRUE(idle());
  const size_t before = open_files();
  int count = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    now = &one;
    {
      const net::Fd fd = dial(address_);
      ASSERT_TRUE(fd);
      if (one.request <= 100) {
        EXPECT_TRUE(send_all(fd.get(), pattern(one.request, 2)) || one.resets == Who::server);
      } else {
        const std::string part = pattern(one.request, 2);
        ::send(fd.get(), part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      }
      if (one.client_ended) ::shutdown(fd.get(), SHUT_WR);
      EXPECT_TRUE(receive_exactly(fd.get(), one.answer) == pattern(one.answer, 1));
      if (one.resets == Who::client) reset_at_close(fd.get());
      if (one.resets == Who::server) {
        EXPECT_EQ(receive_all(fd.get()), "");
      }
    }
    ++count;
    EXPECT_TRUE(eventually([&] { return ended == count; }));
    EXPECT_TRUE(idle());
  }
  constexpr size_t kept = 4;  // two pipes, for those who come next
  EXPECT_TRUE(eventually([&] { return open_files() <= before + kept; }));
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
