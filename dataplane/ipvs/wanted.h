// Wanted: what IPVS mode makes of a ServiceTable, one claim for each address, protocol and port.
//
// Two Services may claim one (externalIPs can); the one that sorts first has it, and when it goes
// the next one takes over.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ipvs/virtual_service.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane::ipvs {

// Which new flows reach IPVS at all.
enum class Gate : uint8_t {
  open,
  refuse,    // nobody serves it
  discard,   // nobody serves it under its traffic policy
  insiders,  // the node and its pods only: policy Local, and no local endpoint for the others
};

// Which flows leave with the node's address as their source (hairpin aside).
enum class Masquerade : uint8_t {
  by_source,  // ClusterIP: as NodeConfig says
  always,
  node_only,  // what the node itself sends
};

struct Claim {
  api::ObjectKey owner;
  Settings settings;
  std::vector<SocketAddress> backends;  // sorted, each once
  bool on_device = false;               // the address shall stand on the dummy interface
  Gate gate = Gate::open;
  Masquerade masquerade = Masquerade::always;
  std::vector<Cidr> sources;  // who may dial; dial_ranges()
  friend bool operator==(const Claim&, const Claim&) = default;
};

// What one Service needs besides its claims.
struct Extras {
  std::vector<Ip> hairpin;  // hairpin_ips()
  uint16_t health_port = 0;
  friend bool operator==(const Extras&, const Extras&) = default;
};

class Wanted {
 public:
  explicit Wanted(std::string scheduler) : scheduler_(std::move(scheduler)) {}

  // Reads the entries of `keys` from the table again. Returns the keys to look at; with `full` all
  // before and after.
  std::set<ServiceKey> update(const ServiceTable& table, const std::set<api::ObjectKey>& keys,
                              bool full);
  // What the table says about a key that update() named.
  std::optional<Claim> claim(const ServiceTable& table, const ServiceKey& key) const;
  // The keys that a Service claims, also where another one has them.
  std::vector<ServiceKey> keys_of(const api::ObjectKey& service) const;

  static Extras extras(const NodeConfig& node, const ServiceEntry& entry);

 private:
  void forget(const api::ObjectKey& service, std::set<ServiceKey>& touched);
  void remember(const NodeConfig& node, const api::ObjectKey& service, const ServiceEntry& entry,
                std::set<ServiceKey>& touched);

  const std::string scheduler_;
  std::map<api::ObjectKey, std::vector<ServiceKey>> services_;
  std::map<ServiceKey, std::set<api::ObjectKey>> claims_;
};

}  // namespace fairlead::dataplane::ipvs
