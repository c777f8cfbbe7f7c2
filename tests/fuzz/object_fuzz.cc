// JSON documents as objects of every kind: decoding and the schema check never fail but with words.
#include <cstdint>

#include "api/codec.h"
#include "api/schema.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  static const api::Schema schema = *api::Schema::load();
  const auto value = parse_json({reinterpret_cast<const char*>(data), size});
  if (!value) return 0;
  const auto own = api::decode(*value);
  CHECK(own || !own.error().message.empty());
  for (const api::KindInfo& kind : api::kinds()) {
    const auto object = api::decode(kind.kind, *value);
    if (object) {
      CHECK(api::kind_of(*object) == kind.kind);
      CHECK(!api::meta_of(*object).key.name.empty());
      CHECK(api::meta_of(*object).key.ns.empty() != kind.namespaced);
    } else {
      CHECK(object.error().message.starts_with(kind.name));
    }
    for (const auto& problem : schema.check(kind.api_version, kind.name, *value)) {
      CHECK(!problem.to_string().empty());
    }
  }
  return 0;
}
