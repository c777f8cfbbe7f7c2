// What verify() says about a table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dataplane/driver.h"
#include "dataplane/nftables/desired.h"

namespace fairlead::dataplane::nft {

inline constexpr size_t max_drifts = 1000;  // named one by one; then their number

// `kernel` is nothing when there is no table.
std::vector<Drift> drifts_of(const Desired& desired, const Layout& layout,
                             std::optional<NftTable> kernel, const std::string& owner);

}  // namespace fairlead::dataplane::nft
