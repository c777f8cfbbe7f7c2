// Strategic merge patches. Without a directive: maps merge, lists of a `merge` field are matched by
// their merge key (lists of scalars become a set), every other value is replaced.
#include <string>
#include <vector>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/patch.h"
#include "controlplane/objects/strategic_list.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFromList = "$deleteFromPrimitiveList/";
constexpr std::string_view kElementOrder = "$setElementOrder/";

bool is_directive(std::string_view key) {
  return key == kDirective || key == kRetainKeys || key.starts_with(kDeleteFromList) ||
         key.starts_with(kElementOrder);
}

// What a patch value is where nothing was before: without directives, nulls and deletions.
json::value materialize(const json::value& patch) {
  if (patch.is_array()) {
    json::array out;
    for (const json::value& item : patch.get_array()) {
      const std::string_view directive = find_string(item, kDirective);
      if (directive == "delete" || (directive == "replace" && item.get_object().size() == 1))
        continue;
      out.push_back(materialize(item));
    }
    return out;
  }
  if (!patch.is_object()) return patch;
  json::object out;
  if (find_string(patch, kDirective) == "delete") return out;
  for (const auto& entry : patch.get_object())
    if (!is_directive(view(entry.key())) && !entry.value().is_null())
      out[entry.key()] = materialize(entry.value());
  return out;
}

// The patch attributes of a field stand where it is declared, also when its type is a reference.
struct FieldType {
  const api::TypeSchema* declared = nullptr;
  const api::TypeSchema* type = nullptr;

  std::string_view strategy() const {
    return declared == nullptr ? std::string_view() : declared->patch_strategy;
  }
  std::string_view merge_key() const {
    return declared == nullptr ? std::string_view() : declared->patch_merge_key;
  }
  bool merges() const { return strategy() == "merge" || strategy().starts_with("merge,"); }
};

class StrategicMerger {
 public:
  explicit StrategicMerger(const api::Schema& schema) : schema_(schema) {}

  // Where the schema says nothing `type` is null: maps merge there, lists are replaced.
  Result<void> merge_map(json::object& live, const json::object& patch,
                         const api::TypeSchema* type);

  // After an error: where it happened.
  std::string path() const { return join(path_, "."); }

 private:
  FieldType field_type(const api::TypeSchema* type, std::string_view name) const;
  Result<void> retain_keys(json::object& live, const json::object& patch) const;
  Result<void> merge_ordered_list(json::object& live, const json::object& patch,
                                  std::string_view name, const json::value& order,
                                  const FieldType& type);
  Result<void> merge_member(json::object& live, std::string_view name, const json::value& patch,
                            const FieldType& type);
  Result<json::array> merge_list(const json::array& live, const json::array& patch,
                                 const FieldType& type);
  Result<json::array> merge_objects(const json::array& live, const json::array& patch,
                                    const FieldType& type);
  Result<void> delete_scalars(json::object& live, std::string_view name,
                              const json::value& removed) const;

  const api::Schema& schema_;
  std::vector<std::string> path_;  // popped on success only, so that an error keeps its place
};

FieldType StrategicMerger::field_type(const api::TypeSchema* type, std::string_view name) const {
  FieldType out;
  if (type == nullptr) return out;
  if (type->base == api::TypeSchema::Base::map) out.declared = type->items.get();
  for (const auto& field : type->fields)
    if (field.name == name) out.declared = &field.type;
  if (out.declared != nullptr) out.type = &schema_.resolve(*out.declared);
  return out;
}

Result<void> StrategicMerger::merge_map(json::object& live, const json::object& patch,
                                        const api::TypeSchema* type) {
  const std::string_view directive = string_at(patch, kDirective);
  if (directive == "replace" || directive == "delete") {
    json::object replacement;
    if (directive == "replace") replacement = materialize(patch).get_object();
    live = std::move(replacement);
    return {};
  }
  if (has(patch, kDirective) && directive != "merge")
    return fail("$patch must be delete, replace or merge");
  FL_TRY_VOID(retain_keys(live, patch));
  for (const auto& entry : patch) {
    const std::string_view key = view(entry.key());
    std::string_view name = key;
    for (std::string_view prefix : {kElementOrder, kDeleteFromList})
      if (key.starts_with(prefix)) name = key.substr(prefix.size());
    if (key == kDirective || key == kRetainKeys) continue;
    const FieldType field = field_type(type, name);
    path_.emplace_back(name);
    if (key.starts_with(kElementOrder)) {
      FL_TRY_VOID(merge_ordered_list(live, patch, name, entry.value(), field));
    } else if (key.starts_with(kDeleteFromList)) {
      FL_TRY_VOID(delete_scalars(live, name, entry.value()));
    } else if (!has(patch, cat(kElementOrder, name)) || entry.value().is_null()) {
      FL_TRY_VOID(merge_member(live, name, entry.value(), field));
    }
    path_.pop_back();
  }
  return {};
}

