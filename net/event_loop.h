// One epoll loop, one thread. Everything that a loop calls back runs on the thread inside run();
// an object that uses a loop belongs to it and is touched only there. docs/decisions/0001 says why
// this is epoll and not Asio.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/result.h"

namespace fairlead::net {

class EventLoop;

// Owns one registration of a descriptor (not the descriptor). Destruction ends the callbacks, also
// from inside its own callback. Must be destroyed on the loop's thread, before the loop.
class Watch {
 public:
  Watch() = default;
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { reset(); }
  void set_events(uint32_t epoll_events);  // EPOLLIN, EPOLLOUT, 0 to pause
  void reset();
  explicit operator bool() const { return state_ != nullptr; }

  struct State;

 private:
  friend class EventLoop;
  explicit Watch(State* state) : state_(state) {}
  State* state_ = nullptr;
};

// Owns one pending callback. Destruction cancels it. Same rules as Watch.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&& other) noexcept;
  Timer& operator=(Timer&& other) noexcept;
  ~Timer() { reset(); }
  void reset();
  explicit operator bool() const;  // still pending

  struct State;

 private:
  friend class EventLoop;
  explicit Timer(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class EventLoop {
 public:
  struct Impl;
  using Task = std::move_only_function<void()>;
  using FdCallback = std::move_only_function<void(uint32_t epoll_events)>;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop(). Callbacks must not throw.
  void run();
  // Runs what is ready, waiting at most `wait` for the first event. For tests and embedding.
  void run_once(Duration wait);

  // The two thread-safe calls. Posted tasks run in order; what is left at destruction is dropped.
  void post(Task task);
  void stop();

  // Level-triggered. The descriptor must stay open as long as the Watch.
  [[nodiscard]] Watch watch(int fd, uint32_t epoll_events, FdCallback callback);
  [[nodiscard]] Timer after(Duration delay, Task task);

  // Time of this turn of the loop: cheap, and the same for everything that one turn does.
  MonoTime now() const { return now_; }

 private:
  friend class Watch;
  friend class Timer;
  std::unique_ptr<Impl> impl_;
  MonoTime now_;
};

}  // namespace fairlead::net
