// LocalRoutes: the door to the kernel's local table, where VIPs become addresses of this node.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/ip.h"
#include "base/result.h"

namespace fairlead::dataplane::userspace {

// rtm_protocol of our routes: nobody else's in iproute2's list. What carries it is ours, also when
// an earlier run left it behind.
inline constexpr uint8_t route_protocol = 146;

using RouteSources = std::map<Ip, std::optional<Ip>>;  // VIP -> source of connections to it

// Of one network namespace. Used from one thread at a time.
class LocalRoutes {
 public:
  virtual ~LocalRoutes() = default;
  virtual Result<void> open() = 0;  // in the thread's namespace; before the others, once
  virtual Result<void> add(const Ip& ip, const std::optional<Ip>& source) = 0;
  virtual Result<void> remove(const Ip& ip) = 0;
  virtual Result<RouteSources> list() = 0;  // our own
  // That links of this node have, but for those where IPVS keeps addresses of Services.
  virtual Result<std::set<Ip>> addresses() = 0;
};

std::unique_ptr<LocalRoutes> make_kernel_routes();

}  // namespace fairlead::dataplane::userspace
