#include "net/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "net/fd.h"
#include "tests/net/loop_turns.h"

namespace fairlead::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    a = Fd(fds[0]);
    b = Fd(fds[1]);
  }
  void poke() { EXPECT_EQ(::write(b.get(), "x", 1), 1); }
  Fd a, b;
};

TEST(EventLoopWatches, AreLevelTriggered) {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  const Watch watch = loop.watch(pair.a.get(), EPOLLIN, [&](uint32_t events) {
    EXPECT_EQ(events, static_cast<uint32_t>(EPOLLIN));
    ++calls;
  });
  turn(loop);
  EXPECT_EQ(calls, 0);
  pair.poke();
  turn(loop, 3);
  EXPECT_EQ(calls, 3);
}

TEST(EventLoopWatches, ChangeWhatTheyWaitFor) {
  EventLoop loop;
  Pair pair;
  uint32_t seen = 0;
  Watch watch = loop.watch(pair.a.get(), EPOLLIN, [&](uint32_t events) { seen |= events; });
  watch.set_events(EPOLLOUT);
  turn(loop);
  EXPECT_EQ(seen, static_cast<uint32_t>(EPOLLOUT));
  pair.poke();
  seen = 0;
  watch.set_events(0);
  turn(loop);
  EXPECT_EQ(seen, 0u);
  watch.set_events(EPOLLIN | EPOLLOUT);
  watch.set_events(EPOLLIN | EPOLLOUT);
  turn(loop);
  EXPECT_EQ(seen, static_cast<uint32_t>(EPOLLIN | EPOLLOUT));
}

TEST(EventLoopWatches, MayEndInTheirOwnCallback) {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  auto big = std::make_shared<std::string>(10'000, 'x');  // captured: freed memory would show
  Watch watch;
  watch = loop.watch(pair.a.get(), EPOLLIN, [&watch, &calls, big](uint32_t) {
    ++calls;
    watch.reset();
    EXPECT_EQ(big->size(), 10'000u);
  });
  pair.poke();
  turn(loop, 3);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(big.use_count(), 1);
}

TEST(EventLoopWatches, MayEndOneAnotherInTheSameTurn) {
  EventLoop loop;
  Pair one, two;
  std::unique_ptr<Watch> watches[2];
  int calls = 0;
  for (int i = 0; i < 2; ++i) {
    watches[i] = std::make_unique<Watch>(
        loop.watch((i == 0 ? one : two).a.get(), EPOLLIN, [&watches, &calls, i](uint32_t) {
          ++calls;
          watches[1 - i].reset();
        }));
  }
  one.poke();
  two.poke();
  turn(loop);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopWatches, OneForANewSocketWithTheOldNumberGetsNoOldEvents) {
  EventLoop loop;
  auto first = std::make_unique<Pair>();
  auto second = std::make_unique<Pair>();
  Watch a, b, fresh;
  int fresh_calls = 0;
  const auto swap_other = [&](Watch& watch, std::unique_ptr<Pair>& pair) {
    watch.reset();
    const int old = pair->a.get();
    pair.reset();
    pair = std::make_unique<Pair>();
    EXPECT_TRUE(pair->a.get() == old || pair->b.get() == old);
    fresh = loop.watch(old, EPOLLIN, [&](uint32_t) { ++fresh_calls; });
  };
  a = loop.watch(first->a.get(), EPOLLIN, [&](uint32_t) {
    a.reset();
    swap_other(b, second);
  });
  b = loop.watch(second->a.get(), EPOLLIN, [&](uint32_t) {
    b.reset();
    swap_other(a, first);
  });
  first->poke();
  second->poke();
  turn(loop, 3);
  EXPECT_EQ(fresh_calls, 0);
}

TEST(EventLoopWatches, MayOwnOtherWatchesAndTimers) {
  Pair one, two;
  EventLoop loop;
  auto inner = std::make_shared<Watch>(loop.watch(two.a.get(), EPOLLIN, [](uint32_t) {}));
  Watch outer = loop.watch(one.a.get(), EPOLLIN, [inner](uint32_t) {});
  inner.reset();
  outer.reset();
  turn(loop, 2);
  two.poke();
  turn(loop, 2);
}

TEST(EventLoopWatches, MoveKeepsThemAlive) {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  Watch first = loop.watch(pair.a.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  Watch second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  pair.poke();
  turn(loop);
  EXPECT_EQ(calls, 1);
  second = Watch();
  turn(loop);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopPost, RunsInOrderAlsoFromThreads) {
  EventLoop loop;
  constexpr int threads = 4, each = 5'000;
  std::vector<std::vector<int>> seen(threads);
  int left = threads * each;
  std::vector<std::thread> posters;
  for (int t = 0; t < threads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        loop.post([&, t, i] {
          seen[static_cast<size_t>(t)].push_back(i);
          if (--left == 0) loop.stop();
        });
      }
    });
  }
  loop.run();
  for (std::thread& poster : posters) poster.join();
  for (const auto& list : seen) {
    ASSERT_EQ(list.size(), static_cast<size_t>(each));
    EXPECT_TRUE(std::ranges::is_sorted(list));
  }
}

