// Operations as kubectl looks for them: the group, version and kind of each, and for PATCH the
// query parameters that say whether the server validates fields and knows dry runs.
#include "base/text.h"
#include "controlplane/objects/openapi_parts.h"

namespace fairlead::controlplane {
namespace {

struct Parameter {
  std::string_view name, type, description;
};

constexpr Parameter kPretty = {"pretty", "string", "'true': the answer is indented."};
constexpr Parameter kDryRun = {"dryRun", "string", "'All': check everything, store nothing."};
constexpr Parameter kManager = {"fieldManager", "string", "Name of who makes this change."};
constexpr Parameter kValidation = {"fieldValidation", "string",
                                   "Unknown or duplicate fields: Ignore, Warn or Strict."};
constexpr Parameter kForce = {"force", "boolean", "Take over fields that others manage."};

constexpr Parameter kListOptions[] = {
    {"allowWatchBookmarks", "boolean", "Ask for BOOKMARK events."},
    {"continue", "string", "Token of the page before."},
    {"fieldSelector", "string", "Only objects whose fields match."},
    {"labelSelector", "string", "Only objects whose labels match."},
    {"limit", "integer", "At most that many objects in a page."},
    {"resourceVersion", "string", "Where to start, or how fresh the answer must be."},
    {"resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."},
    {"sendInitialEvents", "boolean", "Begin the watch with the present state."},
    {"timeoutSeconds", "integer", "End the watch after that time."},
    {"watch", "boolean", "Stream changes instead of listing."}};

json::object parameter(const Parameter& row, std::string_view in, bool v3) {
  json::object out{{"name", row.name}, {"in", in}, {"description", row.description}};
  if (in == "path") out["required"] = true;
  const json::object type{{"type", row.type}, {"uniqueItems", true}};
  if (v3)
    out["schema"] = type;
  else
    for (const auto& member : type) out[member.key()] = member.value();
  return out;
}

class PathWriter {
 public:
  PathWriter(const OpenApiKind& kind, bool v3) : kind_(kind), v3_(v3) {}

  void write(json::object& paths) const {
    const std::string root = kind_.group.empty() ? cat("/api/", kind_.version)
                                                 : cat("/apis/", kind_.group, "/", kind_.version);
    const std::string scope = kind_.namespaced ? root + "/namespaces/{namespace}" : root;
    const std::string collection = cat(scope, "/", kind_.plural), item = collection + "/{name}";
    if (kind_.namespaced)
      paths[cat(root, "/", kind_.plural)] =
          json::object{{"get", operation("list", "listAll", {}, std::begin(kListOptions),
                                         std::end(kListOptions))}};
    json::object& many = path(paths, collection, false);
    many["get"] = operation("list", "list", {}, std::begin(kListOptions), std::end(kListOptions));
    many["post"] = operation("post", "create", {kPretty, kDryRun, kManager, kValidation});
    many["delete"] = operation("deletecollection", "deleteCollection", {kPretty, kDryRun});
    write_item(path(paths, item, true), "");
    if (kind_.has_status) write_item(path(paths, item + "/status", true), "Status");
  }

 private:
  json::object& path(json::object& paths, const std::string& name, bool named) const {
    json::array shared;
    if (kind_.namespaced)
      shared.push_back(parameter({"namespace", "string", "The namespace."}, "path", v3_));
    if (named) shared.push_back(parameter({"name", "string", "The object's name."}, "path", v3_));
    paths[name] = json::object{{"parameters", std::move(shared)}};
    return paths[name].get_object();
  }

  void write_item(json::object& item, std::string_view suffix) const {
    item["get"] = operation("get", cat("read", suffix), {kPretty});
    item["put"] =
        operation("put", cat("replace", suffix), {kPretty, kDryRun, kManager, kValidation});
    item["patch"] =
        operation("patch", cat("patch", suffix), {kPretty, kDryRun, kManager, kValidation, kForce});
    if (suffix.empty()) item["delete"] = operation("delete", "delete", {kPretty, kDryRun});
  }

  json::object operation(std::string_view action, std::string_view verb,
                         std::initializer_list<Parameter> first, const Parameter* more = nullptr,
                         const Parameter* end = nullptr) const {
    json::array parameters;
    for (const Parameter& row : first) parameters.push_back(parameter(row, "query", v3_));
    for (; more != end; ++more) parameters.push_back(parameter(*more, "query", v3_));
    return {
        {"operationId", cat(verb, kind_.kind, kind_.version)},
        {"parameters", std::move(parameters)},
        {"responses", json::object{{"200", json::object{{"description", "OK"}}}}},
        {"x-kubernetes-action", action},
        {"x-kubernetes-group-version-kind",
         json::object{{"group", kind_.group}, {"kind", kind_.kind}, {"version", kind_.version}}}};
  }

  const OpenApiKind& kind_;
  bool v3_;
};

}  // namespace

json::object openapi_paths(std::span<const OpenApiKind> kinds, bool v3) {
  json::object paths;
  for (const OpenApiKind& kind : kinds) PathWriter(kind, v3).write(paths);
  return paths;
}

}  // namespace fairlead::controlplane
