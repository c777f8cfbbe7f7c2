// Everything the API server asks about objects, in one place: it owns the schema and the protobuf
// tables. Constructed once by the server; belongs to one thread, also for const calls.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "api/schema.h"
#include "base/result.h"
#include "controlplane/objects/admission.h"
#include "controlplane/objects/patch.h"
#include "controlplane/objects/protobuf.h"

namespace fairlead::controlplane {

class ObjectRules {
 public:
  static Result<ObjectRules> load();

  // 400 when check_patch() refuses it, 422 when this one does.
  Result<json::value> apply_patch(PatchType type, const json::value& live, const json::value& patch,
                                  std::string_view api_version, std::string_view kind) const {
    return controlplane::apply_patch(schema_, type, live, patch, api_version, kind);
  }
  Result<json::value> decode_protobuf(std::string_view body) const {
    return protobuf_.decode(body);
  }

  // Values of a wrong type: a document for which this is not empty is a bad request (400). Absent
  // required fields are admission's business.
  std::vector<std::string> type_problems(std::string_view api_version, std::string_view kind,
                                         const json::value& object) const;
  // What fieldValidation=Strict refuses and Warn reports: `unknown field "spec.x"`. Duplicate
  // fields are seen in the text only: api::duplicate_fields().
  std::vector<std::string> strict_problems(std::string_view api_version, std::string_view kind,
                                           const json::value& object) const;
  // Removes the fields that the schema does not know, as decoding into a typed object would.
  void prune(std::string_view api_version, std::string_view kind, json::value& object) const;

  const api::Schema& schema() const { return schema_; }

 private:
  explicit ObjectRules(api::Schema schema) : schema_(std::move(schema)) {}

  api::Schema schema_;
  ProtobufDecoder protobuf_;
};

}  // namespace fairlead::controlplane