TEST(EventLoopPost, FromATaskRunsInALaterTurn) {
  EventLoop loop;
  int ran = 0;
  loop.post([&] {
    ++ran;
    loop.post([&] { ran += 10; });
  });
  turn(loop);
  EXPECT_EQ(ran, 1);
  turn(loop);
  EXPECT_EQ(ran, 11);
}

TEST(EventLoopPost, WhatIsLeftAtDestructionIsDroppedWithWhatItOwns) {
  Pair pair;
  auto held = std::make_shared<int>(0);
  struct PostsAgain {
    EventLoop& loop;
    std::shared_ptr<int> held;
    ~PostsAgain() {
      loop.post([kept = held] {});
    }
  };
  {
    EventLoop loop;
    auto watch = std::make_shared<Watch>(loop.watch(pair.a.get(), EPOLLIN, [held](uint32_t) {}));
    auto timer = std::make_shared<Timer>(loop.after(hours(1), [held, watch] {}));
    loop.post([held, watch, timer] {});
    auto again = std::make_shared<PostsAgain>(loop, held);
    loop.post([again] {});
    auto nested = std::make_shared<Timer>();
    *nested = loop.after(hours(2), [nested, again] {});
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(EventLoopStop, EndsRunFromAnyThreadAndAllowsAnotherRun) {
  EventLoop loop;
  for (int round = 0; round < 3; ++round) {
    std::thread stopper([&] {
      std::this_thread::sleep_for(milliseconds(5));
      loop.stop();
    });
    loop.run();
    stopper.join();
  }
  loop.stop();
  loop.run();  // asked to stop before it started: returns at once
}

TEST(EventLoopStop, FromACallbackFinishesTheTurn) {
  EventLoop loop;
  int ran = 0;
  loop.post([&] {
    loop.stop();
    ++ran;
  });
  loop.post([&] { ++ran; });
  loop.run();
  EXPECT_EQ(ran, 2);
}

TEST(EventLoopNow, IsTheSameForAWholeTurn) {
  EventLoop loop;
  MonoTime first, second;
  loop.post([&] {
    first = loop.now();
    std::this_thread::sleep_for(milliseconds(2));
  });
  loop.post([&] { second = loop.now(); });
  turn(loop);
  EXPECT_EQ(first, second);
  turn(loop);
  EXPECT_GT(loop.now(), first);
}

TEST(Fd, OwnsItsDescriptor) {
  const int raw = ::eventfd(0, EFD_CLOEXEC);
  Fd one(raw);
  Fd two = std::move(one);
  EXPECT_FALSE(one);
  EXPECT_EQ(two.get(), raw);
  one = std::move(two);
  EXPECT_EQ(one.release(), raw);
  EXPECT_FALSE(one);
  EXPECT_EQ(::close(raw), 0);
}

}  // namespace
}  // namespace fairlead::net
