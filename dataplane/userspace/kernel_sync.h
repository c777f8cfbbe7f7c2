// KernelSync: keeps the capture and the local routes equal to what is wanted, by writing what
// differs. What fails stays pending.
#pragma once

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/driver.h"
#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/local_routes.h"
#include "dataplane/userspace/wanted.h"

namespace fairlead::dataplane::userspace {

// Belongs to the driver's thread; the doors outlive it.
class KernelSync {
 public:
  KernelSync(Capture& capture, LocalRoutes& routes) : capture_(capture), routes_(routes) {}

  // Which VIPs get a route, and with which source: asks the kernel for this node's addresses.
  Result<void> read_addresses(const NodeConfig& node);
  // Takes what the kernel holds for the truth. REQUIRES: read_addresses() once.
  Result<void> read_kernel();

  // Writes what differs of these, and of what is pending.
  void write(const Wanted& wanted, const std::set<FlowKey>& keys, const std::set<Ip>& vips,
             ApplyReport& report);
  // Everything that is wanted or held.
  void write_all(const Wanted& wanted, ApplyReport& report);

  bool pending() const { return !pending_keys_.empty() || !pending_vips_.empty(); }

  // What the kernel lacks or has too much, as read last.
  std::vector<Drift> differences(const Wanted& wanted) const;

  // The route that a VIP shall have; nothing when it is the node's own address.
  struct WantedRoute {
    std::optional<Ip> source;
    friend bool operator==(const WantedRoute&, const WantedRoute&) = default;
  };
  std::optional<WantedRoute> route_for(const Wanted& wanted, const Ip& ip) const;

 private:
  // One of the four kinds of difference between `wanted` and what is held.
  void drop_route(const Wanted& wanted, const Ip& ip, ApplyReport& report);
  void write_key(const Wanted& wanted, const FlowKey& key, ApplyReport& report);
  void write_vip(const Wanted& wanted, const Ip& ip, ApplyReport& report);
  void add_route(const Wanted& wanted, const Ip& ip, ApplyReport& report);
  bool note(const Result<void>& result, ApplyReport& report);

  Capture& capture_;
  LocalRoutes& routes_;
  std::set<Ip> addresses_;               // this node's
  std::optional<Ip> source4_, source6_;  // of its own connections to VIPs

  std::unordered_map<FlowKey, CaptureAction, FlowKeyHash> held_keys_;
  std::set<Ip> held_vips_;
  RouteSources held_routes_;
  std::set<FlowKey> pending_keys_;
  std::set<Ip> pending_vips_;  // the guard or the route
};

// "captured 10.96.0.1:80/TCP -> tcp", "vip 10.96.0.1", "local 10.96.0.1 src 10.9.0.1": one line
// each, sorted by kind.
std::string to_text(const CaptureState& capture, const RouteSources& routes);
std::string to_text(CaptureAction action);
std::string route_text(const Ip& ip, const std::optional<Ip>& source);

}  // namespace fairlead::dataplane::userspace
