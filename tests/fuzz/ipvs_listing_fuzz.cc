// The kernel's listing of IPVS mode's sets: another program may have put anything into it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/ipvs/rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dataplane;
  const auto state = ipvs::parse_rules(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!state) return 0;
  ipvs::own_keys(state->elements);
  ipvs::RuleLayout("t", NodeConfig()).matches(*state);
  return 0;
}
