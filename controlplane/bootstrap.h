// The objects that a cluster cannot be without: the four system namespaces, and the Service
// `kubernetes` through which pods reach the API server.
#pragma once

#include <functional>
#include <optional>

#include "base/ip.h"
#include "base/result.h"
#include "controlplane/writer.h"

namespace fairlead::controlplane {

struct BootstrapConfig {
  Cidr service_cidr;               // its first address is the Service's
  SocketAddress listen;            // as bound
  std::optional<Ip> host_address;  // advertised when `listen` is every address
};

// Where pods find the API server: nothing when it listens on a loopback address only.
std::optional<SocketAddress> advertised(const BootstrapConfig& config);

// Creates what is missing and brings the endpoints of `kubernetes` up to date. `done` runs on the
// loop when all of it is durable.
void bootstrap(Store& store, const ResourceTable& resources, Writer& writer,
               const BootstrapConfig& config, std::move_only_function<void(Result<void>)> done);

// An address of this machine that others may use, or nothing.
std::optional<Ip> find_host_address();

}  // namespace fairlead::controlplane
