#include "dataplane/ipvs/fake_host.h"

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

constexpr std::string_view no_space = "No buffer space available";

}  // namespace

Result<void> FakeHost::open(const std::string& device) {
  FL_TRY_VOID(maybe_fail(no_space));
  device_ = device;
  return {};
}

Result<void> FakeHost::make_device() {
  FL_TRY_VOID(maybe_fail(no_space));
  state_.has_device = true;
  return {};
}

Result<HostAddresses> FakeHost::addresses() {
  FL_TRY_VOID(maybe_fail(no_space));
  return state_;
}

Result<void> FakeHost::add(const Ip& ip) {
  FL_TRY_VOID(maybe_fail(no_space));
  if (!state_.has_device) return fail("no such interface");
  state_.device.insert(ip);
  return {};
}

Result<void> FakeHost::remove(const Ip& ip) {
  FL_TRY_VOID(maybe_fail(no_space));
  state_.device.erase(ip);
  return {};
}

Result<void> FakeHost::remove_device() {
  FL_TRY_VOID(maybe_fail(no_space));
  state_.has_device = false;
  state_.device.clear();
  return {};
}

Result<void> FakeHost::write_sysctl(std::string_view key, std::string_view value) {
  FL_TRY_VOID(maybe_fail(no_space));
  sysctls_[std::string(key)] = value;
  return {};
}

}  // namespace fairlead::dataplane::ipvs
