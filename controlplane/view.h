// The forms in which an answer can show objects, as the Accept header chooses: whole objects, a
// Table for people, or their metadata only.
// Source: apiserver pkg/endpoints/handlers/negotiation; meta.k8s.io/v1 Table.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "controlplane/api_error.h"
#include "controlplane/resource.h"
#include "controlplane/route.h"
#include "controlplane/store.h"

namespace fairlead::controlplane {

struct View {
  enum class Form { object, table, metadata };
  enum class Include { none, metadata, object };  // what a Table's rows carry
  Form form = Form::object;
  std::string_view version = "v1";  // of meta.k8s.io, for tables and metadata
  Include include = Include::metadata;
  bool old_version = false;  // whole objects say Resource::old_version

  friend bool operator==(const View&, const View&) = default;
};

// The first acceptable entry of the header; 406 when there is none.
Outcome<View> negotiate(std::string_view accept, const Query& query);

enum class EventType { added, modified, deleted, bookmark, error };
std::string_view to_string(EventType type);

std::string render_object(const View& view, const Resource& resource, const StoredObject& object,
                          WallTime now);

struct ListPage {
  std::vector<ObjectPtr> items;
  uint64_t revision = 0;
  std::string continue_token;               // "" on the last page
  std::optional<uint64_t> remaining_items;  // only without selectors
};
std::string render_list(const View& view, const Resource& resource, const ListPage& page,
                        WallTime now);

// One line of a watch stream, with its newline. `first`: a Table's column definitions go along.
std::string render_event(const View& view, const Resource& resource, EventType type,
                         const StoredObject& object, bool first, WallTime now);
std::string render_bookmark(const View& view, const Resource& resource, uint64_t revision,
                            bool initial_events_end);
std::string render_error(const ApiError& error);

// The cells of one row, in the order of Resource::columns.
json::array table_cells(const Resource& resource, const json::value& object, WallTime now);

}  // namespace fairlead::controlplane
