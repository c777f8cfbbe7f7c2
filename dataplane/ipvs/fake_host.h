// A node's interfaces and sysctls in memory.
#pragma once

#include <map>

#include "dataplane/fails_once.h"
#include "dataplane/ipvs/host.h"

namespace fairlead::dataplane::ipvs {

class FakeHost final : public Host, public FailsOnce {
 public:
  Result<void> open(const std::string& device) override;
  Result<HostAddresses> addresses() override;
  Result<void> add(const Ip& ip) override;
  Result<void> remove(const Ip& ip) override;
  Result<void> make_device() override;
  Result<void> remove_device() override;
  Result<void> write_sysctl(std::string_view key, std::string_view value) override;

  // What other programs may change.
  HostAddresses& state() { return state_; }
  std::string device() const { return state_.has_device ? device_ : ""; }  // "": there is none
  const std::map<std::string, std::string>& sysctls() const { return sysctls_; }

 private:
  HostAddresses state_;
  std::string device_;
  std::map<std::string, std::string> sysctls_;
};

}  // namespace fairlead::dataplane::ipvs
