#include "controlplane/writer.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/time_text.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {

json::value document_of(const StoredObject& object) {
  Result<json::value> document = parse_json(object.text);
  CHECK(document.has_value());  // we serialized it
  return *std::move(document);
}

std::string quoted_list(const std::vector<std::string>& problems) { return join(problems, ", "); }

Writer::Writer(Store& store, const ResourceTable& resources, const ObjectRules& rules,
               const AllocatorConfig& addresses, const Clock& clock)
    : store_(store),
      resources_(resources),
      rules_(rules),
      addresses_(addresses),
      allocator_(std::in_place, addresses),
      clock_(clock) {
  // What the undone writes took or gave back is forgotten with them.
  store_.on_rollback([this] { adopt_services(); });
}

void Writer::adopt_services() {
  allocator_.emplace(addresses_);
  const Resource* services = resources_.find("", "v1", "services");
  if (services == nullptr) return;
  for (const ObjectPtr& service : store_.objects(*services))
    allocator_->adopt(document_of(*service));
}

Outcome<std::monostate> Writer::check_body(const Target& target, json::value& document,
                                           const WriteOptions& options,
                                           std::vector<std::string>& warnings) const {
  const Resource& row = *target.resource;
  std::string version = row.group_version();
  if (!document.is_object())
    return std::unexpected(bad_request(cat("the body is not a JSON object of kind ", row.kind)));
  json::object& object = document.get_object();
  if (object["apiVersion"].is_null()) object["apiVersion"] = version;
  if (object["kind"].is_null()) object["kind"] = json::string(row.kind);
  std::string_view given_version = find_string(document, "apiVersion");
  std::string_view given_kind = find_string(document, "kind");
  if (given_version != version || given_kind != row.kind)
    return std::unexpected(
        bad_request(cat("the object provided is of kind ", given_kind, " in ", given_version,
                        ", but the path ", "takes ", row.kind, " in ", version)));

  std::string about =
      cat(row.kind, " in version \"", row.version, "\" cannot be handled as a ", row.kind, ": ");
  if (auto problems = rules_.type_problems(version, row.kind, document); !problems.empty())
    return std::unexpected(bad_request(about + quoted_list(problems)));
  if (options.validation != FieldValidation::ignore) {
    std::vector<std::string> problems = rules_.strict_problems(version, row.kind, document);
    for (const std::string& field : options.duplicates)
      problems.push_back(cat("duplicate field \"", field, "\""));
    if (!problems.empty() && options.validation == FieldValidation::strict)
      return std::unexpected(
          bad_request(cat(about, "strict decoding error: ", quoted_list(problems))));
    warnings.insert(warnings.end(), problems.begin(), problems.end());
  }
  rules_.prune(version, row.kind, document);
  metadata_of(document);
  return {};
}

Outcome<std::monostate> Writer::check_namespace(const Target& target) const {
  if (!target.resource->namespaced) return {};
  const Resource* namespaces = resources_.find("", "v1", "namespaces");
  CHECK(namespaces != nullptr);
  ObjectPtr home = store_.head(*namespaces, "", target.ns);
  if (!home) return std::unexpected(not_found(*namespaces, target.ns));
  if (!deleting(document_of(*home))) return {};
  ApiError error = forbidden(*target.resource, target.name,
                             cat("unable to create new content in namespace ", target.ns,
                                 " because it is being terminated"));
  error.causes = {{"metadata.namespace", "NamespaceTerminating",
                   cat("namespace ", target.ns, " is being terminated")}};
  return std::unexpected(std::move(error));
}

void Writer::put(const Target& target, uint64_t expected, json::value document, Written result,
                 Done done) {
  bool stored = store_.put(
      *target.resource, expected, std::move(document),
      [result = std::move(result), done = std::move(done)](Result<ObjectPtr> outcome) mutable {
        if (!outcome) return done(std::unexpected(internal_error(outcome.error().message)));
        result.object = *outcome;
        done(std::move(result));
      });
  CHECK(stored);  // the caller has just read the head, on this very thread
}

void Writer::drop(const Target& target, const ObjectPtr& head, const json::value& document,
                  Written result, Done done) {
  if (target.resource->kind == "Service") allocator_->release(document);
  result.removed = true;
  bool stored = store_.remove(
      *target.resource, head->revision, target.ns, target.name,
      [result = std::move(result), done = std::move(done)](Result<ObjectPtr> outcome) mutable {
        if (!outcome) return done(std::unexpected(internal_error(outcome.error().message)));
        result.object = *outcome;
        done(std::move(result));
      });
  CHECK(stored);
}

void Writer::sweep() {
  for (const Resource& row : resources_.all()) {
    if (row.ttl_s == 0) continue;
    std::vector<Target> old;
    for (const ObjectPtr& object : store_.objects(row)) {
      json::value document = document_of(*object);
      auto made = parse_rfc3339(find_string(document, "metadata", "creationTimestamp"));
      if (!made || clock_.wall() - *made > std::chrono::seconds(row.ttl_s))
        old.push_back({&row, object->ns, object->name, ""});
    }
    for (const Target& target : old) remove(target, {}, [](const Outcome<Written>&) {});
  }
}

}  // namespace fairlead::controlplane
