#include <set>

#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kMaxAnnotationBytes = 256 * 1024;

void validate_annotations(const json::object& annotations, Problems& problems) {
  size_t total = 0;
  for (const auto& entry : annotations) {
    const std::string_view key = view(entry.key());
    // Capital letters are allowed in the prefix, for the sake of old annotations.
    problems.invalid("metadata.annotations", key, qualified_name(to_lower(key)));
    total += key.size();
    if (entry.value().is_string()) total += entry.value().get_string().size();
  }
  if (total > kMaxAnnotationBytes) problems.too_long("metadata.annotations", kMaxAnnotationBytes);
}

void validate_owners(const json::object& metadata, Problems& problems) {
  size_t controllers = 0;
  each_object(metadata, "ownerReferences", "metadata.",
              [&](const json::object& owner, const std::string& at) {
                for (std::string_view field : {"apiVersion", "kind", "name", "uid"})
                  if (string_at(owner, field).empty())
                    problems.invalid(
                        cat(at, ".", field), json::value(""),
                        field == "apiVersion" ? "version must not be empty" : "must not be empty");
                controllers += bool_at(owner, "controller").value_or(false) ? 1 : 0;
              });
  if (controllers > 1)
    problems.invalid("metadata.ownerReferences", metadata.at("ownerReferences"),
                     "Only one reference can have Controller set to true");
}

void validate_names(const KindRules& rules, const json::object& metadata, Problems& problems) {
  const std::string_view prefix = string_at(metadata, "generateName");
  const std::string_view name = string_at(metadata, "name");
  if (!prefix.empty()) {
    // A trailing dash is fine: letters follow it.
    std::string masked(prefix);
    if (masked.size() > 1 && masked.back() == '-') masked.back() = 'a';
    problems.invalid("metadata.generateName", prefix, rules.name(masked));
  }
  if (name.empty())
    problems.required("metadata.name", "name or generateName is required");
  else
    problems.invalid("metadata.name", name, rules.name(name));
  const std::string_view space = string_at(metadata, "namespace");
  if (!rules.namespaced) {
    if (!space.empty()) problems.forbidden("metadata.namespace", "not allowed on this type");
  } else if (space.empty()) {
    problems.required("metadata.namespace");
  } else {
    problems.invalid("metadata.namespace", space, dns_label(space));
  }
}

}  // namespace

void validate_labels(const json::object& labels, const std::string& field, Problems& problems) {
  for (const auto& entry : labels) {
    const std::string_view key = view(entry.key());
    problems.invalid(field, key, qualified_name(key));
    if (entry.value().is_string()) {
      const std::string_view value = view(entry.value().get_string());
      problems.invalid(field, value, label_value(value));
    }
  }
}

void validate_metadata(const KindRules& rules, const json::object& object, Problems& problems) {
  static const json::object none;
  const json::object* found = object_at(object, "metadata");
  const json::object& metadata = found == nullptr ? none : *found;
  validate_names(rules, metadata, problems);
  if (const json::object* labels = object_at(metadata, "labels"))
    validate_labels(*labels, "metadata.labels", problems);
  if (const json::object* annotations = object_at(metadata, "annotations"))
    validate_annotations(*annotations, problems);
  validate_owners(metadata, problems);
  each_string(metadata, "finalizers", "metadata.",
              [&](std::string_view finalizer, const std::string& at) {
                problems.invalid(at, finalizer, qualified_name(finalizer));
              });
}

void validate_metadata_update(const json::object& old, const json::object& object,
                              Problems& problems) {
  const json::object* before = object_at(old, "metadata");
  const json::object* after = object_at(object, "metadata");
  if (before == nullptr || after == nullptr) return;
  for (std::string_view field : {"name", "namespace", "uid", "creationTimestamp"}) {
    const std::string_view value = string_at(*after, field);
    if (!value.empty() && value != string_at(*before, field))
      problems.invalid(cat("metadata.", field), json::value(value), "field is immutable");
  }
  if (!has(*before, "deletionTimestamp")) return;
  std::set<std::string, std::less<>> known;
  each_string(*before, "finalizers", "",
              [&](std::string_view name, const std::string&) { known.emplace(name); });
  each_string(*after, "finalizers", "", [&](std::string_view name, const std::string&) {
    if (!known.contains(name))
      problems.forbidden("metadata.finalizers",
                         cat("no new finalizers can be added if the object is being deleted, "
                             "found new finalizers []string{\"",
                             name, "\"}"));
  });
}

}  // namespace fairlead::controlplane
