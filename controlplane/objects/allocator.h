// ClusterIPs and NodePorts: which are taken, and which a new Service gets.
// Source: Kubernetes 1.32 pkg/registry/core/service (allocation), KEP-3070 and KEP-3668 (the low
// band of each range is left to explicit requests), KEP-563 (dual stack).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/json.h"
#include "base/ip.h"
#include "controlplane/objects/admission.h"

namespace fairlead::controlplane {

struct AllocatorConfig {
  std::vector<Cidr> service_cidrs;  // one or two, of different families; the first is the default
  uint16_t node_port_low = 30000;
  uint16_t node_port_high = 32767;  // inclusive
};

class PortRange;
class AddressRange;

// Belongs to the thread that orders writes.
class ServiceAllocator {
 public:
  // `seed` makes the choice of dynamic addresses repeatable.
  explicit ServiceAllocator(AllocatorConfig config, uint64_t seed = 1);
  ServiceAllocator(ServiceAllocator&&) noexcept;
  ~ServiceAllocator();

  // Fills in ipFamilies, ipFamilyPolicy, clusterIP(s), nodePorts and healthCheckNodePort of an
  // admitted Service, and frees what `old` held and `service` no longer does. `old` null: a create.
  // With errors nothing is taken or freed and `service` is unspecified.
  std::vector<FieldError> assign(json::value& service, const json::value* old);

  // After assign(): the write did not happen after all (conflict, dry run).
  void revert(const json::value& service, const json::value* old);

  void release(const json::value& service);  // it was deleted
  void adopt(const json::value& existing);   // at start: what the store holds

  size_t used_addresses() const;  // of all families
  size_t used_ports() const;

 private:
  struct Plan;
  void init_families(Plan& plan, json::object& spec) const;
  void plan_addresses(Plan& plan, json::object& spec);
  void plan_ports(Plan& plan, json::object& spec);
  void commit(Plan& plan);

  AllocatorConfig config_;
  std::vector<std::unique_ptr<AddressRange>> addresses_;  // as config_.service_cidrs
  std::unique_ptr<PortRange> ports_;
};

}  // namespace fairlead::controlplane
