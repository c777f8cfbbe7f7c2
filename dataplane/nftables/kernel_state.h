// The table that was read back as rows again.
#pragma once

#include "dataplane/nftables/layout.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::nft {

// What is no row as Transaction writes them is left out: an element of another form, a row without
// all of its slots, a slot of no row. differences() finds those.
RowMap rows_in(const NftTable& table);

}  // namespace fairlead::dataplane::nft
