// First line: the stored object; the rest: the object of a request. Both are JSON.
#include <cstdlib>

#include "controlplane/objects/allocator.h"
#include "controlplane/objects/rules.h"

using namespace fairlead;
using namespace fairlead::controlplane;

namespace {

// A refused Service holds nothing, and a stored one can be stored again.
void allocate(const json::value& stored, const json::value& admitted) {
  ServiceAllocator allocator(
      {{*Cidr::parse("10.96.0.0/28"), *Cidr::parse("fd00::/120")}, 30000, 30010});
  allocator.adopt(stored);
  const size_t before = allocator.used_addresses() + allocator.used_ports();
  json::value service = admitted;
  const bool refused = !allocator.assign(service, nullptr).empty();
  if (refused && allocator.used_addresses() + allocator.used_ports() != before) std::abort();
  if (!refused && !admit_update("v1", "Service", service, service).errors.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ObjectRules rules = *ObjectRules::load();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t newline = text.find('\n');
  if (newline == std::string_view::npos) return 0;
  const auto stored = parse_json(text.substr(0, newline));
  auto object = parse_json(text.substr(newline + 1));
  if (!stored || !object) return 0;
  const std::string version(find_string(*object, "apiVersion")), kind(find_string(*object, "kind"));
  (void)admit_update(version, kind, *stored, *object);
  const bool well_typed = rules.type_problems(version, kind, *object).empty();
  rules.prune(version, kind, *object);
  const Admitted admitted = admit_create(version, kind, *object);
  if (well_typed && admitted.errors.empty() && version == "v1" && kind == "Service")
    allocate(*stored, admitted.object);
  return 0;
}
