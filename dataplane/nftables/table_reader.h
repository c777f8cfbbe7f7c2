// Reads a table of nf_tables by netlink. libnftables can only list to text, which takes three times
// the CPU and, for 100,000 elements, 270 MB.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dataplane/nftables/runner.h"
#include "net/nfnetlink.h"

namespace fairlead::dataplane::nft {

// Of family inet; nothing when there is none. Reads again when somebody changed the ruleset
// meanwhile; an error after `max_reads` such times.
Result<std::optional<NftTable>> read_table(net::Nfnetlink& socket, const std::string& name);
Result<NftSet> read_set(net::Nfnetlink& socket, const std::string& table, const std::string& set);

// "ip kube-proxy", "inet firewalld": every table but ours, sorted.
Result<std::vector<std::string>> other_tables(net::Nfnetlink& socket, const std::string& ours);

inline constexpr int max_reads = 10;

}  // namespace fairlead::dataplane::nft
