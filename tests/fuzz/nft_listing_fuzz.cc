// The kernel's listing of our table: another program may have put anything into it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/nftables/kernel_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dataplane;
  const auto state =
      nft::parse_kernel_state(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!state) return 0;
  nft::to_text(state->rows);
  nft::rules_differ(*state, nft::Layout("fairlead", 0x4000, NodeConfig()));
  return 0;
}