Result<void> StrategicMerger::retain_keys(json::object& live, const json::object& patch) const {
  const json::value* directive = patch.if_contains(kRetainKeys);
  if (directive == nullptr) return {};
  if (!directive->is_array()) return fail("$retainKeys must be a list of field names");
  const ItemIndex retained(directive->get_array(), "");
  for (const auto& entry : patch)
    if (!is_directive(view(entry.key())) && !entry.value().is_null() &&
        retained.find(json::string(entry.key())) < 0)
      return fail(cat("the patch sets ", view(entry.key()), ", which $retainKeys does not name"));
  json::object kept;
  for (const auto& entry : live)
    if (retained.find(json::string(entry.key())) >= 0) kept[entry.key()] = entry.value();
  live = std::move(kept);
  return {};
}

Result<void> StrategicMerger::merge_ordered_list(json::object& live, const json::object& patch,
                                                 std::string_view name, const json::value& order,
                                                 const FieldType& type) {
  if (!order.is_array()) return fail("$setElementOrder must be a list");
  const json::value* change = patch.if_contains(name);
  if (change != nullptr && change->is_null()) return {};  // the list goes: nothing to order
  const json::array* present = array_at(live, name);
  const json::array before = present == nullptr ? json::array() : *present;
  if (change != nullptr) FL_TRY_VOID(merge_member(live, name, *change, type));
  const json::array* merged = array_at(live, name);
  if (merged == nullptr || !type.merges()) return {};
  live[name] = order_items(*merged, order.get_array(), before, type.merge_key());
  return {};
}

Result<void> StrategicMerger::merge_member(json::object& live, std::string_view name,
                                           const json::value& patch, const FieldType& type) {
  if (patch.is_null()) {
    live.erase(name);
    return {};
  }
  json::value* target = live.if_contains(name);
  if (target == nullptr || target->kind() != patch.kind()) {
    live[name] = materialize(patch);
    return {};
  }
  if (patch.is_object()) {
    if (type.strategy() == "replace")
      *target = materialize(patch);
    else
      FL_TRY_VOID(merge_map(target->get_object(), patch.get_object(), type.type));
    return {};
  }
  if (patch.is_array() && type.merges()) {
    FL_TRY(json::array merged, merge_list(target->get_array(), patch.get_array(), type));
    live[name] = std::move(merged);
    return {};
  }
  *target = materialize(patch);
  return {};
}

Result<void> StrategicMerger::delete_scalars(json::object& live, std::string_view name,
                                             const json::value& removed) const {
  if (!removed.is_array()) return fail("$deleteFromPrimitiveList must be a list");
  const json::array* items = array_at(live, name);
  if (items != nullptr) live[name] = without_scalars(*items, removed.get_array());
  return {};
}

Result<json::array> StrategicMerger::merge_list(const json::array& live, const json::array& patch,
                                                const FieldType& type) {
  if (type.merge_key().empty()) return order_items(unite_scalars(live, patch), patch, live, "");
  return merge_objects(live, patch, type);
}

Result<json::array> StrategicMerger::merge_objects(const json::array& live,
                                                   const json::array& patch,
                                                   const FieldType& type) {
  const std::string_view key = type.merge_key();
  json::array deleted, changes;
  bool replace = false;
  for (const json::value& item : patch) {
    if (!item.is_object()) return fail("a list with a merge key must have objects in it");
    const std::string_view directive = find_string(item, kDirective);
    replace = replace || directive == "replace";
    if (directive == "replace") continue;
    if (find(item, key) == nullptr) return fail(cat("an item has no ", key, ", its merge key"));
    if (directive == "delete")
      deleted.push_back(item);
    else
      changes.push_back(item);
  }
  const ItemIndex gone(deleted, key);
  json::array merged;
  if (!replace)
    for (const json::value& item : live)
      if (gone.find(item) < 0) merged.push_back(item);
  const ItemIndex present(merged, key);
  const api::TypeSchema* item_type = type.type == nullptr ? nullptr : schema_.item(*type.type);
  for (const json::value& change : changes) {
    const std::ptrdiff_t at = present.find(change);
    if (at < 0) {
      merged.push_back(materialize(change));
    } else if (merged[static_cast<size_t>(at)].is_object()) {
      FL_TRY_VOID(
          merge_map(merged[static_cast<size_t>(at)].get_object(), change.get_object(), item_type));
    }
  }
  return order_items(std::move(merged), changes, live, key);
}

}  // namespace

Result<json::value> apply_strategic_patch(const api::Schema& schema, const api::TypeSchema& type,
                                          const json::value& live, const json::value& patch) {
  FL_TRY_VOID(check_patch(PatchType::strategic, patch));
  json::object out = live.is_object() ? live.get_object() : json::object();
  StrategicMerger merger(schema);
  const auto merged = merger.merge_map(out, patch.get_object(), &schema.resolve(type));
  if (!merged && merger.path().empty()) return std::unexpected(merged.error());
  if (!merged) return fail(merger.path(), merged.error());
  return out;
}

}  // namespace fairlead::controlplane
