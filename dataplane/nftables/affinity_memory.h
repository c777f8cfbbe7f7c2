// The affinity maps, which the kernel fills: taking out clients whose backend has left.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "dataplane/nftables/layout.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::nft {

// By Affinity::id: the backends that clients may be remembered to have.
using AffineBackends = std::map<uint64_t, std::set<SocketAddress>>;
AffineBackends affine_backends(const RowMap& rows);

// The commands that forget the clients of `ids` (nullptr: of every id) whose backend is none of
// `valid`; "" when there is none. `ips` and `ports` are the maps of one family as read back.
std::string forget_commands(const Layout& layout, bool ipv6, const NftSet& ips, const NftSet& ports,
                            const std::set<uint64_t>* ids, const AffineBackends& valid);

// Reads the maps and does it.
Result<void> forget_clients(NftRunner& runner, const Layout& layout, const std::set<uint64_t>* ids,
                            const AffineBackends& valid);

std::string affinity_ips_map(bool ipv6);    // "affinity-ips4"
std::string affinity_ports_map(bool ipv6);  // "affinity-ports4"

}  // namespace fairlead::dataplane::nft
