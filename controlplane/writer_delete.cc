#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr int64_t kDefaultGraceSeconds = 30;
constexpr int64_t kMaxGraceSeconds = INT32_MAX;  // 68 years: deletionTimestamp stays a time
constexpr std::string_view kImmortalNamespaces[] = {"default", "kube-system", "kube-public"};

// How long a node's agent gets to stop the object: 0 when no agent has to confirm.
int64_t wanted_grace(const Resource& row, const json::value& document,
                     const DeleteOptions& options) {
  if (!row.graceful) return 0;
  std::string_view phase = find_string(document, "status", "phase");
  if (find_string(document, "spec", "nodeName").empty() || phase == "Succeeded" ||
      phase == "Failed")
    return 0;
  if (options.grace_s) return std::clamp<int64_t>(*options.grace_s, 0, kMaxGraceSeconds);
  const json::value* own = find(document, "spec", "terminationGracePeriodSeconds");
  if (own == nullptr || !own->is_int64()) return kDefaultGraceSeconds;
  // Negative counts as one second (Kubernetes 1.32 registry/core/pod strategy).
  return own->get_int64() < 0 ? 1 : std::min(own->get_int64(), kMaxGraceSeconds);
}

Outcome<std::monostate> check_preconditions(const Target& target, const ObjectPtr& head,
                                            const json::value& document,
                                            const DeleteOptions& options) {
  const Resource& row = *target.resource;
  std::string_view uid = find_string(document, "metadata", "uid");
  if (!options.uid.empty() && options.uid != uid)
    return std::unexpected(conflict(row, target.name,
                                    cat("Precondition failed: UID in precondition: ", options.uid,
                                        ", UID in object meta: ", uid)));
  if (!options.resource_version.empty() && options.resource_version != cat(head->revision))
    return std::unexpected(conflict(
        row, target.name,
        cat("Precondition failed: ResourceVersion in precondition: ", options.resource_version,
            ", ResourceVersion in object meta: ", head->revision)));
  if (row.kind != "Namespace") return {};
  if (std::ranges::find(kImmortalNamespaces, target.name) != std::end(kImmortalNamespaces))
    return std::unexpected(forbidden(row, target.name, "this namespace may not be deleted"));
  if (deleting(document) && held_by_finalizers(document))
    return std::unexpected(conflict(
        row, target.name,
        "The system is ensuring all content is removed from this namespace.  Upon completion, "
        "this namespace will automatically be purged by the system."));
  return {};
}

// Marks an object that somebody still has to clean up after.
void mark_deleted(const Resource& row, json::value& document, int64_t grace_s, WallTime now) {
  bool first = !deleting(document);
  json::object& metadata = metadata_of(document);
  metadata["deletionTimestamp"] = to_rfc3339(now + std::chrono::seconds(grace_s));
  if (row.kind == "Namespace") {
    json::value& status = document.get_object()["status"];
    if (!status.is_object()) status = json::object{};
    status.get_object()["phase"] = "Terminating";
  } else {
    metadata["deletionGracePeriodSeconds"] = grace_s;
  }
  if (first && row.has_generation) bump_generation(document);
}

}  // namespace

void Writer::remove(const Target& target, const DeleteOptions& options, Done done) {
  const Resource& row = *target.resource;
  ObjectPtr head = store_.head(row, target.ns, target.name);
  if (!head) return done(std::unexpected(not_found(row, target.name)));
  json::value document = document_of(*head);
  if (auto checked = check_preconditions(target, head, document, options); !checked)
    return done(std::unexpected(checked.error()));
  int64_t grace_s = wanted_grace(row, document, options);
  Written result;
  if (grace_s == 0 && !held_by_finalizers(document)) {
    if (!options.dry_run) return drop(target, head, document, std::move(result), std::move(done));
    result.removed = true;
    result.object = head;
    return done(std::move(result));
  }
  // A second deletion may shorten the wait, never lengthen it.
  if (deleting(document) && grace_s >= grace_of(document)) {
    result.object = head;
    if (options.dry_run) return done(std::move(result));
    store_.settle([result = std::move(result),
                   done = std::move(done)](const Result<ObjectPtr>& outcome) mutable {
      if (!outcome) return done(std::unexpected(internal_error(outcome.error().message)));
      done(std::move(result));
    });
    return;
  }
  mark_deleted(row, document, grace_s, clock_.wall());
  if (options.dry_run) {
    result.object = make_stored(row, std::move(document), head->revision);
    return done(std::move(result));
  }
  put(target, head->revision, std::move(document), std::move(result), std::move(done));
}

void Writer::remove_selected(const Resource& resource, const Selection& selection,
                             const DeleteOptions& options,
                             std::move_only_function<void(Outcome<std::vector<ObjectPtr>>)> done) {
  std::vector<ObjectPtr> selected;
  for (const ObjectPtr& object : store_.objects(resource))
    if (selection.matches(*object)) selected.push_back(object);
  // The log keeps the order of writes: when settle() comes back, each of these is durable. One
  // that is refused is one that somebody else has just deleted.
  for (const ObjectPtr& object : selected)
    remove({&resource, object->ns, object->name, ""}, options, [](const Outcome<Written>&) {});
  store_.settle([selected = std::move(selected),
                 done = std::move(done)](const Result<ObjectPtr>& outcome) mutable {
    if (!outcome) return done(std::unexpected(internal_error(outcome.error().message)));
    done(std::move(selected));
  });
}

}  // namespace fairlead::controlplane
