// The three patch formats that a PATCH request may carry.
// Sources: RFC 6902 (JSON patch), RFC 7386 (merge patch), and for strategic merge patches
// apimachinery pkg/util/strategicpatch with the x-kubernetes-patch-* extensions of the schema.
#pragma once

#include <optional>
#include <string_view>

#include "api/json.h"
#include "api/schema.h"
#include "base/result.h"

namespace fairlead::controlplane {

enum class PatchType { json, merge, strategic };

inline constexpr size_t max_patch_operations = 10'000;

// "application/json-patch+json", ... without parameters; nullopt for what is no patch of ours.
std::optional<PatchType> parse_patch_type(std::string_view content_type);

// Is the document a patch of that type at all? An error here is a bad request (400); one from
// apply_patch() is a patch that does not fit the object (422).
Result<void> check_patch(PatchType type, const json::value& patch);

// The patched document; `live` stays as it is. Strategic patches need a kind that the schema knows.
Result<json::value> apply_patch(const api::Schema& schema, PatchType type, const json::value& live,
                                const json::value& patch, std::string_view api_version,
                                std::string_view kind);

Result<json::value> apply_json_patch(const json::value& live, const json::value& patch);
json::value apply_merge_patch(const json::value& live, const json::value& patch);
// `type` describes `live`; see Schema::find().
Result<json::value> apply_strategic_patch(const api::Schema& schema, const api::TypeSchema& type,
                                          const json::value& live, const json::value& patch);

}  // namespace fairlead::controlplane
