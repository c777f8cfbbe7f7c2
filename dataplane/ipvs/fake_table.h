// A kernel's table of virtual services in memory, which refuses what the kernel refuses.
#pragma once

#include "dataplane/ipvs/table.h"

namespace fairlead::dataplane::ipvs {

class FakeTable final : public Table {
 public:
  Result<void> open() override { return {}; }
  Result<Services> list() override;
  Result<Destinations> destinations(const ServiceKey& key) override;
  Result<void> write(const TableWrite& write) override;

  // The request after `good` more (writes and lists) fails, and nothing of it happens.
  void fail_after(size_t good) { fail_in_ = good + 1; }
  void stop_failing() { fail_in_ = 0; }
  bool failed() const { return failed_; }  // since the last fail_after()
  size_t writes() const { return writes_; }
  // What another program, or traffic, may do: change it directly.
  Services& services() { return services_; }

 private:
  Result<void> maybe_fail();
  Result<void> write_service(const TableWrite& write);

  Services services_;
  size_t fail_in_ = 0;
  bool failed_ = false;
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::ipvs
