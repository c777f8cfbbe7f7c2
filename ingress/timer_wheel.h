// One coarse timer for everything that a worker waits for: setting a deadline is a store.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.h"

namespace fairlead::ingress {

class TimerWheel;

// Something with at most one deadline. Belongs to the wheel's thread.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  virtual ~Deadline() { unlink(); }
  virtual void on_deadline() = 0;

 private:
  friend class TimerWheel;
  void unlink();

  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
  uint64_t linked_tick_ = 0;  // the visit that it is linked for
  uint64_t due_tick_ = 0;     // when it is really due: never before linked_tick_
};

// Deadlines fire up to one tick late, never early.
class TimerWheel {
 public:
  static constexpr Duration tick = std::chrono::milliseconds(100);

  explicit TimerWheel(MonoTime start) : start_(start) {}
  ~TimerWheel();

  void set(Deadline& deadline, MonoTime at);
  void cancel(Deadline& deadline) { deadline.unlink(); }
  void advance(MonoTime now);  // calls on_deadline() of what is due

 private:
  // A list head; never due itself.
  class Slot final : public Deadline {
   public:
    void on_deadline() override {}
  };
  static constexpr size_t slot_count = 1024;  // a turn of the wheel takes 102 s

  uint64_t tick_of(MonoTime at) const;
  void link(Deadline& deadline, uint64_t at_tick);

  MonoTime start_;
  uint64_t now_tick_ = 0;
  std::array<Slot, slot_count> slots_;
};

}  // namespace fairlead::ingress
