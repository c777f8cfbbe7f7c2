// Timers of the event loop.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "tests/net/loop_turns.h"

namespace fairlead::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(EventLoopTimers, FireInOrderOfTimeThenOfSetting) {
  EventLoop loop;
  std::vector<int> order;
  const Timer c = loop.after(milliseconds(6), [&] { order.push_back(3); });
  const Timer a = loop.after(milliseconds(2), [&] { order.push_back(1); });
  const Timer b = loop.after(milliseconds(4), [&] { order.push_back(2); });
  std::vector<Timer> same;
  for (int i = 10; i < 20; ++i) {
    same.push_back(loop.after(Duration::zero(), [&order, i] { order.push_back(i); }));
  }
  while (order.size() < 13) loop.run_once(milliseconds(20));
  EXPECT_EQ(order, (std::vector<int>{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 1, 2, 3}));
}

TEST(EventLoopTimers, NeverFireEarly) {
  EventLoop loop;
  const auto start = std::chrono::steady_clock::now();
  bool fired = false;
  const Timer timer = loop.after(std::chrono::microseconds(2500), [&] { fired = true; });
  while (!fired) loop.run_once(hours(1));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::microseconds(2500));
}

TEST(EventLoopTimers, CancelledByDestructionResetAndAssignment) {
  EventLoop loop;
  int fired = 0;
  {
    const Timer dropped = loop.after(Duration::zero(), [&] { fired += 1; });
  }
  Timer reset = loop.after(Duration::zero(), [&] { fired += 10; });
  reset.reset();
  reset.reset();
  Timer replaced = loop.after(Duration::zero(), [&] { fired += 100; });
  replaced = loop.after(Duration::zero(), [&] { fired += 1000; });
  EXPECT_FALSE(reset);
  EXPECT_TRUE(replaced);
  loop.run_once(milliseconds(50));
  EXPECT_EQ(fired, 1000);
  EXPECT_FALSE(replaced);
}

TEST(EventLoopTimers, MayBeCancelledOrReplacedInTheirOwnCallback) {
  EventLoop loop;
  int fired = 0;
  Timer timer;
  timer = loop.after(Duration::zero(), [&] {
    ++fired;
    timer.reset();
  });
  turn(loop, 3);
  EXPECT_EQ(fired, 1);
  std::function<void()> again = [&] {
    if (++fired < 5) timer = loop.after(Duration::zero(), [&] { again(); });
  };
  timer = loop.after(Duration::zero(), [&] { again(); });
  turn(loop, 20);
  EXPECT_EQ(fired, 5);
}

TEST(EventLoopTimers, MayCancelOneAnother) {
  EventLoop loop;
  int fired = 0;
  Timer second;
  const Timer first = loop.after(Duration::zero(), [&] {
    ++fired;
    second.reset();
  });
  second = loop.after(Duration::zero(), [&] { fired += 10; });
  turn(loop, 3);
  EXPECT_EQ(fired, 1);
}

TEST(EventLoopTimers, MayOwnThemselves) {
  EventLoop loop;
  struct Node {
    Timer timer;
    std::shared_ptr<int> witness;
  };
  auto node = std::make_shared<Node>();
  node->witness = std::make_shared<int>(0);
  const std::weak_ptr<int> witness = node->witness;
  node->timer = loop.after(hours(1), [node] {});
  Node* raw = node.get();
  node.reset();
  EXPECT_FALSE(witness.expired());
  raw->timer.reset();  // its task is the last owner of the timer itself
  EXPECT_TRUE(witness.expired());
}

TEST(EventLoopTimers, SetInACallbackWaitForTheNextTurn) {
  EventLoop loop;
  int depth = 0;
  std::vector<Timer> timers;
  std::function<void()> set = [&] {
    ++depth;
    timers.push_back(loop.after(milliseconds(-5), [&] { set(); }));
  };
  set();
  turn(loop);
  EXPECT_EQ(depth, 2) << "a timer that sets itself must not keep the loop from its sockets";
}

TEST(EventLoopTimers, HugeAndNegativeDelaysAreTaken) {
  EventLoop loop;
  int fired = 0;
  const Timer never = loop.after(Duration::max(), [&] { fired += 100; });
  const Timer now = loop.after(Duration::min(), [&] { ++fired; });
  turn(loop, 2);
  EXPECT_EQ(fired, 1);
}

TEST(EventLoopTimers, ManyCancelledOnesDoNotDelayOthers) {
  EventLoop loop;
  int fired = 0;
  std::vector<Timer> kept;
  Timer again;
  for (int i = 0; i < 200'000; ++i) {
    again = loop.after(hours(1), [&] { fired += 1000; });
    if (i % 1000 == 0) kept.push_back(loop.after(milliseconds(1), [&] { ++fired; }));
  }
  while (fired < 200) loop.run_once(milliseconds(5));
  EXPECT_EQ(fired, 200);
}

TEST(EventLoopTimers, MayOutliveTheLoop) {
  std::optional<EventLoop> loop(std::in_place);
  auto held = std::make_shared<int>(1);
  Timer timer = loop->after(hours(1), [held] {});
  loop.reset();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(timer);
  timer.reset();
}

}  // namespace
}  // namespace fairlead::net
