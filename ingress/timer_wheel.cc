#include "ingress/timer_wheel.h"

#include <algorithm>

namespace fairlead::ingress {

void Deadline::unlink() {
  if (previous_ != nullptr) previous_->next_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

TimerWheel::~TimerWheel() {
  for (Slot& slot : slots_) {
    while (slot.next_ != nullptr) slot.next_->unlink();
  }
}

uint64_t TimerWheel::tick_of(MonoTime at) const {
  return at <= start_ ? 0 : static_cast<uint64_t>((at - start_ + tick - Duration(1)) / tick);
}

void TimerWheel::link(Deadline& deadline, uint64_t at_tick) {
  Slot& slot = slots_[at_tick % slot_count];
  deadline.linked_tick_ = at_tick;
  deadline.previous_ = &slot;
  deadline.next_ = slot.next_;
  if (slot.next_ != nullptr) slot.next_->previous_ = &deadline;
  slot.next_ = &deadline;
}

void TimerWheel::set(Deadline& deadline, MonoTime at) {
  deadline.due_tick_ = std::max(tick_of(at), now_tick_ + 1);
  // Later than it is linked for: the visit finds out and moves it.
  if (deadline.previous_ != nullptr && deadline.linked_tick_ <= deadline.due_tick_) return;
  deadline.unlink();
  link(deadline, std::min(deadline.due_tick_, now_tick_ + slot_count - 1));
}

void TimerWheel::advance(MonoTime now) {
  const uint64_t target = static_cast<uint64_t>(std::max(now - start_, Duration(0)) / tick);
  // After a long pause one turn visits every slot.
  if (target > now_tick_ + slot_count) now_tick_ = target - slot_count;
  while (now_tick_ < target) {
    ++now_tick_;
    Slot& slot = slots_[now_tick_ % slot_count];
    Slot visited;
    if (slot.next_ != nullptr) {
      visited.next_ = slot.next_;
      visited.next_->previous_ = &visited;
      slot.next_ = nullptr;
    }
    while (visited.next_ != nullptr) {
      Deadline& deadline = *visited.next_;
      deadline.unlink();
      if (deadline.due_tick_ > now_tick_) {
        link(deadline, std::min(deadline.due_tick_, now_tick_ + slot_count - 1));
      } else {
        deadline.on_deadline();
      }
    }
  }
}

}  // namespace fairlead::ingress
