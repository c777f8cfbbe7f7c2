// A kernel's table of virtual services in memory, which refuses what the kernel refuses.
#pragma once

#include "dataplane/fails_once.h"
#include "dataplane/ipvs/table.h"

namespace fairlead::dataplane::ipvs {

class FakeTable final : public Table, public FailsOnce {
 public:
  Result<void> open() override {
    opened_ = true;
    return {};
  }
  Result<Services> list() override;
  Result<Destinations> destinations(const ServiceKey& key) override;
  Result<void> write(const TableWrite& write) override;
  Result<void> set_timeouts(const Timeouts& timeouts) override;

  bool opened() const { return opened_; }
  size_t writes() const { return writes_; }
  // What another program, or traffic, may do: change it directly.
  Services& services() { return services_; }
  const Timeouts& timeouts() const { return timeouts_; }

 private:
  Result<void> write_service(const TableWrite& write);

  Services services_;
  Timeouts timeouts_{900, 120, 300};
  bool opened_ = false;
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::ipvs
