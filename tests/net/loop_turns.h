#pragma once

#include "net/event_loop.h"

namespace fairlead::net {

// So many rounds of the loop, without waiting.
inline void turn(EventLoop& loop, int times = 1) {
  for (int i = 0; i < times; ++i) loop.run_once(std::chrono::milliseconds(0));
}

}  // namespace fairlead::net
