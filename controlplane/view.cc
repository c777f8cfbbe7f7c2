#include "controlplane/view.h"

#include "base/check.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kInitialEventsEnd = "k8s.io/initial-events-end";

struct MediaRange {
  std::string_view type, as, group, version;
};

MediaRange parse_range(std::string_view text) {
  MediaRange out;
  bool first = true;
  for (std::string_view part : split(text, ';')) {
    part = trim(part);
    if (std::exchange(first, false))
      out.type = part;
    else if (part.starts_with("as="))
      out.as = part.substr(3);
    else if (part.starts_with("g="))
      out.group = part.substr(2);
    else if (part.starts_with("v="))
      out.version = part.substr(2);
  }
  return out;
}

json::value parsed(const StoredObject& object) {
  Result<json::value> document = parse_json(object.text);
  CHECK(document.has_value());  // we serialized it
  return *std::move(document);
}

std::string meta_version(const View& view) { return cat("meta.k8s.io/", view.version); }

json::object metadata_only(const View& view, json::value document) {
  json::object out{{"kind", "PartialObjectMetadata"}, {"apiVersion", meta_version(view)}};
  out["metadata"] = document.get_object()["metadata"];
  return out;
}

json::array column_definitions(const Resource& resource) {
  json::array out;
  for (const Column& column : resource.columns)
    out.push_back(json::object{{"name", json::string_view(column.name)},
                               {"type", json::string_view(column.type)},
                               {"format", json::string_view(column.format)},
                               {"description", ""},
                               {"priority", column.priority}});
  return out;
}

json::object table_row(const View& view, const Resource& resource, const StoredObject& object,
                       WallTime now) {
  json::value document = parsed(object);
  json::object row{{"cells", table_cells(resource, document, now)}};
  if (view.include == View::Include::object)
    row["object"] = std::move(document);
  else if (view.include == View::Include::metadata)
    row["object"] = metadata_only(view, std::move(document));
  return row;
}

json::object table(const View& view, const Resource& resource, bool columns) {
  json::object out{{"kind", "Table"}, {"apiVersion", meta_version(view)}};
  out["metadata"] = json::object{};
  if (columns)
    out["columnDefinitions"] = column_definitions(resource);
  else
    out["columnDefinitions"] = nullptr;
  return out;
}

json::object list_metadata(const ListPage& page) {
  json::object out{{"resourceVersion", cat(page.revision)}};
  if (!page.continue_token.empty()) out["continue"] = page.continue_token;
  if (page.remaining_items) out["remainingItemCount"] = *page.remaining_items;
  return out;
}

std::string shown_version(const View& view, const Resource& resource) {
  return view.old_version ? cat(resource.group, "/", resource.old_version)
                          : resource.group_version();
}

// Texts say the stored version; an old client gets its own.
void append_object(std::string& out, const View& view, const Resource& resource,
                   const StoredObject& object) {
  if (!view.old_version) {
    out += object.text;
    return;
  }
  json::value document = parsed(object);
  document.get_object()["apiVersion"] = shown_version(view, resource);
  out += json::serialize(document);
}

std::string event_line(EventType type, std::string_view object) {
  std::string out;
  out.reserve(object.size() + 40);
  append(out, "{\"type\":\"");
  append(out, to_string(type));
  append(out, "\",\"object\":");
  append(out, object);
  append(out, "}\n");
  return out;
}

// The head of a list document up to the items, whose texts are appended as they are.
std::string object_list(const View& view, const Resource& resource, const ListPage& page) {
  std::string out =
      cat("{\"kind\":\"", resource.kind, "List\",\"apiVersion\":\"", shown_version(view, resource),
          "\",\"metadata\":", json::serialize(list_metadata(page)), ",\"items\":[");
  size_t bytes = out.size() + 2;
  for (const ObjectPtr& item : page.items) bytes += item->text.size() + 1;
  out.reserve(bytes);
  for (size_t i = 0; i < page.items.size(); ++i) {
    if (i > 0) out += ',';
    append_object(out, view, resource, *page.items[i]);
  }
  out += "]}";
  return out;
}

}  // namespace

