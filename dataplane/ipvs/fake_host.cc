#include "dataplane/ipvs/fake_host.h"

#include "base/text.h"

namespace fairlead::dataplane::ipvs {

Result<void> FakeHost::maybe_fail() {
  if (fail_in_ == 0 || --fail_in_ != 0) return {};
  failed_ = true;
  return fail("No buffer space available");
}

Result<void> FakeHost::open(const std::string& device) {
  FL_TRY_VOID(maybe_fail());
  device_ = device;
  return {};
}

Result<HostAddresses> FakeHost::addresses() {
  FL_TRY_VOID(maybe_fail());
  return state_;
}

Result<void> FakeHost::add(const Ip& ip) {
  FL_TRY_VOID(maybe_fail());
  if (device_.empty()) return fail("no such interface");
  state_.device.insert(ip);
  return {};
}

Result<void> FakeHost::remove(const Ip& ip) {
  FL_TRY_VOID(maybe_fail());
  state_.device.erase(ip);
  return {};
}

Result<void> FakeHost::remove_device(const std::string& device) {
  FL_TRY_VOID(maybe_fail());
  if (device_ == device) {
    device_.clear();
    state_.device.clear();
  }
  return {};
}

Result<void> FakeHost::write_sysctl(std::string_view key, std::string_view value) {
  FL_TRY_VOID(maybe_fail());
  sysctls_[std::string(key)] = value;
  return {};
}

}  // namespace fairlead::dataplane::ipvs
