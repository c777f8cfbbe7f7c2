// KernelSync: keeps the capture and the local routes equal to what is wanted, by writing what
// differs. What fails stays pending.
#pragma once

#include <functional>
#include <set>
#include <string>
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
  void write(const Wanted& wanted, std::set<CaptureKey> keys, ApplyReport& report);
  // Everything that is wanted or held.
  void write_all(const Wanted& wanted, ApplyReport& report);

  bool attached() const { return attached_; }  // as read last
  bool pending() const { return !pending_.empty(); }

  // VIPs of no Service stay local while connections use them. To be told before write() when VIPs
  // go, and as long as some linger.
  void linger(const Wanted& wanted, const std::set<Ip>& in_use);
  bool lingers() const { return !lingering_.empty(); }

  // What the kernel lacks or has too much, as read last.
  std::vector<Drift> differences(const Wanted& wanted) const;

  // The route that a VIP shall have; nothing when it is the node's own address.
  struct WantedRoute {
    std::optional<Ip> source;
    friend bool operator==(const WantedRoute&, const WantedRoute&) = default;
  };
  std::optional<WantedRoute> route_for(const Wanted& wanted, const Ip& ip) const;

 private:
  std::set<Ip> wanted_routes(const Wanted& wanted) const;
  std::optional<CaptureValue> value_for(const Wanted& wanted, const CaptureKey& key) const;
  void drop_route(const Wanted& wanted, const Ip& ip, ApplyReport& report);
  void write_entry(const CaptureKey& key, const std::optional<CaptureValue>& want,
                   ApplyReport& report);
  void add_route(const Wanted& wanted, const Ip& ip, ApplyReport& report);
  bool note(const CaptureKey& key, const Result<void>& result, ApplyReport& report);
  void add_route_differences(const Wanted& wanted, std::vector<Drift>& drifts) const;

  Capture& capture_;
  LocalRoutes& routes_;
  std::set<Ip> addresses_;               // this node's
  std::optional<Ip> source4_, source6_;  // of its own connections to VIPs

  bool attached_ = false;
  CaptureEntries held_;
  RouteSources held_routes_;
  std::set<Ip> lingering_;
  std::set<CaptureKey> pending_;  // a VIP: its entry or its route
};

// A line for each entry and each route, "local 10.96.0.1 src 10.9.0.1": sorted by kind.
std::string to_text(const CaptureEntries& entries, const RouteSources& routes);
std::string route_text(const Ip& ip, const std::optional<Ip>& source);

}  // namespace fairlead::dataplane::userspace
