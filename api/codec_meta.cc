#include "api/codec_parts.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

// kubectl's copy of the whole object: nothing here reads it, and it is often the largest part.
constexpr const char* last_applied = "kubectl.kubernetes.io/last-applied-configuration";

}  // namespace

Meta read_meta(const KindInfo& kind, const Reader& document) {
  const Reader metadata = document.object("metadata");
  Meta meta;
  meta.key.name = metadata.string("name");
  if (meta.key.name.empty()) metadata.fail("name", "missing");
  if (kind.namespaced) {
    meta.key.ns = metadata.string("namespace");
    if (meta.key.ns.empty()) meta.key.ns = "default";  // as kubectl does with a manifest
  }
  meta.uid = metadata.string("uid");
  meta.resource_version = metadata.string("resourceVersion");
  meta.creation_timestamp = metadata.string("creationTimestamp");
  meta.labels = metadata.string_map("labels");
  meta.annotations = metadata.string_map("annotations");
  meta.annotations.erase(last_applied);
  meta.deleting = metadata.has("deletionTimestamp");
  return meta;
}

}  // namespace fairlead::api
