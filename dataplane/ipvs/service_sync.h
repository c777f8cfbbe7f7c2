// Keeps IPVS's services equal to the claims, message by message, and lets destinations that leave
// finish their connections.
#pragma once

#include <map>
#include <set>

#include "dataplane/ipvs/table.h"
#include "dataplane/ipvs/wanted.h"

namespace fairlead::dataplane::ipvs {

// What becomes of new flows to a service that is stopped.
enum class NewFlows {
  refused,
  to_node,  // IPVS leaves them as they are: sockets of this node take them
};

class ServiceSync {
 public:
  explicit ServiceSync(Table& table) : table_(table) {}

  Result<void> load();  // reads the kernel
  // As far as is known: what load() saw and was written since. Foreign services, too.
  const Services& held() const { return held_; }

  // Makes one service as claimed; nullptr: there shall be none. A TCP destination that leaves gets
  // no new connections (weight 0) and goes when its last one has ended; others go at once, and so
  // do the connections that the kernel then ends (expire_nodest_conn).
  Result<void> sync(const ServiceKey& key, const Claim* claim);

  // Looks at those that are leaving again. Returns the services that went away with their last
  // destination.
  Result<std::vector<ServiceKey>> drain();
  size_t leaving() const;
  // A service that is there only for the connections that it has.
  bool is_draining(const ServiceKey& key) const { return ending_.contains(key); }

  Result<void> remove(const ServiceKey& key);  // at once
  // No new connections to the destinations of these.
  Result<void> stop(const std::set<ServiceKey>& keys, NewFlows flows);

  size_t take_writes() { return std::exchange(writes_, 0); }

 private:
  Result<void> write(const TableWrite& write);
  Result<void> sync_settings(const ServiceKey& key, const Settings& settings);
  Result<void> sync_backends(const ServiceKey& key, const std::vector<SocketAddress>& backends);
  Result<void> depart(const ServiceKey& key, const std::set<SocketAddress>& addresses);
  Result<void> set_weight(const ServiceKey& key, const SocketAddress& address, uint32_t weight);
  Result<void> remove_destination(const ServiceKey& key, const SocketAddress& address);
  void stays(const ServiceKey& key, const SocketAddress& address);  // it is not leaving

  Table& table_;
  Services held_;
  std::map<ServiceKey, std::set<SocketAddress>> leaving_;
  std::set<ServiceKey> ending_;
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::ipvs
