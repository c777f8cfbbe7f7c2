#include "dataplane/ipvs/address_sync.h"

namespace fairlead::dataplane::ipvs {

Result<void> AddressSync::load() {
  FL_TRY_VOID(host_.open(device_));
  FL_TRY_VOID(host_.make_device());
  return read();
}

Result<void> AddressSync::read() {
  FL_TRY_VOID(host_.open(device_));
  FL_TRY(addresses_, host_.addresses());
  for (const auto& [ip, users] : users_) dirty_.insert(ip);
  dirty_.insert(addresses_.device.begin(), addresses_.device.end());
  return {};
}

void AddressSync::add_user(const Ip& ip) {
  ++users_[ip];
  dirty_.insert(ip);
}

void AddressSync::remove_user(const Ip& ip) {
  const auto user = users_.find(ip);
  if (--user->second == 0) users_.erase(user);
  dirty_.insert(ip);
}

bool AddressSync::wants(const Ip& ip) const {
  if (addresses_.elsewhere.contains(ip)) return false;
  return users_.contains(ip) || (addresses_.device.contains(ip) && is_kept_(ip));
}

std::set<Ip> AddressSync::wanted() const {
  std::set<Ip> out;
  for (const auto& [ip, users] : users_) {
    if (wants(ip)) out.insert(ip);
  }
  for (const Ip& ip : addresses_.device) {
    if (wants(ip)) out.insert(ip);
  }
  return out;
}

Result<bool> AddressSync::sync(const Ip& ip) {
  const bool want = wants(ip);
  if (want == addresses_.device.contains(ip)) return false;
  if (want) {
    FL_TRY_VOID(host_.add(ip));
    addresses_.device.insert(ip);
  } else {
    FL_TRY_VOID(host_.remove(ip));
    addresses_.device.erase(ip);
  }
  return true;
}

Result<void> AddressSync::remove_device() {
  FL_TRY_VOID(host_.remove_device());
  addresses_ = {};
  return {};
}

}  // namespace fairlead::dataplane::ipvs
