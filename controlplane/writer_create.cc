#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr int kNameAttempts = 8;

}  // namespace

Outcome<std::monostate> Writer::name_new(Target& target, json::value& document) const {
  json::object& metadata = metadata_of(document);
  std::string ns(find_string(document, "metadata", "namespace"));
  if (!ns.empty() && ns != target.ns)
    return std::unexpected(bad_request(
        cat("the namespace of the provided object does not match the namespace sent on the "
            "request (\"",
            ns, "\", \"", target.ns, "\")")));
  if (target.resource->namespaced) metadata["namespace"] = target.ns;
  target.name = find_string(document, "metadata", "name");
  std::string base(find_string(document, "metadata", "generateName"));
  for (int attempt = 0; target.name.empty() && !base.empty() && attempt < kNameAttempts;
       ++attempt) {
    std::string name = generated_name(base);
    if (!store_.head(*target.resource, target.ns, name)) target.name = name;
  }
  if (target.name.empty())
    return std::unexpected(invalid(*target.resource, "",
                                   {{"metadata.name", "FieldValueRequired",
                                     "Required value: name or generateName is required"}}));
  metadata["name"] = target.name;
  return {};
}

void Writer::create(Target target, json::value document, WriteOptions options, Done done) {
  const Resource& row = *target.resource;
  Written result;
  result.created = true;
  if (auto checked = check_body(target, document, options, result.warnings); !checked)
    return done(std::unexpected(checked.error()));
  if (!find_string(document, "metadata", "resourceVersion").empty())
    return done(
        std::unexpected(bad_request("resourceVersion should not be set on objects to be created")));
  if (auto named = name_new(target, document); !named) return done(std::unexpected(named.error()));
  if (auto checked = check_namespace(target); !checked)
    return done(std::unexpected(checked.error()));

  stamp_new(document, clock_.wall(), row.has_generation);
  Admitted admitted = admit_create(row.group_version(), row.kind, std::move(document));
  result.warnings.insert(result.warnings.end(), admitted.warnings.begin(), admitted.warnings.end());
  if (!admitted.errors.empty())
    return done(std::unexpected(invalid(row, target.name, std::move(admitted.errors))));
  if (store_.head(row, target.ns, target.name))
    return done(std::unexpected(already_exists(row, target.name)));
  if (row.kind == "Service")
    if (auto errors = allocator_->assign(admitted.object, nullptr); !errors.empty())
      return done(std::unexpected(invalid(row, target.name, std::move(errors))));
  if (options.dry_run) {
    if (row.kind == "Service") allocator_->revert(admitted.object, nullptr);
    result.object = make_stored(row, std::move(admitted.object), 0);
    return done(std::move(result));
  }
  put(target, 0, std::move(admitted.object), std::move(result), std::move(done));
}

}  // namespace fairlead::controlplane
