// The kernel's answers about IPVS services and destinations.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/ipvs/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dataplane::ipvs;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto service = parse_service(bytes);
  if (service && *service) encode_service((*service)->key, (*service)->settings);
  for (const bool ipv6 : {false, true}) {
    if (const auto one = parse_destination(bytes, ipv6)) to_text(ServiceKey{one->address.ip});
  }
  return 0;
}
