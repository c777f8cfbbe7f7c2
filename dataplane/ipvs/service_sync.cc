#include "dataplane/ipvs/service_sync.h"

#include <algorithm>

namespace fairlead::dataplane::ipvs {
namespace {

// A closing connection still needs its destination.
bool is_idle(const Destination& destination) {
  return destination.active == 0 && destination.inactive == 0;
}

}  // namespace

Result<void> ServiceSync::load() {
  FL_TRY(held_, table_.list());
  leaving_.clear();  // found again by sync()
  std::erase_if(ending_, [&](const ServiceKey& key) { return !held_.contains(key); });
  return {};
}

Result<void> ServiceSync::write(const TableWrite& write) {
  FL_TRY_VOID(table_.write(write));
  ++writes_;
  return {};
}

Result<void> ServiceSync::sync(const ServiceKey& key, const Claim* claim) {
  if (claim == nullptr) {
    const auto held = held_.find(key);
    if (held == held_.end()) return {};
    if (key.protocol != Protocol::tcp) return remove(key);
    FL_TRY(held->second.destinations, table_.destinations(key));
    const Destinations& all = held->second.destinations;
    if (std::all_of(all.begin(), all.end(), [](const auto& one) { return is_idle(one.second); })) {
      return remove(key);
    }
    ending_.insert(key);
    FL_TRY_VOID(sync_backends(key, {}));
    // If the last connection ended meanwhile nobody would look again.
    return held_.at(key).destinations.empty() ? remove(key) : Result<void>();
  }
  ending_.erase(key);
  FL_TRY_VOID(sync_settings(key, claim->settings));
  return sync_backends(key, claim->backends);
}

Result<void> ServiceSync::sync_settings(const ServiceKey& key, const Settings& settings) {
  const auto held = held_.find(key);
  if (held != held_.end() && held->second.settings == settings) return {};
  const Verb verb = held == held_.end() ? Verb::add_service : Verb::edit_service;
  FL_TRY_VOID(write({.verb = verb, .key = key, .settings = settings}));
  held_[key].settings = settings;
  return {};
}

Result<void> ServiceSync::set_weight(const ServiceKey& key, const SocketAddress& address,
                                     uint32_t weight) {
  Destinations& destinations = held_[key].destinations;
  const auto held = destinations.find(address);
  Destination next;
  next.weight = weight;
  const bool there = held != destinations.end();
  if (there && held->second.weight == weight && held->second.forwarding == next.forwarding) {
    return {};
  }
  FL_TRY_VOID(write({.verb = there ? Verb::edit_destination : Verb::add_destination,
                     .key = key,
                     .address = address,
                     .destination = next}));
  destinations[address] = next;
  return {};
}

Result<void> ServiceSync::remove_destination(const ServiceKey& key, const SocketAddress& address) {
  FL_TRY_VOID(write({.verb = Verb::delete_destination, .key = key, .address = address}));
  held_[key].destinations.erase(address);
  stays(key, address);
  return {};
}

void ServiceSync::stays(const ServiceKey& key, const SocketAddress& address) {
  const auto leaving = leaving_.find(key);
  if (leaving == leaving_.end()) return;
  leaving->second.erase(address);
  if (leaving->second.empty()) leaving_.erase(leaving);
}

Result<void> ServiceSync::sync_backends(const ServiceKey& key,
                                        const std::vector<SocketAddress>& backends) {
  for (const SocketAddress& address : backends) {
    stays(key, address);
    FL_TRY_VOID(set_weight(key, address, 1));
  }
  std::set<SocketAddress> gone;
  for (const auto& [address, destination] : held_[key].destinations) {
    if (!std::binary_search(backends.begin(), backends.end(), address)) gone.insert(address);
  }
  return gone.empty() ? Result<void>() : depart(key, gone);
}

Result<void> ServiceSync::depart(const ServiceKey& key, const std::set<SocketAddress>& addresses) {
  if (key.protocol != Protocol::tcp) {
    for (const SocketAddress& address : addresses) FL_TRY_VOID(remove_destination(key, address));
    return {};
  }
  for (const SocketAddress& address : addresses) FL_TRY_VOID(set_weight(key, address, 0));
  // Only now: nothing new can come any more.
  FL_TRY(const Destinations now, table_.destinations(key));
  for (const SocketAddress& address : addresses) {
    const auto destination = now.find(address);
    if (destination == now.end()) {  // somebody else took it away
      held_[key].destinations.erase(address);
      stays(key, address);
    } else if (is_idle(destination->second)) {
      FL_TRY_VOID(remove_destination(key, address));
    } else {
      leaving_[key].insert(address);
    }
  }
  return {};
}

Result<std::vector<ServiceKey>> ServiceSync::drain() {
  std::vector<ServiceKey> gone;
  const auto leaving = leaving_;
  for (const auto& [key, addresses] : leaving) {
    FL_TRY_VOID(depart(key, addresses));
    if (!ending_.contains(key) || !held_[key].destinations.empty()) continue;
    FL_TRY_VOID(remove(key));
    gone.push_back(key);
  }
  return gone;
}

size_t ServiceSync::leaving() const {
  size_t count = 0;
  for (const auto& [key, addresses] : leaving_) count += addresses.size();
  return count;
}

Result<void> ServiceSync::remove(const ServiceKey& key) {
  FL_TRY_VOID(write({.verb = Verb::delete_service, .key = key}));
  held_.erase(key);
  leaving_.erase(key);
  ending_.erase(key);
  return {};
}

Result<void> ServiceSync::stop(const std::set<ServiceKey>& keys, NewFlows flows) {
  for (const ServiceKey& key : keys) {
    const auto service = held_.find(key);
    if (service == held_.end()) continue;
    Destinations destinations = service->second.destinations;
    if (flows == NewFlows::to_node) {
      // It is local: IPVS translates it into itself and lets the packets go on. (Direct routing
      // would do that, too, but until Linux 6.1 at least IPv6 routes that it remembers keep the
      // interface from being removed.)
      FL_TRY_VOID(set_weight(key, itself(key), 1));
      destinations.erase(itself(key));
    }
    for (const auto& [address, destination] : destinations) {
      FL_TRY_VOID(set_weight(key, address, 0));
    }
  }
  return {};
}

}  // namespace fairlead::dataplane::ipvs
