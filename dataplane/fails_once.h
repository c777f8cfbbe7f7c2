// For fakes of doors to the kernel: one request fails, and nothing of it happens.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace fairlead::dataplane {

class FailsOnce {
 public:
  // The request after `good` more fails.
  void fail_after(size_t good) {
    left_ = good + 1;
    failed_ = false;
  }
  void stop_failing() { left_ = 0; }
  bool failed() const { return failed_; }  // since the last fail_after()

 protected:
  Result<void> maybe_fail(std::string_view reason) {
    if (left_ == 0 || --left_ != 0) return {};
    failed_ = true;
    return fail(std::string(reason));
  }

 private:
  size_t left_ = 0;
  bool failed_ = false;
};

}  // namespace fairlead::dataplane
