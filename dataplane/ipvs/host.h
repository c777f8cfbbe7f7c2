// The door to the rest of the node that IPVS mode needs: a dummy interface that holds the service
// addresses, so that packets to them are delivered to IPVS, and sysctls.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/ip.h"
#include "base/result.h"

namespace fairlead::dataplane::ipvs {

struct HostAddresses {
  bool has_device = false;  // our interface is there
  std::set<Ip> device;      // on it, link-local ones aside
  std::set<Ip> elsewhere;   // on the others
  friend bool operator==(const HostAddresses&, const HostAddresses&) = default;
};

class Host {
 public:
  virtual ~Host() = default;
  // For an interface of this name, in the namespace of the calling thread. Makes nothing.
  virtual Result<void> open(const std::string& device) = 0;
  virtual Result<HostAddresses> addresses() = 0;
  virtual Result<void> make_device() = 0;         // no error when it is there
  virtual Result<void> add(const Ip& ip) = 0;     // no error when it is there
  virtual Result<void> remove(const Ip& ip) = 0;  // no error when it is not
  virtual Result<void> remove_device() = 0;       // no error when it is not there
  virtual Result<void> write_sysctl(std::string_view key, std::string_view value) = 0;
};

std::unique_ptr<Host> make_kernel_host();

// What IPVS needs of the node. `strict_arp`: other interfaces do not answer for service addresses.
Result<void> set_sysctls(Host& host, bool strict_arp);

}  // namespace fairlead::dataplane::ipvs
