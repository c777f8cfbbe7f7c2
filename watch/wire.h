// What an API server sends for a list and for a watch, decoded straight into objects
// (Kubernetes API concepts: "Efficient detection of changes", "Retrieving large results sets").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/codec.h"
#include "base/result.h"

namespace fairlead::watch {

// An object of the right kind that could not be decoded. The key may be empty.
struct BadObject {
  api::ObjectKey key;
  std::string error;
};

struct WatchEvent {
  enum class Type { added, modified, deleted, bookmark, error };
  Type type = Type::error;
  std::string resource_version;       // of the object; "" in an error
  std::optional<api::Object> object;  // added, modified
  std::optional<BadObject> bad;       // added, modified, instead of `object`
  api::ObjectKey key;                 // added, modified, deleted
  int code = 0;                       // error: the Status's code, 410 also for reason Expired
  std::string message;                // error
};

std::string_view to_string(WatchEvent::Type type);  // "added"

// One line of a watch. The error means that the line is no event of this kind at all.
Result<WatchEvent> parse_event(api::Kind kind, std::string_view line);

struct ListPage {
  std::string resource_version;
  std::string continue_token;  // "" on the last page
  std::vector<api::Object> objects;
  std::vector<BadObject> bad;
};

// Reads one page as its bytes arrive, without keeping them. Belongs to one thread.
class ListParser {
 public:
  static constexpr size_t max_page_bytes = 64 * 1024 * 1024;

  explicit ListParser(api::Kind kind);
  ~ListParser();

  Result<void> feed(std::string_view bytes);
  bool too_large() const;
  Result<ListPage> finish();  // at the end of the body

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The message of a Status body, or what can be said without one: "403 Forbidden: ...".
std::string status_message(int http_status, std::string_view body);

}  // namespace fairlead::watch
