#include "controlplane/objects/patch.h"

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

Result<void> check_operation(const json::value& operation, size_t index) {
  const std::string at = cat("operation ", index, ": ");
  if (!operation.is_object()) return fail(at + "expected an object with op and path");
  const std::string_view op = find_string(operation, "op");
  static constexpr std::string_view known[] = {"add", "remove", "replace", "move", "copy", "test"};
  if (std::find(std::begin(known), std::end(known), op) == std::end(known))
    return fail(cat(at, "op \"", op, "\" is none of add, remove, replace, move, copy, test"));
  for (std::string_view field : {"path", "from"}) {
    if (field == "from" && op != "move" && op != "copy") continue;
    const json::value* pointer = find(operation, field);
    if (pointer == nullptr || !pointer->is_string())
      return fail(cat(at, op, " needs \"", field, "\" as a string"));
    const std::string_view text = find_string(operation, field);
    if (!text.empty() && text.front() != '/')
      return fail(cat(at, "\"", text, "\" is no JSON pointer: it must start with '/'"));
  }
  if ((op == "add" || op == "replace" || op == "test") && find(operation, "value") == nullptr)
    return fail(cat(at, op, " needs \"value\""));
  return {};
}

}  // namespace

std::optional<PatchType> parse_patch_type(std::string_view content_type) {
  const std::string media = to_lower(trim(content_type.substr(0, content_type.find(';'))));
  if (media == "application/json-patch+json") return PatchType::json;
  if (media == "application/merge-patch+json") return PatchType::merge;
  if (media == "application/strategic-merge-patch+json") return PatchType::strategic;
  return std::nullopt;
}

Result<void> check_patch(PatchType type, const json::value& patch) {
  if (type != PatchType::json) {
    if (!patch.is_object()) return fail("the patch must be a JSON object");
    return {};
  }
  if (!patch.is_array()) return fail("a JSON patch must be an array of operations");
  const json::array& operations = patch.get_array();
  if (operations.size() > max_patch_operations)
    return fail(cat("a JSON patch may have ", max_patch_operations, " operations, this one has ",
                    operations.size()));
  for (size_t i = 0; i < operations.size(); ++i) FL_TRY_VOID(check_operation(operations[i], i));
  return {};
}

json::value apply_merge_patch(const json::value& live, const json::value& patch) {
  if (!patch.is_object()) return patch;
  json::object out = live.is_object() ? live.get_object() : json::object();
  for (const auto& member : patch.get_object()) {
    if (member.value().is_null()) {
      out.erase(member.key());
      continue;
    }
    json::value& target = out[member.key()];
    target = apply_merge_patch(target, member.value());
  }
  return out;
}

Result<json::value> apply_patch(const api::Schema& schema, PatchType type, const json::value& live,
                                const json::value& patch, std::string_view api_version,
                                std::string_view kind) {
  FL_TRY_VOID(check_patch(type, patch));
  switch (type) {
    case PatchType::json:
      return apply_json_patch(live, patch);
    case PatchType::merge:
      return apply_merge_patch(live, patch);
    case PatchType::strategic:
      break;
  }
  const api::TypeSchema* definition = schema.find(api_version, kind);
  if (definition == nullptr)
    return fail(cat(api_version, " ", kind, " has no schema: use a merge patch"));
  return apply_strategic_patch(schema, *definition, live, patch);
}

}  // namespace fairlead::controlplane
