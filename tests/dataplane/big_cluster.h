// Clusters of a size, for tests and benchmarks.
#pragma once

#include <memory>

#include "api/snapshot.h"
#include "base/text.h"

namespace fairlead::dataplane {

// The one slice of service `service`. One endpoint in eight is on node-0.
inline api::EndpointSlice big_slice(uint32_t service, uint32_t endpoints) {
  api::EndpointSlice slice;
  slice.meta.key = {"default", cat("s", service, "-0")};
  slice.service = cat("s", service);
  slice.address_type = "IPv4";
  slice.ports = {{.name = "http", .port = 8080}};
  for (uint32_t i = 0; i < endpoints; ++i) {
    api::Endpoint& endpoint = slice.endpoints.emplace_back();
    endpoint.addresses = {Ip::v4(0x0a800000 + service * 64 + i)};
    endpoint.node_name = cat("node-", i % 8);
  }
  return slice;
}

// `services` ClusterIP services of one port, with `endpoints` backends each.
inline api::SnapshotBuilder::Tick big_cluster(api::SnapshotBuilder& builder, uint32_t services,
                                              uint32_t endpoints) {
  for (uint32_t i = 0; i < services; ++i) {
    api::Service service;
    service.meta.key = {"default", cat("s", i)};
    service.cluster_ips = {Ip::v4(0x0a600000 + i)};
    service.ports = {{.name = "http", .port = 80}};
    builder.put(std::make_shared<const api::Service>(std::move(service)));
    builder.put(std::make_shared<const api::EndpointSlice>(big_slice(i, endpoints)));
  }
  return builder.take();
}

}  // namespace fairlead::dataplane
