// SIGTERM and SIGINT as events of a loop.
#pragma once

#include <functional>

#include "net/event_loop.h"
#include "net/fd.h"

namespace fairlead::cli {

// Blocks both signals for the process: make one before any thread is started.
class StopSignals {
 public:
  StopSignals();
  // `stop` runs on the loop at the first of them, as long as the watch is held, which must end
  // before both the loop and this.
  [[nodiscard]] net::Watch watch(net::EventLoop& loop, std::function<void()> stop);
  void wait();  // blocks until one comes; for programs without a loop

 private:
  net::Fd fd_;
};

}  // namespace fairlead::cli
