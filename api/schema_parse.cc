#include "api/schema_parse.h"

namespace fairlead::api {
namespace {

using Base = TypeSchema::Base;

constexpr std::string_view ref_prefix = "#/definitions/";

std::string text_of(const json::value& schema, std::string_view key) {
  return std::string(find_string(schema, key));
}

TypeSchema parse_type(const json::value& schema);

// Ordered by name for the binary search in Schema::member().
std::vector<TypeSchema::Field> parse_fields(const json::value& schema) {
  std::vector<TypeSchema::Field> fields;
  const json::value* properties = find(schema, "properties");
  if (properties == nullptr || !properties->is_object()) return fields;
  for (const auto& [name, type] : properties->get_object()) {
    fields.push_back({std::string(name), false, parse_type(type)});
  }
  std::sort(fields.begin(), fields.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const json::value* required = find(schema, "required");
  if (required == nullptr || !required->is_array()) return fields;
  for (auto& field : fields) {
    for (const json::value& name : required->get_array()) {
      if (name.is_string() && name.get_string() == field.name) field.required = true;
    }
  }
  return fields;
}

// The formats that are wider or narrower than their JSON type say: IntOrString is declared as a
// string, Time and []byte as strings with a format.
Base scalar_base(std::string_view type, std::string_view format) {
  if (format == "int-or-string") return Base::int_or_string;
  if (format == "date-time") return Base::time;
  if (format == "byte") return Base::bytes;
  if (type == "string") return Base::string;
  if (type == "integer") return Base::integer;
  if (type == "number") return Base::number;
  if (type == "boolean") return Base::boolean;
  return Base::any;
}

TypeSchema parse_type(const json::value& schema) {
  TypeSchema out;
  const std::string_view type = find_string(schema, "type");
  out.format = text_of(schema, "format");
  out.list_type = text_of(schema, "x-kubernetes-list-type");
  out.map_type = text_of(schema, "x-kubernetes-map-type");
  out.patch_merge_key = text_of(schema, "x-kubernetes-patch-merge-key");
  out.patch_strategy = text_of(schema, "x-kubernetes-patch-strategy");
  const json::value* keys = find(schema, "x-kubernetes-list-map-keys");
  if (keys != nullptr && keys->is_array()) {
    for (const json::value& key : keys->get_array()) {
      if (key.is_string()) out.list_map_keys.emplace_back(key.get_string());
    }
  }
  if (std::string_view ref = find_string(schema, "$ref"); ref.starts_with(ref_prefix)) {
    out.ref = ref.substr(ref_prefix.size());
  } else if (type == "array") {
    out.base = Base::list;
    const json::value* items = find(schema, "items");
    out.items = std::make_unique<TypeSchema>(items == nullptr ? TypeSchema{} : parse_type(*items));
  } else if (type == "object") {
    out.fields = parse_fields(schema);
    out.base = out.fields.empty() ? Base::map : Base::object;
    const json::value* values = find(schema, "additionalProperties");
    if (out.fields.empty()) {
      out.items =
          std::make_unique<TypeSchema>(values == nullptr ? TypeSchema{} : parse_type(*values));
    }
  } else {
    out.base = scalar_base(type, out.format);
  }
  return out;
}

// Past the string that begins at `at`.
size_t skip_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

// The table is our own file, so malformed text need not be diagnosed, only survived.
// Past the object or array that begins at `at`.
size_t skip_container(std::string_view text, size_t at) {
  for (int depth = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
      continue;
    }
    ++at;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) break;
  }
  return at;
}

}  // namespace

TypeSchema parse_definition(std::string_view name, const json::value& schema) {
  TypeSchema type = parse_type(schema);
  if (name.ends_with(".resource.Quantity")) type.base = Base::quantity;
  // Carries any document (runtime.RawExtension), also one of another kind.
  if (name.ends_with(".RawExtension")) type.base = Base::any;
  return type;
}

std::vector<std::pair<std::string_view, std::string_view>> top_level_members(
    std::string_view text) {
  std::vector<std::pair<std::string_view, std::string_view>> out;
  if (text.empty() || text.front() != '{') return out;
  for (size_t at = 1; (at = text.find('"', at)) != std::string_view::npos;) {
    const size_t name_end = skip_string(text, at);
    const size_t value = text.find_first_of("{[", name_end);
    if (value == std::string_view::npos) return {};
    const size_t end = std::min(skip_container(text, value), text.size());
    out.emplace_back(text.substr(at + 1, name_end - at - 2), text.substr(value, end - value));
    at = end;
  }
  return out;
}

}  // namespace fairlead::api