Outcome<View> negotiate(std::string_view accept, const Query& query) {
  View view;
  std::string_view include = query.get("includeObject");
  if (include == "None")
    view.include = View::Include::none;
  else if (include == "Object")
    view.include = View::Include::object;
  else if (!include.empty() && include != "Metadata")
    return std::unexpected(
        bad_request(cat("includeObject: \"", include, "\" is not None, Metadata or Object")));
  if (trim(accept).empty()) return view;
  for (std::string_view entry : split(accept, ',')) {
    MediaRange range = parse_range(trim(entry));
    if (range.type != "application/json" && range.type != "application/*" && range.type != "*/*")
      continue;
    if (range.as.empty()) return view;
    if (range.group != "meta.k8s.io" || (range.version != "v1" && range.version != "v1beta1"))
      continue;
    view.version = range.version == "v1" ? "v1" : "v1beta1";
    if (range.as == "Table")
      view.form = View::Form::table;
    else if (range.as == "PartialObjectMetadata" || range.as == "PartialObjectMetadataList")
      view.form = View::Form::metadata;
    else
      continue;
    return view;
  }
  return std::unexpected(not_acceptable());
}

std::string_view to_string(EventType type) {
  switch (type) {
    case EventType::added:
      return "ADDED";
    case EventType::modified:
      return "MODIFIED";
    case EventType::deleted:
      return "DELETED";
    case EventType::bookmark:
      return "BOOKMARK";
    case EventType::error:
      return "ERROR";
  }
  return {};
}

std::string render_object(const View& view, const Resource& resource, const StoredObject& object,
                          WallTime now) {
  if (view.form == View::Form::object) {
    std::string out;
    append_object(out, view, resource, object);
    return out;
  }
  if (view.form == View::Form::metadata)
    return json::serialize(metadata_only(view, parsed(object)));
  json::object out = table(view, resource, true);
  out["metadata"] = json::object{{"resourceVersion", cat(object.revision)}};
  out["rows"] = json::array{table_row(view, resource, object, now)};
  return json::serialize(out);
}

std::string render_list(const View& view, const Resource& resource, const ListPage& page,
                        WallTime now) {
  if (view.form == View::Form::object) return object_list(view, resource, page);
  json::array rows;
  rows.reserve(page.items.size());
  bool as_table = view.form == View::Form::table;
  for (const ObjectPtr& item : page.items)
    rows.push_back(as_table ? table_row(view, resource, *item, now)
                            : metadata_only(view, parsed(*item)));
  json::object out = as_table ? table(view, resource, true)
                              : json::object{{"kind", "PartialObjectMetadataList"},
                                             {"apiVersion", meta_version(view)}};
  out["metadata"] = list_metadata(page);
  out[as_table ? "rows" : "items"] = std::move(rows);
  return json::serialize(out);
}

std::string render_event(const View& view, const Resource& resource, EventType type,
                         const StoredObject& object, bool first, WallTime now) {
  if (view.form != View::Form::table)
    return event_line(type, render_object(view, resource, object, now));
  json::object out = table(view, resource, first);
  out["metadata"] = json::object{{"resourceVersion", cat(object.revision)}};
  out["rows"] = json::array{table_row(view, resource, object, now)};
  return event_line(type, json::serialize(out));
}

std::string render_bookmark(const View& view, const Resource& resource, uint64_t revision,
                            bool initial_events_end) {
  json::object metadata{{"resourceVersion", cat(revision)}, {"creationTimestamp", nullptr}};
  if (initial_events_end)
    metadata["annotations"] = json::object{{json::string_view(kInitialEventsEnd), "true"}};
  json::object out;
  if (view.form == View::Form::object) {
    out["kind"] = json::string_view(resource.kind);
    out["apiVersion"] = shown_version(view, resource);
    out["metadata"] = std::move(metadata);
  } else if (view.form == View::Form::metadata) {
    out["kind"] = "PartialObjectMetadata";
    out["apiVersion"] = meta_version(view);
    out["metadata"] = std::move(metadata);
  } else {
    out = table(view, resource, false);
    out["metadata"] = json::object{{"resourceVersion", cat(revision)}};
    // A client reads the revision from the row's object, so a bookmark is a row without cells.
    json::object partial{{"kind", "PartialObjectMetadata"}, {"apiVersion", meta_version(view)}};
    partial["metadata"] = std::move(metadata);
    json::array cells(resource.columns.size(), nullptr);
    out["rows"] = json::array{json::object{{"cells", cells}, {"object", partial}}};
  }
  return event_line(EventType::bookmark, json::serialize(out));
}

std::string render_error(const ApiError& error) {
  return event_line(EventType::error, status_json(error));
}

}  // namespace fairlead::controlplane
