// Reads the kernel back now and then, and says what somebody else has changed there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "net/event_loop.h"

namespace fairlead::agent {

// "rule 7 is missing (owner: another user of nft; repaired)": one line.
std::string to_text(const dataplane::Drift& drift);

struct VerifyStatus {
  MonoTime last{};  // MonoTime{}: never
  Duration duration{};
  std::vector<dataplane::Drift> drifts;  // of the last pass
  std::string error;                     // why the last pass did not read the kernel
};

// Belongs to the feed loop.
class Verifier {
 public:
  // Null: there is nothing to compare with now.
  using CurrentDriver = std::function<dataplane::Driver*()>;

  // Every `interval`, repairing if `repair`; never by itself when it is 0. A pass that is slow is
  // followed by a longer pause, so that all passes together take at most a hundredth of the time.
  Verifier(net::EventLoop& loop, Duration interval, bool repair, CurrentDriver driver,
           const Log& log, Registry& registry);

  Result<std::vector<dataplane::Drift>> run(bool repair);
  const VerifyStatus& status() const { return status_; }

 private:
  void schedule();
  void note(const std::vector<dataplane::Drift>& drifts);

  net::EventLoop& loop_;
  Duration interval_;
  bool repair_;
  CurrentDriver driver_;
  Log log_;
  Counter& passes_;
  Counter& drifts_;
  Counter& repairs_;
  Histogram& duration_s_;
  VerifyStatus status_;
  net::Timer timer_;
};

}  // namespace fairlead::agent
