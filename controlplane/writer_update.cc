#include <algorithm>

#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {
namespace {

std::vector<std::string> finalizers_of(const json::value& document) {
  std::vector<std::string> out;
  if (const json::value* list = find(document, "metadata", "finalizers"); has_entries(list))
    for (const json::value& item : list->get_array())
      if (item.is_string()) out.emplace_back(item.get_string().data(), item.get_string().size());
  return out;
}

// A member of `from` replaces that of `to`, also by being absent.
void copy_member(const json::value& from, json::value& to, std::string_view key) {
  if (const json::value* value = find(from, key))
    to.get_object()[key] = *value;
  else
    to.get_object().erase(key);
}

}  // namespace

Outcome<std::monostate> Writer::check_update(const Update& update) const {
  const Resource& row = *update.target.resource;
  const std::string& name = update.target.name;
  std::string_view given_name = find_string(update.document, "metadata", "name");
  std::string_view given_ns = find_string(update.document, "metadata", "namespace");
  if (!given_name.empty() && given_name != name)
    return std::unexpected(bad_request(cat("the name of the object (", given_name,
                                           ") does not match the name on the URL (", name, ")")));
  if (!given_ns.empty() && given_ns != update.target.ns)
    return std::unexpected(
        bad_request(cat("the namespace of the object (", given_ns,
                        ") does not match the namespace on the URL (", update.target.ns, ")")));
  std::string_view uid = find_string(update.document, "metadata", "uid");
  std::string_view old_uid = find_string(update.old, "metadata", "uid");
  if (!uid.empty() && uid != old_uid)
    return std::unexpected(conflict(
        row, name,
        cat("Precondition failed: UID in precondition: ", uid, ", UID in object meta: ", old_uid)));
  std::string_view version = find_string(update.document, "metadata", "resourceVersion");
  if (version.empty() || version == "0") {
    if (row.version_required && update.version_needed)
      return std::unexpected(invalid(row, name,
                                     {{"metadata.resourceVersion", "FieldValueInvalid",
                                       "Invalid value: 0: must be specified for an update"}}));
  } else if (version != cat(update.head->revision)) {
    return std::unexpected(conflict(row, name));
  }
  if (!deleting(update.old)) return {};
  std::vector<std::string> before = finalizers_of(update.old), added;
  for (std::string& finalizer : finalizers_of(update.document))
    if (std::ranges::find(before, finalizer) == before.end()) added.push_back(finalizer);
  if (!added.empty())
    return std::unexpected(invalid(
        row, name,
        {{"metadata.finalizers", "FieldValueForbidden",
          cat("Forbidden: no new finalizers can be added if the object is being deleted, found new "
              "finalizers: ",
              join(added, ", "))}}));
  return {};
}

// A subresource changes its own part only; the main resource does not change the status.
void Writer::take_subresource(Update& update) const {
  const Resource& row = *update.target.resource;
  if (update.target.subresource.empty()) {
    if (row.has_status()) copy_member(update.old, update.document, "status");
    if (row.kind == "Namespace") {  // spec.finalizers belong to /finalize
      json::value& spec = update.document.get_object()["spec"];
      if (!spec.is_object()) spec = json::object{};
      if (const json::value* old_spec = find(update.old, "spec"))
        copy_member(*old_spec, spec, "finalizers");
    }
    return;
  }
  json::value merged = update.old;
  if (update.target.subresource == "status") {
    copy_member(update.document, merged, "status");
    copy_member(update.document, merged, "metadata");
    if (row.kind == "Pod")
      copy_member(*find(update.old, "metadata"), *merged.get_object().if_contains("metadata"),
                  "ownerReferences");
  } else if (update.target.subresource == "finalize") {
    json::value& spec = merged.get_object()["spec"];
    if (!spec.is_object()) spec = json::object{};
    const json::value* given = find(update.document, "spec");
    copy_member(given != nullptr ? *given : json::value(json::object{}), spec, "finalizers");
  }
  update.document = std::move(merged);
}

