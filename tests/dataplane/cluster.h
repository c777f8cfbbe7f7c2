// Clusters for tests: from YAML, and random ones that change step by step.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "api/snapshot.h"
#include "base/result.h"
#include "dataplane/service_table.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::dataplane {

// Every document of `yaml`, into the builder. The error names the document.
Result<void> put_yaml(api::SnapshotBuilder& builder, std::string_view yaml);

// "name: a", "ips: [...]", "pods: [...]" as a NodeConfig; also zone, proxyName, masqueradeAll,
// noLocalhostNodePorts, services and nodePortsOn.
Result<NodeConfig> parse_node(std::string_view yaml);

// The node that RandomCluster's endpoints are local to.
NodeConfig random_node();

// big_cluster(), compiled for random_node().
ServiceTable big_table(uint32_t services, uint32_t endpoints);

// Two Services for random_node(): "web" has every kind of frontend, protocol and policy in both
// families, "empty" no endpoint.
ServiceTable every_kind_table();

// Services and slices of all kinds under few names, so that random steps meet each other. The same
// seed gives the same steps.
class RandomCluster {
 public:
  explicit RandomCluster(uint32_t seed) : random_(seed) {}

  // One to five changes, then the tick.
  api::SnapshotBuilder::Tick step();

 private:
  uint32_t below(uint32_t n) { return std::uniform_int_distribution<uint32_t>(0, n - 1)(random_); }
  bool chance(uint32_t percent) { return below(100) < percent; }
  api::Service make_service(uint32_t number);
  api::EndpointSlice make_slice(const api::ObjectKey& key, uint32_t service);

  std::mt19937 random_;
  api::SnapshotBuilder builder_;
};

}  // namespace fairlead::dataplane
