#include "controlplane/objects/openapi.h"

#include <cstdint>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/openapi_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kDefinitions = "#/definitions/";
constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

// Calls visit(name) for each definition that a schema refers to.
template <class Visit>
void each_reference(const json::value& schema, Visit visit) {
  if (schema.is_array())
    for (const json::value& item : schema.get_array()) each_reference(item, visit);
  if (!schema.is_object()) return;
  for (const auto& member : schema.get_object()) {
    if (member.key() == "$ref" && member.value().is_string())
      visit(view(member.value().get_string()).substr(kDefinitions.size()));
    else
      each_reference(member.value(), visit);
  }
}

void describe(std::string_view name, json::object& definition) {
  if (const std::string_view text = openapi_description(name); !text.empty())
    definition["description"] = text;
  json::value* properties = definition.if_contains("properties");
  if (properties == nullptr) return;
  for (auto& property : properties->get_object())
    if (const auto text = openapi_description(name, view(property.key())); !text.empty())
      property.value().get_object()["description"] = text;
}

// OpenAPI 3.0: references live elsewhere, may have no siblings, and a type is one of several.
void to_v3(json::value& schema) {
  if (schema.is_array())
    for (json::value& item : schema.get_array()) to_v3(item);
  if (!schema.is_object()) return;
  json::object& object = schema.get_object();
  for (auto& member : object) to_v3(member.value());
  const json::value* reference = object.if_contains("$ref");
  if (reference != nullptr && reference->is_string()) {
    const json::object target{
        {"$ref",
         cat("#/components/schemas/", view(reference->get_string()).substr(kDefinitions.size()))}};
    object.erase("$ref");
    if (object.empty())
      object = target;
    else
      object["allOf"] = json::array{target};
  }
  const json::value* format = object.if_contains("format");
  if (format != nullptr && *format == "int-or-string") {
    object.erase("type");
    object["oneOf"] =
        json::array{json::object{{"type", "integer"}}, json::object{{"type", "string"}}};
  }
}

json::object info() { return {{"title", "Kubernetes"}, {"version", "v1.32.0"}}; }

std::vector<OpenApiKind> of_version(std::span<const OpenApiKind> kinds, std::string_view group,
                                    std::string_view version) {
  std::vector<OpenApiKind> out;
  for (const OpenApiKind& kind : kinds)
    if (kind.group == group && kind.version == version) out.push_back(kind);
  return out;
}

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::map<std::string, json::object> openapi_definitions(const api::Schema& schema,
                                                        std::span<const OpenApiKind> kinds) {
  std::map<std::string, json::object> out;
  std::vector<std::string> todo = {cat(kMeta, "DeleteOptions"), cat(kMeta, "Status")};
  for (const OpenApiKind& kind : kinds) {
    todo.emplace_back(kind.definition);
    todo.push_back(cat(kind.definition, "List"));
  }
  while (!todo.empty()) {
    const std::string name = std::move(todo.back());
    todo.pop_back();
    const std::string_view text = schema.definition_text(name);
    if (text.empty() || out.contains(name)) continue;
    auto parsed = parse_json(text);
    CHECK(parsed.has_value() && parsed->is_object());  // part of this program
    each_reference(*parsed, [&](std::string_view other) { todo.emplace_back(other); });
    describe(name, parsed->get_object());
    out.emplace(name, std::move(parsed->get_object()));
  }
  return out;
}

std::string openapi_v3_document(const api::Schema& schema, std::span<const OpenApiKind> kinds,
                                std::string_view group, std::string_view version) {
  const std::vector<OpenApiKind> served = of_version(kinds, group, version);
  if (served.empty()) return {};
  json::object schemas;
  for (auto& [name, definition] : openapi_definitions(schema, served)) {
    json::value converted(definition);
    to_v3(converted);
    schemas[name] = std::move(converted);
  }
  return json::serialize(
      json::object{{"openapi", "3.0.0"},
                   {"info", info()},
                   {"paths", openapi_paths(served, true)},
                   {"components", json::object{{"schemas", std::move(schemas)}}}});
}

std::string openapi_v3_index(const api::Schema& schema, std::span<const OpenApiKind> kinds) {
  json::object paths;
  for (const OpenApiKind& kind : kinds) {
    const std::string key = kind.group.empty() ? cat("api/", kind.version)
                                               : cat("apis/", kind.group, "/", kind.version);
    if (paths.contains(key)) continue;
    const uint64_t hash = fnv1a(openapi_v3_document(schema, kinds, kind.group, kind.version));
    paths[key] = json::object{{"serverRelativeURL", cat("/openapi/v3/", key, "?hash=", hash)}};
  }
  return json::serialize(json::object{{"paths", std::move(paths)}});
}

std::string openapi_v2_json(const api::Schema& schema, std::span<const OpenApiKind> kinds) {
  json::object definitions;
  for (auto& [name, definition] : openapi_definitions(schema, kinds))
    definitions[name] = std::move(definition);
  return json::serialize(json::object{{"swagger", "2.0"},
                                      {"info", info()},
                                      {"paths", openapi_paths(kinds, false)},
                                      {"definitions", std::move(definitions)}});
}

}  // namespace fairlead::controlplane
