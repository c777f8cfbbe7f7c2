// ctnetlink messages as the kernel sends them. The first byte chooses the family.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/conntrack.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view attributes(reinterpret_cast<const char*>(data) + 1, size - 1);
  fairlead::net::parse_conntrack_message(attributes, data[0] % 2 == 1);
  return 0;
}
