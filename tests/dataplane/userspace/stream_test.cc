// One direction of a connection, on local sockets and in one thread: every order of writing,
// moving and reading.
#include "dataplane/userspace/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane::userspace {
namespace {

using enum Stream::Outcome;

// speaker -> from, which the stream reads; to, which it writes -> listener.
class StreamTest : public testing::Test {
 protected:
  StreamTest() {
    make_pair(speaker_, from_);
    make_pair(to_, listener_);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);  // as the forwarding thread does
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  }
  static void make_pair(net::Fd& one, net::Fd& other) {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    one = net::Fd(fds[0]);
    other = net::Fd(fds[1]);
  }

  size_t speak(std::string_view data) {
    const ssize_t sent = ::send(speaker_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }
  void end() { ::shutdown(speaker_.get(), SHUT_WR); }
  std::string listen(size_t most = 1 << 20) {
    std::string out(most, ' ');
    const ssize_t got = ::recv(listener_.get(), out.data(), out.size(), 0);
    out.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return out;
  }
  Stream::Outcome pump() {
    const auto outcome = stream_.pump(from_.get(), to_.get(), pipes_);
    // It waits for one thing at a time, and for nothing when all is said.
    EXPECT_FALSE(stream_.wants_read() && stream_.wants_write());
    EXPECT_EQ(stream_.wants_read() || stream_.wants_write(),
              !stream_.ended() || stream_.wants_write());
    return outcome;
  }

  net::Fd speaker_, from_, to_, listener_;
  PipePool pipes_;
  Stream stream_;
};

TEST_F(StreamTest, ManySizesInAnyOrderArriveWholeAndThenTheEnd) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    make_pair(speaker_, from_);
    make_pair(to_, listener_);
    stream_ = Stream();
    std::mt19937 random(seed);
    const std::string data = pattern(random() % (seed % 3 == 0 ? 2'000'000 : 20'000), seed);
    size_t said = 0;
    std::string heard;
    for (int turn = 0; turn < 200'000 && !(stream_.ended() && heard.size() == data.size());
         ++turn) {
      switch (random() % 3) {
        case 0:
          said += speak(std::string_view(data).substr(said, random() % 70'000));
          if (said == data.size()) end();
          break;
        case 1:
          ASSERT_EQ(pump(), ok);
          break;
        default:
          heard += listen(1 + random() % 90'000);
      }
    }
    EXPECT_TRUE(stream_.ended());
    EXPECT_TRUE(heard == data);
    EXPECT_EQ(stream_.bytes(), data.size());
    EXPECT_EQ(pump(), ok) << "after the end there is nothing to do";
  }
}

TEST_F(StreamTest, WhatNobodyTakesIsNotReadEither) {
  const std::string data = pattern(32 << 20, 1);
  size_t said = 0, before = 1;
  while (said != before) {
    before = said;
    said += speak(std::string_view(data).substr(said));
    ASSERT_EQ(pump(), ok);
  }
  EXPECT_LT(said, data.size());
  EXPECT_TRUE(stream_.wants_write());
  EXPECT_FALSE(stream_.wants_read());
  const uint64_t moved = stream_.bytes();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(pump(), ok);
  EXPECT_EQ(stream_.bytes(), moved);
  EXPECT_EQ(speak("x"), 0u) << "the speaker is held back";
  // All that was said arrives, and the end behind it, although it is known before.
  end();
  std::string heard;
  for (int i = 0; i < 10'000 && !(stream_.ended() && heard.size() == said); ++i) {
    heard += listen();
    ASSERT_EQ(pump(), ok);
  }
  EXPECT_TRUE(heard == data.substr(0, said));
  EXPECT_TRUE(stream_.ended());
}

TEST_F(StreamTest, APipeIsHeldOnlyWhileThereIsSomethingInIt) {
  speak("one");
  ASSERT_EQ(pump(), ok);
  EXPECT_EQ(listen(), "one");
  const size_t before = open_files();
  for (int i = 0; i < 100; ++i) {
    Stream other;
    speak("more");
    ASSERT_EQ(other.pump(from_.get(), to_.get(), pipes_), ok);
    ASSERT_EQ(pump(), ok);
    EXPECT_EQ(listen(), "more");
  }
  EXPECT_EQ(open_files(), before) << "one pipe for all";
}

TEST_F(StreamTest, AnEndWithoutAWordIsAnEnd) {
  ASSERT_EQ(pump(), ok);
  EXPECT_FALSE(stream_.ended());
  EXPECT_TRUE(stream_.wants_read());
  end();
  ASSERT_EQ(pump(), ok);
  EXPECT_TRUE(stream_.ended());
  EXPECT_EQ(stream_.bytes(), 0u);
  EXPECT_FALSE(stream_.wants_read() || stream_.wants_write());
}

TEST_F(StreamTest, AListenerThatHasGoneIsAFailure) {
  listener_.reset();
  EXPECT_EQ(pump(), ok) << "nothing was said to it";
  speak("hello");
  EXPECT_EQ(pump(), failed);
}

TEST_F(StreamTest, WithoutAPipeItIsAFailureUnlessOneIsKept) {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const auto without_files = [&](const auto& body) {
    const rlimit none{static_cast<rlim_t>(net::Fd(::dup(0)).get()), before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    body();
    ::setrlimit(RLIMIT_NOFILE, &before);
  };
  speak("one");
  without_files([&] { EXPECT_EQ(pump(), failed); });
  ASSERT_EQ(pump(), ok);
  EXPECT_EQ(listen(), "one");
  speak("two");
  without_files([&] { EXPECT_EQ(pump(), ok); });
  EXPECT_EQ(listen(), "two");
}

TEST_F(StreamTest, WhatWasSaidBeforeAResetIsRescuedAndNoEndIsPassedOn) {
  for (const size_t size : {0, 5, 100'000}) {
    SCOPED_TRACE(size);
    make_pair(speaker_, from_);
    stream_ = Stream();
    const std::string data = pattern(size, 1).substr(0, speak(pattern(size, 1)));
    stream_.rescue(from_.get(), to_.get(), pipes_);
    std::string heard;
    for (int i = 0; i < 100 && heard.size() < data.size(); ++i) {
      heard += listen();
      stream_.rescue(from_.get(), to_.get(), pipes_);
    }
    EXPECT_TRUE(heard == data);
    EXPECT_FALSE(stream_.ended());
  }
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
