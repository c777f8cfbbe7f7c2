// Keeps the addresses on the dummy interface equal to those in use.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "dataplane/ipvs/host.h"

namespace fairlead::dataplane::ipvs {

class AddressSync {
 public:
  // `host` outlives it. `is_kept` says of an address without users whether connections still come
  // to it: then it stays as long as it is there.
  AddressSync(std::string device, Host& host, std::function<bool(const Ip&)> is_kept)
      : device_(std::move(device)), host_(host), is_kept_(std::move(is_kept)) {}

  Result<void> read();  // the kernel
  Result<void> load();  // the same, after it made the interface if there is none
  // As far as is known: what load() saw and was changed since.
  const std::set<Ip>& held() const { return addresses_.device; }
  bool has_device() const { return addresses_.has_device; }

  void add_user(const Ip& ip);
  void remove_user(const Ip& ip);
  // Whether it shall be on the interface: never what stands on another one.
  bool wants(const Ip& ip) const;
  std::set<Ip> wanted() const;

  // Where the kernel may differ from what is wanted.
  const std::set<Ip>& dirty() const { return dirty_; }
  std::set<Ip> take_dirty() { return std::exchange(dirty_, {}); }
  void look_at(const Ip& ip) { dirty_.insert(ip); }

  Result<bool> sync(const Ip& ip);  // whether something was written
  Result<void> remove_device();     // and all that is on it

 private:
  const std::string device_;
  Host& host_;
  const std::function<bool(const Ip&)> is_kept_;
  HostAddresses addresses_;
  std::map<Ip, size_t> users_;
  std::set<Ip> dirty_;
};

}  // namespace fairlead::dataplane::ipvs
