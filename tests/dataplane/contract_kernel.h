// A kernel as the contract of the drivers (driver_contract.h) sees it; each mode has its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/fails_once.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane {

// One kernel. Drivers have it one after the other, as runs of the agent do, and end before it.
class ContractKernel {
 public:
  virtual ~ContractKernel() = default;
  virtual std::unique_ptr<Driver> make_driver() = 0;

  // What others may do behind the back of a driver that has applied big_table(3, 2), and the first
  // drift that names it. "...": the rest of it may be anything, and more may follow.
  struct Damage {
    std::function<Result<void>()> make;
    std::string said;
  };
  virtual std::vector<Damage> damages() { return {}; }

  // What can be made to fail, where the kernel is in memory.
  virtual std::vector<FailsOnce*> doors() { return {}; }

  const MemoryLogSink& log() const { return sink_; }

 protected:
  // What one driver has around it.
  MemoryLogSink sink_;
  Registry registry_;
  net::EventLoop loop_;
};

struct ContractCase {
  std::string name;  // "Fake", "Real"
  std::function<std::unique_ptr<ContractKernel>()> make;
  std::function<std::unique_ptr<ContractKernel>()> make_fake;  // a kernel in memory
  Missing missing = {};                                        // why it cannot run here
  size_t endpoint_writes = 1;  // ApplyReport::writes of one endpoint more in a Service of four
  size_t later_writes = 16;    // at most, of one endpoint and one Service less
  bool keeps_entries = true;   // what one run told the kernel is there for the next one
  uint32_t seeds = 3;          // of random steps
  int steps = 60;
};

}  // namespace fairlead::dataplane
