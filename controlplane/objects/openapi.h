// The OpenAPI documents that kubectl reads for explain, validation, client-side apply and edit.
// Sources: OpenAPI 3.0 and 2.0; gnostic's openapi.v2 protobuf messages for the latter, which
// kubectl <= 1.28 insists on.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/schema.h"

namespace fairlead::controlplane {

// One served kind. The views must outlive the call only.
struct OpenApiKind {
  std::string_view group;  // "" for the core group
  std::string_view version;
  std::string_view kind;
  std::string_view plural;
  bool namespaced = true;
  bool has_status = false;
  std::string_view definition;  // "io.k8s.api.core.v1.Service"
};

// GET /openapi/v3: {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=..."}}}
std::string openapi_v3_index(const api::Schema& schema, std::span<const OpenApiKind> kinds);

// GET /openapi/v3/api/v1, /openapi/v3/apis/G/V: JSON; "" when no kind is of that group version.
std::string openapi_v3_document(const api::Schema& schema, std::span<const OpenApiKind> kinds,
                                std::string_view group, std::string_view version);

// GET /openapi/v2: the bytes of a gnostic openapi.v2.Document, to be sent as
// openapi_v2_content_type (a Content-Type with '@', as clients ask for it, is one they cannot
// read).
std::string openapi_v2_protobuf(const api::Schema& schema, std::span<const OpenApiKind> kinds);
inline constexpr std::string_view openapi_v2_content_type =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

// GET /openapi/v2 with Accept: application/json, or for people.
std::string openapi_v2_json(const api::Schema& schema, std::span<const OpenApiKind> kinds);

}  // namespace fairlead::controlplane
