// OpenAPI v2 as the protobuf messages of gnostic's openapi.v2 package. Only what clients read is
// written: all definitions, and of the paths the PATCH operations with their parameters.
#include <initializer_list>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/openapi.h"
#include "controlplane/objects/openapi_parts.h"

namespace fairlead::controlplane {
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
  return out;
}

std::string bytes(uint32_t number, std::string_view value) {
  return cat(varint(number << 3 | 2), varint(value.size()), value);
}
std::string flag(uint32_t number, bool value) {
  return varint(number << 3) + static_cast<char>(value);
}

// NamedAny{1 name, 2 Any{2 yaml}}: JSON is YAML.
std::string extensions(const json::object& object, uint32_t number) {
  std::string out;
  for (const auto& member : object)
    if (view(member.key()).starts_with("x-"))
      out += bytes(number, bytes(1, view(member.key())) +
                               bytes(2, bytes(2, json::serialize(member.value()))));
  return out;
}

std::string schema_message(const json::object& schema);

// Properties and Definitions are lists of NamedSchema{1 name, 2 schema}.
std::string named_schemas(const json::object& schemas) {
  std::string out;
  for (const auto& member : schemas)
    if (member.value().is_object())
      out += bytes(
          1, bytes(1, view(member.key())) + bytes(2, schema_message(member.value().get_object())));
  return out;
}

std::string schema_message(const json::object& schema) {
  std::string out;
  constexpr std::pair<std::string_view, uint32_t> texts[] = {
      {"$ref", 1}, {"format", 2}, {"description", 4}};
  for (const auto& [key, number] : texts)
    if (const std::string_view text = string_at(schema, key); !text.empty())
      out += bytes(number, text);
  if (const json::array* required = array_at(schema, "required"))
    for (const json::value& name : *required)
      if (name.is_string()) out += bytes(19, view(name.get_string()));
  if (const json::object* values = object_at(schema, "additionalProperties"))
    out += bytes(21, bytes(1, schema_message(*values)));
  if (const std::string_view type = string_at(schema, "type"); !type.empty())
    out += bytes(22, bytes(1, type));
  if (const json::object* items = object_at(schema, "items"))
    out += bytes(23, bytes(1, schema_message(*items)));
  if (const json::object* properties = object_at(schema, "properties"))
    out += bytes(25, named_schemas(*properties));
  return out + extensions(schema, 31);
}

// ParametersItem{1 Parameter{2 NonBodyParameter{3 query | 4 path}}}
std::string parameter_message(const json::object& parameter) {
  const bool in_path = string_at(parameter, "in") == "path";
  std::string sub = in_path ? flag(1, true) : std::string();
  constexpr std::pair<std::string_view, uint32_t> query[] = {
      {"in", 2}, {"description", 3}, {"name", 4}, {"type", 6}};
  constexpr std::pair<std::string_view, uint32_t> path[] = {
      {"in", 2}, {"description", 3}, {"name", 4}, {"type", 5}};
  for (const auto& [key, number] : in_path ? path : query)
    sub += bytes(number, string_at(parameter, key));
  return bytes(1, bytes(2, bytes(in_path ? 4 : 3, sub)));
}

std::string operation_message(const json::object& operation) {
  std::string out = bytes(5, string_at(operation, "operationId"));
  if (const json::array* parameters = array_at(operation, "parameters"))
    for (const json::value& parameter : *parameters)
      out += bytes(8, parameter_message(parameter.get_object()));
  // Responses{1 NamedResponseValue{1 name, 2 ResponseValue{1 Response{1 description}}}}
  out += bytes(9, bytes(1, bytes(1, "200") + bytes(2, bytes(1, bytes(1, "OK")))));
  return out + extensions(operation, 13);
}

std::string paths_message(const json::object& paths) {
  std::string out;
  for (const auto& member : paths) {
    const json::object* patch = object_at(member.value().get_object(), "patch");
    if (patch == nullptr) continue;
    out += bytes(2, bytes(1, view(member.key())) + bytes(2, bytes(8, operation_message(*patch))));
  }
  return out;
}

}  // namespace

std::string openapi_v2_protobuf(const api::Schema& schema, std::span<const OpenApiKind> kinds) {
  json::object definitions;
  for (auto& [name, definition] : openapi_definitions(schema, kinds))
    definitions[name] = std::move(definition);
  return bytes(1, "2.0") + bytes(2, bytes(1, "Kubernetes") + bytes(2, "v1.32.0")) +
         bytes(8, paths_message(openapi_paths(kinds, false))) +
         bytes(9, named_schemas(definitions));
}

}  // namespace fairlead::controlplane
