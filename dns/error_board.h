// The newest failures, for Status and the log. Thread-safe.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace fairlead::dns {

class ErrorBoard {
 public:
  static constexpr size_t kept = 16;
  static constexpr unsigned max_per_second = 10;

  // False when so many came within this second that it need not be logged.
  bool add(std::string message, MonoTime now) {
    const std::lock_guard lock(mutex_);
    if (now - second_ >= std::chrono::seconds(1)) {
      second_ = now;
      count_ = 0;
    }
    if (++count_ > max_per_second) return false;
    if (!messages_.empty() && messages_.back() == message) return true;
    messages_.push_back(std::move(message));
    if (messages_.size() > kept) messages_.pop_front();
    return true;
  }
  std::vector<std::string> get() const {
    const std::lock_guard lock(mutex_);
    return {messages_.begin(), messages_.end()};
  }

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> messages_;
  MonoTime second_{};
  unsigned count_ = 0;
};

}  // namespace fairlead::dns
