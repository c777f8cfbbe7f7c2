// Where the newest zone indexes hang: the feed thread puts them up, workers look when the number
// has changed. The one thing that crosses threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "dns/zone_index.h"

namespace fairlead::dns {

// One index per entry of Plan::indexes, none before the first publication.
using Indexes = std::vector<std::shared_ptr<const ZoneIndex>>;

class IndexBoard {
 public:
  void publish(std::shared_ptr<const Indexes> indexes) {
    const std::lock_guard lock(mutex_);
    indexes_.swap(indexes);  // the old one is freed after the lock
    number_.fetch_add(1, std::memory_order_release);
  }
  std::shared_ptr<const Indexes> get() const {
    const std::lock_guard lock(mutex_);
    return indexes_;
  }
  // Costs one load when nothing is new.
  void refresh(uint64_t& seen, std::shared_ptr<const Indexes>& held) const {
    const uint64_t number = number_.load(std::memory_order_acquire);
    if (number == seen) return;
    seen = number;
    held = get();
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Indexes> indexes_;
  std::atomic<uint64_t> number_{0};
};

}  // namespace fairlead::dns
