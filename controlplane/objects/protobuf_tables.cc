#include "controlplane/objects/protobuf_tables.h"

#include <algorithm>

#include "api/data.h"
#include "api/schema_parse.h"
#include "base/check.h"
#include "base/text.h"
#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

json::object load_object(std::string_view file) {
  auto parsed = parse_json(api::data(file));
  CHECK(parsed.has_value() && parsed->is_object());  // the file is part of this program
  return std::move(parsed->get_object());
}

// "k8s.io.api.core.v1.ServiceSpec" -> "core/v1.ServiceSpec", the key of the smaller tables.
std::string short_name(std::string_view full_name) {
  const auto parts = split(full_name, '.');
  if (parts.size() < 3) return std::string(full_name);
  const size_t n = parts.size();
  return cat(parts[n - 3], "/", parts[n - 2], ".", parts[n - 1]);
}

// The generated names follow Go's; a few differ from those in JSON.
std::string json_name(std::string_view name) {
  if (name == "aPIGroup") return "apiGroup";
  if (name == "uID") return "uid";
  std::string out(name);
  if (!out.empty() && out[0] >= 'A' && out[0] <= 'Z') out[0] = static_cast<char>(out[0] + 32);
  return out;
}

WireKind wire_kind(std::string_view type) {
  if (type == "int32") return WireKind::integer32;
  if (type == "int64") return WireKind::integer64;
  if (type == "bool") return WireKind::boolean;
  if (type == "string") return WireKind::string;
  if (type == "bytes") return WireKind::bytes;
  return WireKind::message;
}

MessageForm form_of(const ProtobufMessage& message) {
  const std::string_view name = message.name;
  if (name.ends_with(".meta.v1.Time")) return MessageForm::time;
  if (name.ends_with(".meta.v1.MicroTime")) return MessageForm::micro_time;
  if (name.ends_with(".resource.Quantity")) return MessageForm::quantity;
  if (name.ends_with(".intstr.IntOrString")) return MessageForm::int_or_string;
  if (name.ends_with(".RawExtension") || name.ends_with(".FieldsV1")) return MessageForm::raw_json;
  // A named slice type of Go (ExtraValue, Verbs) is a list in JSON.
  if (message.fields.size() == 1 && message.fields[0].name == "items" &&
      message.fields[0].kind == WireKind::string)
    return MessageForm::list;
  return MessageForm::object;
}

}  // namespace

const ProtobufField* ProtobufMessage::find(uint32_t number) const {
  const auto at = std::lower_bound(fields.begin(), fields.end(), number,
                                   [](const auto& field, uint32_t n) { return field.number < n; });
  return at == fields.end() || at->number != number ? nullptr : &*at;
}

ProtobufTables::ProtobufTables()
    : pointers_(load_object("protobuf-pointer-fields.json")),
      inlined_(load_object("protobuf-inline-fields.json")) {
  for (const auto& [name, text] : api::top_level_members(api::data("protobuf-fields.json")))
    texts_.emplace(name, text);
}

const ProtobufMessage* ProtobufTables::find(std::string_view full_name) {
  const auto known = parsed_.find(full_name);
  if (known != parsed_.end()) return known->second.get();
  const auto text = texts_.find(full_name);
  if (text == texts_.end()) return nullptr;
  const auto fields = parse_json(text->second);
  CHECK(fields.has_value() && fields->is_object());

  auto message = std::make_unique<ProtobufMessage>();
  message->name = full_name;
  const std::string key = short_name(full_name);
  const json::array* pointers = array_at(pointers_, key);
  const json::array* inlined = array_at(inlined_, key);
  for (const auto& entry : fields->get_object()) {
    const json::array& row = entry.value().get_array();  // name, label, type
    ProtobufField field;
    field.number = static_cast<uint32_t>(*parse_int(view(entry.key()), 1, 1 << 29));
    field.name = json_name(view(row[0].get_string()));
    field.repeated = row[1].get_string() == "repeated";
    field.map = row[1].get_string() == "map";
    field.kind = wire_kind(view(row[2].get_string()));
    if (field.kind == WireKind::message) field.message = row[2].get_string().c_str();
    field.inlined = field.name == "ephemeralContainerCommon";
    if (pointers != nullptr)
      for (const json::value& name : *pointers)
        field.pointer = field.pointer || view(name.get_string()) == field.name;
    if (inlined != nullptr)
      for (const json::value& row_of : *inlined)
        field.inlined = field.inlined || as_integer(row_of.get_array()[1]) == field.number;
    message->fields.push_back(std::move(field));
  }
  std::sort(message->fields.begin(), message->fields.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  message->form = form_of(*message);
  return parsed_.emplace(std::string(full_name), std::move(message)).first->second.get();
}

const ProtobufMessage* ProtobufTables::find_kind(std::string_view api_version,
                                                 std::string_view kind) {
  const size_t slash = api_version.find('/');
  std::string_view group = "core", version = api_version;
  if (slash != std::string_view::npos) {
    version = api_version.substr(slash + 1);
    group = api_version.substr(0, slash);
    group = group.substr(0, group.find('.'));  // "networking.k8s.io" -> "networking"
  }
  const ProtobufMessage* found = find(cat("k8s.io.api.", group, ".", version, ".", kind));
  // DeleteOptions and the like belong to every group version.
  return found != nullptr ? found : find(cat("k8s.io.apimachinery.pkg.apis.meta.v1.", kind));
}

}  // namespace fairlead::controlplane