Outcome<std::monostate> Writer::admit(Update& update) {
  const Resource& row = *update.target.resource;
  if (!update.target.subresource.empty()) return {};
  Admitted admitted =
      admit_update(row.group_version(), row.kind, update.old, std::move(update.document));
  std::vector<std::string>& warnings = update.result.warnings;
  warnings.insert(warnings.end(), admitted.warnings.begin(), admitted.warnings.end());
  if (!admitted.errors.empty())
    return std::unexpected(invalid(row, update.target.name, std::move(admitted.errors)));
  update.document = std::move(admitted.object);
  if (row.has_generation && spec_differs(update.old, update.document))
    bump_generation(update.document);
  if (row.kind != "Service") return {};
  if (auto errors = allocator_->assign(update.document, &update.old); !errors.empty())
    return std::unexpected(invalid(row, update.target.name, std::move(errors)));
  if (update.options.dry_run) allocator_->revert(update.document, &update.old);
  return {};
}

void Writer::apply(Update update, Done done) {
  const Resource& row = *update.target.resource;
  if (auto checked = check_update(update); !checked) return done(std::unexpected(checked.error()));
  json::object& metadata = metadata_of(update.document);
  metadata["name"] = update.target.name;
  if (row.namespaced) metadata["namespace"] = update.target.ns;
  take_subresource(update);
  keep_system_fields(update.document, update.old);
  if (auto admitted = admit(update); !admitted) return done(std::unexpected(admitted.error()));

  metadata_of(update.document)["resourceVersion"] = cat(update.head->revision);
  if (update.options.dry_run) {
    update.result.object = make_stored(row, std::move(update.document), update.head->revision);
    return done(std::move(update.result));
  }
  // The update that takes the last finalizer away completes a deletion.
  if (deleting(update.document) && !held_by_finalizers(update.document) &&
      grace_of(update.document) == 0)
    return drop(update.target, update.head, update.document, std::move(update.result),
                std::move(done));
  if (same_but_version(update.old, update.document)) {
    store_.settle([head = update.head, result = std::move(update.result),
                   done = std::move(done)](const Result<ObjectPtr>& outcome) mutable {
      if (!outcome) return done(std::unexpected(internal_error(outcome.error().message)));
      result.object = std::move(head);
      done(std::move(result));
    });
    return;
  }
  put(update.target, update.head->revision, std::move(update.document), std::move(update.result),
      std::move(done));
}

void Writer::update(Target target, json::value document, WriteOptions options, Done done) {
  Update update{.target = std::move(target), .options = std::move(options)};
  update.version_needed = true;
  const Resource& row = *update.target.resource;
  if (auto checked = check_body(update.target, document, update.options, update.result.warnings);
      !checked)
    return done(std::unexpected(checked.error()));
  update.head = store_.head(row, update.target.ns, update.target.name);
  if (!update.head) {
    std::string_view version = find_string(document, "metadata", "resourceVersion");
    if (!row.create_on_update || !update.target.subresource.empty() || !version.empty())
      return done(std::unexpected(not_found(row, update.target.name)));
    metadata_of(document)["name"] = update.target.name;
    return create(std::move(update.target), std::move(document), std::move(update.options),
                  std::move(done));
  }
  update.old = document_of(*update.head);
  update.document = std::move(document);
  apply(std::move(update), std::move(done));
}

void Writer::patch(Target target, PatchType type, const json::value& patch, WriteOptions options,
                   Done done) {
  Update update{.target = std::move(target), .options = std::move(options)};
  const Resource& row = *update.target.resource;
  update.head = store_.head(row, update.target.ns, update.target.name);
  if (!update.head) return done(std::unexpected(not_found(row, update.target.name)));
  if (Result<void> checked = check_patch(type, patch); !checked)
    return done(std::unexpected(bad_request(checked.error().message)));
  update.old = document_of(*update.head);
  Result<json::value> patched =
      rules_.apply_patch(type, update.old, patch, row.group_version(), row.kind);
  if (!patched)
    return done(std::unexpected(invalid(
        row, update.target.name, {{"patch", "FieldValueInvalid", patched.error().message}})));
  update.document = *std::move(patched);
  if (auto checked =
          check_body(update.target, update.document, update.options, update.result.warnings);
      !checked)
    return done(std::unexpected(checked.error()));
  apply(std::move(update), std::move(done));
}

}  // namespace fairlead::controlplane
