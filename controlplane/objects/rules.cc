#include "controlplane/objects/rules.h"

#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

using Base = api::TypeSchema::Base;

// Typed decoding drops unknown fields and nulls; a null map value becomes the value type's zero.
void prune_value(const api::Schema& schema, const api::TypeSchema& declared, json::value& value) {
  const api::TypeSchema& type = schema.resolve(declared);
  if (type.base == Base::list && value.is_array() && type.items != nullptr) {
    for (json::value& item : value.get_array()) prune_value(schema, *type.items, item);
    return;
  }
  if (!value.is_object()) return;
  json::object& object = value.get_object();
  const bool is_map = type.base == Base::map && type.items != nullptr;
  if (type.base != Base::object && !is_map) return;
  const bool of_strings = is_map && (schema.resolve(*type.items).base == Base::string ||
                                     schema.resolve(*type.items).base == Base::bytes);
  json::object kept;
  kept.reserve(object.size());
  for (auto& entry : object) {
    const api::TypeSchema* field = schema.field(type, view(entry.key()));
    if (field == nullptr) continue;
    if (entry.value().is_null()) {
      if (of_strings) kept[entry.key()] = "";
      continue;
    }
    prune_value(schema, *field, entry.value());
    kept[entry.key()] = std::move(entry.value());
  }
  object = std::move(kept);
}

}  // namespace

Result<ObjectRules> ObjectRules::load() {
  FL_TRY(api::Schema schema, api::Schema::load());
  return ObjectRules(std::move(schema));
}

std::vector<std::string> ObjectRules::type_problems(std::string_view api_version,
                                                    std::string_view kind,
                                                    const json::value& object) const {
  std::vector<std::string> out;
  for (const api::FieldProblem& problem : schema_.check(api_version, kind, object, false))
    if (problem.what == api::FieldProblem::What::wrong_type) out.push_back(problem.to_string());
  return out;
}

std::vector<std::string> ObjectRules::strict_problems(std::string_view api_version,
                                                      std::string_view kind,
                                                      const json::value& object) const {
  std::vector<std::string> out;
  for (const api::FieldProblem& problem : schema_.check(api_version, kind, object, true))
    if (problem.what == api::FieldProblem::What::unknown_field) out.push_back(problem.to_string());
  return out;
}

void ObjectRules::prune(std::string_view api_version, std::string_view kind,
                        json::value& object) const {
  const api::TypeSchema* type = schema_.find(api_version, kind);
  if (type != nullptr) prune_value(schema_, *type, object);
}

}  // namespace fairlead::controlplane
