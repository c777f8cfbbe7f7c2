#include "net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "base/check.h"
#include "net/fd.h"

namespace fairlead::net {

struct Watch::State {
  EventLoop::Impl* loop;
  int fd;
  uint32_t events;
  EventLoop::FdCallback callback;
  bool dead = false;
};

struct Timer::State {
  EventLoop::Impl* loop;  // null once the loop is gone
  MonoTime due;
  uint64_t sequence;  // equal times fire in the order in which they were set
  EventLoop::Task task;
};

struct EventLoop::Impl {
  using TimerRef = std::shared_ptr<Timer::State>;
  static bool later(const TimerRef& a, const TimerRef& b) {
    return a->due != b->due ? a->due > b->due : a->sequence > b->sequence;
  }

  Fd epoll{epoll_create1(EPOLL_CLOEXEC)};
  Fd wake{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  std::vector<Task> posted;      // guarded by mutex
  std::vector<TimerRef> timers;  // a heap by later()
  size_t cancelled = 0;          // of them
  uint64_t next_sequence = 0;
  std::vector<Watch::State*> graveyard;  // watches that ended; freed when no event can name them

  void signal() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake.get(), &one, sizeof one);
  }
  void run_posted() {
    uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(wake.get(), &count, sizeof count);
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(mutex);
      tasks.swap(posted);
    }
    for (Task& task : tasks) {
      task();
      task = nullptr;  // what it holds ends with its turn, not with the batch
    }
  }
  TimerRef pop_timer() {
    std::pop_heap(timers.begin(), timers.end(), later);
    TimerRef timer = std::move(timers.back());
    timers.pop_back();
    return timer;
  }
  void drop_cancelled_front() {
    while (!timers.empty() && !timers.front()->task) {
      pop_timer();
      --cancelled;
    }
  }
  // A cancelled timer stays in the heap until it is due. Connections that re-arm long time-outs
  // would grow it without end, so it is rebuilt when most of it is dead.
  void note_cancelled() {
    ++cancelled;
    if (cancelled < 64 || cancelled < timers.size() / 2) return;
    std::erase_if(timers, [](const TimerRef& timer) { return !timer->task; });
    std::make_heap(timers.begin(), timers.end(), later);
    cancelled = 0;
  }
  void run_timers(MonoTime now) {
    const uint64_t limit = next_sequence;  // what these callbacks set waits for the next turn
    for (;;) {
      drop_cancelled_front();
      if (timers.empty() || timers.front()->due > now || timers.front()->sequence >= limit) return;
      const TimerRef timer = pop_timer();
      Task task = std::exchange(timer->task, nullptr);
      task();
    }
  }
  int wait_ms(MonoTime now, Duration at_most) {
    drop_cancelled_front();
    Duration wait = at_most;
    if (!timers.empty()) wait = std::min<Duration>(wait, timers.front()->due - now);
    if (wait <= Duration::zero()) return 0;
    constexpr int64_t ns_per_ms = 1'000'000;
    return static_cast<int>(std::min<int64_t>(
        wait / std::chrono::milliseconds(1) + (wait.count() % ns_per_ms != 0 ? 1 : 0), 60'000));
  }
  void bury() {
    // A callback may own watches of its own, which come here while it is being freed.
    while (!graveyard.empty()) {
      std::vector<Watch::State*> dead;
      dead.swap(graveyard);
      for (Watch::State* state : dead) delete state;
    }
  }
};

Watch::Watch(Watch&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

Watch& Watch::operator=(Watch&& other) noexcept {
  std::swap(state_, other.state_);
  other.reset();
  return *this;
}

void Watch::set_events(uint32_t epoll_events) {
  CHECK(state_ != nullptr);
  if (state_->events == epoll_events) return;
  state_->events = epoll_events;
  epoll_event event{.events = epoll_events, .data = {.ptr = state_}};
  CHECK(epoll_ctl(state_->loop->epoll.get(), EPOLL_CTL_MOD, state_->fd, &event) == 0);
}

void Watch::reset() {
  State* state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  epoll_ctl(state->loop->epoll.get(), EPOLL_CTL_DEL, state->fd, nullptr);
  state->dead = true;
  state->loop->graveyard.push_back(state);
}

Timer::Timer(Timer&& other) noexcept : state_(std::move(other.state_)) {}

Timer& Timer::operator=(Timer&& other) noexcept {
  std::swap(state_, other.state_);
  other.reset();
  return *this;
}

void Timer::reset() {
  const auto state = std::move(state_);
  state_ = nullptr;
  if (!state || !state->task) return;
  // The task may own this very timer or others: it goes last.
  const EventLoop::Task task = std::exchange(state->task, nullptr);
  if (state->loop != nullptr) state->loop->note_cancelled();
}

Timer::operator bool() const { return state_ && state_->task; }

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()), now_(std::chrono::steady_clock::now()) {
  CHECK(impl_->epoll && impl_->wake);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  CHECK(epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, impl_->wake.get(), &event) == 0);
}

EventLoop::~EventLoop() {
  // Tasks may own watches and timers of this loop, and what they own may post or set more: all of
  // it ends while the loop still exists.
  for (bool more = true; more;) {
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(impl_->mutex);
      tasks.swap(impl_->posted);
    }
    std::vector<Impl::TimerRef> timers;
    timers.swap(impl_->timers);
    for (const auto& timer : timers) timer->loop = nullptr;
    more = !tasks.empty() || !timers.empty() || !impl_->graveyard.empty();
    // Moved out first: a task may own its own Timer, which looks at it again.
    for (const auto& timer : timers) const Task task = std::exchange(timer->task, nullptr);
    tasks.clear();
    impl_->bury();
  }
}

void EventLoop::run() {
  while (!impl_->stopped.load(std::memory_order_acquire)) run_once(std::chrono::hours(1));
  impl_->stopped.store(false);
}

void EventLoop::run_once(Duration wait) {
  epoll_event events[128];
  now_ = std::chrono::steady_clock::now();
  const int count =
      epoll_wait(impl_->epoll.get(), events, std::size(events), impl_->wait_ms(now_, wait));
  now_ = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    auto* state = static_cast<Watch::State*>(events[i].data.ptr);
    if (state == nullptr) {
      impl_->run_posted();
    } else if (!state->dead) {
      state->callback(events[i].events);
    }
  }
  impl_->run_timers(now_);
  impl_->bury();
}

void EventLoop::post(Task task) {
  bool first;
  {
    const std::lock_guard lock(impl_->mutex);
    first = impl_->posted.empty();
    impl_->posted.push_back(std::move(task));
  }
  if (first) impl_->signal();
}

void EventLoop::stop() {
  impl_->stopped.store(true, std::memory_order_release);
  impl_->signal();
}

Watch EventLoop::watch(int fd, uint32_t epoll_events, FdCallback callback) {
  auto* state = new Watch::State{impl_.get(), fd, epoll_events, std::move(callback)};
  epoll_event event{.events = epoll_events, .data = {.ptr = state}};
  CHECK(epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  return Watch(state);
}

Timer EventLoop::after(Duration delay, Task task) {
  constexpr Duration longest = std::chrono::hours(24 * 365);  // far from overflow of MonoTime
  const MonoTime due =
      std::chrono::steady_clock::now() + std::clamp(delay, Duration::zero(), longest);
  auto state =
      std::make_shared<Timer::State>(impl_.get(), due, impl_->next_sequence++, std::move(task));
  impl_->timers.push_back(state);
  std::push_heap(impl_->timers.begin(), impl_->timers.end(), Impl::later);
  return Timer(std::move(state));
}

}  // namespace fairlead::net
