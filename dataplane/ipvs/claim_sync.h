// Makes the kernel as claimed: IPVS, the dummy interface and the packet filter's sets together, in
// an order in which no packet meets an address whose service is not ready.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/ipvs/address_sync.h"
#include "dataplane/ipvs/driver.h"
#include "dataplane/ipvs/rule_sync.h"
#include "dataplane/ipvs/service_sync.h"

namespace fairlead::dataplane::ipvs {

class ClaimSync {
 public:
  // All outlive it.
  ClaimSync(const IpvsOptions& options, const IpvsDoors& doors, const Log& log, Registry& registry);

  // What shall be; flush() sends it.
  void set_node(const NodeConfig& node) { rules_.set_node(node); }
  void set_claim(const ServiceKey& key, std::optional<Claim> claim);
  void set_extras(const api::ObjectKey& service, std::optional<Extras> extras);
  const std::map<api::ObjectKey, Extras>& extras() const { return extras_; }

  // Unloaded: the kernel may hold anything, and is read before anything is written.
  bool loaded() const { return loaded_; }
  void unload() { loaded_ = false; }
  Result<void> load();

  // After an error it is unloaded.
  void flush(ApplyReport& report);
  // Looks after destinations that are leaving. What follows from it is sent by flush().
  Result<void> drain();
  size_t leaving() const { return services_.leaving(); }

  // As far as is known: what the kernel holds of ours.
  std::set<ServiceKey> services() const;
  const VirtualService* held(const ServiceKey& key) const;
  const Claim* claim_of(const ServiceKey& key) const;
  std::vector<std::string> rule_lines(const ServiceKey& key) const { return rules_.lines(key); }
  std::string dump() const;  // reads the kernel

  // Reads the kernel. What differs is sent by flush().
  Result<std::vector<Drift>> drifts();

  // No new flow meets a rule of ours any more, and no new connection a destination.
  Result<void> stop(const std::set<ServiceKey>& services, NewFlows flows);
  // All of ours, and `services`.
  Result<void> remove(const std::set<ServiceKey>& services);

 private:
  bool is_kept(const Ip& ip) const;
  bool flush_services(ApplyReport& report);
  void flush_addresses(ApplyReport& report);
  void note(ApplyReport& report, const Error& error);

  const IpvsOptions& options_;
  const IpvsDoors& doors_;
  Counter& writes_;
  Counter& failures_;

  ServiceSync services_;
  RuleSync rules_;
  AddressSync addresses_;
  std::map<ServiceKey, Claim> claims_;
  std::map<api::ObjectKey, Extras> extras_;
  std::set<ServiceKey> dirty_;  // where the kernel may differ from claims_
  bool loaded_ = false;
};

}  // namespace fairlead::dataplane::ipvs
