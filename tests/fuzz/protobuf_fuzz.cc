// A request body of type application/vnd.kubernetes.protobuf.
#include <cstdlib>

#include "controlplane/objects/protobuf.h"

using namespace fairlead;
using namespace fairlead::controlplane;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ProtobufDecoder decoder;
  const auto decoded = decoder.decode({reinterpret_cast<const char*>(data), size});
  // What was decoded can be sent on as JSON.
  if (decoded && !decoded->is_object()) std::abort();
  if (decoded) (void)json::serialize(*decoded);
  return 0;
}
