// How long to wait after the n-th failure in a row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "base/clock.h"

namespace fairlead::watch {

// Doubles from `first` to `most`; each wait is drawn from the upper half of its step, so that many
// nodes do not come back at the same moment. A value; one thread.
class Backoff {
 public:
  Backoff(Duration first, Duration most, uint32_t seed = std::random_device{}())
      : first_(first), most_(most), step_(first), random_(seed) {}

  Duration next() {
    const Duration half = step_ / 2;
    const Duration wait =
        half + Duration(std::uniform_int_distribution<int64_t>(0, half.count())(random_));
    step_ = std::min(step_ * 2, most_);
    return wait;
  }
  void reset() { step_ = first_; }

 private:
  Duration first_, most_, step_;
  std::minstd_rand random_;
};

}  // namespace fairlead::watch
