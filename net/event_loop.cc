#include "net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <deque>
#include <mutex>
#include <queue>
#include <vector>

#include "base/check.h"
#include "net/fd.h"

namespace fairlead::net {

struct Watch::State {
  EventLoop::Impl* loop;
  int fd;
  EventLoop::FdCallback callback;
  bool dead = false;
};

struct Timer::State {
  MonoTime due;
  uint64_t sequence;  // equal times fire in the order in which they were set
  EventLoop::Task task;
};

struct EventLoop::Impl {
  struct Later {
    bool operator()(const std::shared_ptr<Timer::State>& a,
                    const std::shared_ptr<Timer::State>& b) const {
      return a->due != b->due ? a->due > b->due : a->sequence > b->sequence;
    }
  };

  Fd epoll{epoll_create1(EPOLL_CLOEXEC)};
  Fd wake{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  std::vector<Task> posted;  // guarded by mutex
  std::priority_queue<std::shared_ptr<Timer::State>, std::vector<std::shared_ptr<Timer::State>>,
                      Later>
      timers;
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
    for (Task& task : tasks) task();
  }
  void run_timers(MonoTime now) {
    while (!timers.empty() && timers.top()->due <= now) {
      const auto timer = timers.top();
      timers.pop();
      if (!timer->task) continue;  // cancelled
      Task task = std::exchange(timer->task, nullptr);
      task();
    }
  }
  int wait_ms(MonoTime now, Duration at_most) {
    while (!timers.empty() && !timers.top()->task) timers.pop();
    Duration wait = at_most;
    if (!timers.empty()) wait = std::min<Duration>(wait, timers.top()->due - now);
    if (wait <= Duration::zero()) return 0;
    return static_cast<int>(std::min<int64_t>((wait.count() + 999'999) / 1'000'000, 60'000));
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
  if (state) state->task = nullptr;
}

Timer::operator bool() const { return state_ && state_->task; }

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()), now_(std::chrono::steady_clock::now()) {
  CHECK(impl_->epoll && impl_->wake);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  CHECK(epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, impl_->wake.get(), &event) == 0);
}

EventLoop::~EventLoop() {
  // Tasks may own watches and timers of this loop: end them while the loop still exists.
  impl_->posted.clear();
  for (Watch::State* state : impl_->graveyard) delete state;
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
  std::vector<Watch::State*> dead;
  dead.swap(impl_->graveyard);
  for (Watch::State* state : dead) delete state;
}

void EventLoop::post(Task task) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(task));
  }
  impl_->signal();
}

void EventLoop::stop() {
  impl_->stopped.store(true, std::memory_order_release);
  impl_->signal();
}

Watch EventLoop::watch(int fd, uint32_t epoll_events, FdCallback callback) {
  auto* state = new Watch::State{impl_.get(), fd, std::move(callback)};
  epoll_event event{.events = epoll_events, .data = {.ptr = state}};
  CHECK(epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  return Watch(state);
}

Timer EventLoop::after(Duration delay, Task task) {
  auto state = std::make_shared<Timer::State>(std::chrono::steady_clock::now() + delay,
                                              impl_->next_sequence++, std::move(task));
  impl_->timers.push(state);
  return Timer(std::move(state));
}

}  // namespace fairlead::net
