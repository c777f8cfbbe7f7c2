// ClusterIPs and NodePorts: which are taken, and which a new Service gets.
// Source: Kubernetes 1.32 pkg/registry/core/service (storage/alloc.go), KEP-3070 and KEP-3668 (the
// low band of each range is left to explicit requests), KEP-563 (dual stack).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
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

// Belongs to the thread that orders writes.
class ServiceAllocator {
 public:
  // `seed` decides which free addresses and ports are picked.
  explicit ServiceAllocator(AllocatorConfig config, uint64_t seed = 1);
  ServiceAllocator(ServiceAllocator&&) noexcept;
  ServiceAllocator& operator=(ServiceAllocator&&) noexcept;
  ~ServiceAllocator();

  // Fills in ipFamilies, ipFamilyPolicy, clusterIP(s), nodePorts and healthCheckNodePort of an
  // admitted Service, and frees what `old` held and `service` no longer does. `old` null: a create.
  // With errors nothing is taken or freed and `service` is unspecified. The reason InternalError
  // means that a range is full (HTTP 500), every other one that the request is invalid (422).
  std::vector<FieldError> assign(json::value& service, const json::value* old);

  // Right after assign(): the write did not happen after all (conflict, dry run).
  void revert(const json::value& service, const json::value* old);

  void release(const json::value& service);  // it was deleted
  void adopt(const json::value& existing);   // at start: what the store holds

  size_t used_addresses() const;  // of all families
  size_t used_ports() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::controlplane
