// What an object of a served kind must look like: defaults and validation. Pure: no store, no
// clock, no allocation of addresses (allocator.h).
// Source: Kubernetes 1.32 pkg/apis/*/v1/defaults.go and pkg/apis/*/validation, whose messages are
// kept where clients are known to show or match them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"

namespace fairlead::controlplane {

// One cause of a 422 answer.
struct FieldError {
  std::string field;   // "spec.ports[0].port"
  std::string reason;  // FieldValueRequired, -Invalid, -NotSupported, -Duplicate, -Forbidden,
                       // -TooLong, -NotFound, -TypeInvalid, InternalError
  std::string detail;  // as the cause's message: "Invalid value: 70000: must be between ..."

  std::string to_string() const;  // "spec.ports[0].port: Invalid value: 70000: must be ..."
  friend bool operator==(const FieldError&, const FieldError&) = default;
};

// "[a: Required value, b: ...]" when there are several, as in a Status message.
std::string to_string(const std::vector<FieldError>& errors);

struct Admitted {
  json::value object;                 // with defaults filled in
  std::vector<std::string> warnings;  // for Warning headers
  std::vector<FieldError> errors;     // empty: the object may be stored
};

// `object` must be a JSON object that the schema accepts (schema.check() without problems): values
// of a wrong type count as absent here. Unknown kinds get the metadata rules only.
Admitted admit_create(std::string_view api_version, std::string_view kind, json::value object);

// An update of the main resource. Immutable fields that are absent in `object` but that clients
// need not repeat (a Service's clusterIP) are carried over from `old`.
Admitted admit_update(std::string_view api_version, std::string_view kind, const json::value& old,
                      json::value object);

}  // namespace fairlead::controlplane
