// Drivers that another one has replaced: they take no new flows, and are cleaned up when the flows
// that they carry have ended, or have had time enough.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "dataplane/driver.h"
#include "net/event_loop.h"

namespace fairlead::agent {

// Belongs to the feed loop.
class Retirement {
 public:
  Retirement(net::EventLoop& loop, Duration limit, const Log& log);

  // Retires the driver and keeps it until drained.
  void add(std::unique_ptr<dataplane::Driver> driver);

  // Lets go of the driver of this mode, without a cleanup, so that a new one may take over what it
  // left in the kernel. False: there is none.
  bool release(std::string_view mode);
  bool holds(std::string_view mode) const;

  std::vector<std::string> status() const;  // "nftables: until its flows end, 12 s so far"
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct Old {
    std::unique_ptr<dataplane::Driver> driver;
    MonoTime since;
  };
  void poll();
  void finish(Old& old, bool drained);
  void problem(std::string text);

  net::EventLoop& loop_;
  Duration limit_;
  Log log_;
  std::vector<Old> old_;
  std::vector<std::string> problems_;  // cleanups that failed, the last few
  net::Timer timer_;
};

}  // namespace fairlead::agent
