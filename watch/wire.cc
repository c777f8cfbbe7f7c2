#include "watch/wire.h"

#include "base/text.h"
#include "net/http.h"

namespace fairlead::watch {
namespace {

using Type = WatchEvent::Type;

constexpr size_t max_message = 300;

// Text of a server, for a log line or a status page.
std::string cleaned(std::string_view text) {
  std::string out(text.substr(0, max_message));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return out;
}

std::optional<Type> parse_type(std::string_view text) {
  if (text == "ADDED") return Type::added;
  if (text == "MODIFIED") return Type::modified;
  if (text == "DELETED") return Type::deleted;
  if (text == "BOOKMARK") return Type::bookmark;
  if (text == "ERROR") return Type::error;
  return std::nullopt;
}

// Servers leave apiVersion and kind out of list items, but not out of events.
bool is_other_kind(const api::KindInfo& kind, const json::value& object) {
  const std::string_view name = find_string(object, "kind");
  const std::string_view version = find_string(object, "apiVersion");
  return (!name.empty() && name != kind.name) || (!version.empty() && version != kind.api_version);
}

// The key is read apart, because a bad field elsewhere must not hide whose version to keep.
BadObject describe_bad(const api::KindInfo& kind, const json::value& object, const Error& error) {
  BadObject bad{.key = {}, .error = error.message};
  if (const auto meta = api::decode_meta(kind, object)) bad.key = meta->key;
  return bad;
}

// Servers differ in where they put the 410: in code, or only in reason (Expired, Gone).
void read_error(const json::value& status, WatchEvent& event) {
  const json::value* code = find(status, "code");
  if (code != nullptr && code->is_int64() && code->get_int64() >= 100 && code->get_int64() < 600) {
    event.code = static_cast<int>(code->get_int64());
  }
  const std::string_view reason = find_string(status, "reason");
  if (reason == "Expired" || reason == "Gone") event.code = 410;
  event.message = cleaned(find_string(status, "message"));
  if (event.message.empty()) event.message = cat("code ", event.code);
}

}  // namespace

std::string_view to_string(Type type) {
  switch (type) {
    case Type::added:
      return "added";
    case Type::modified:
      return "modified";
    case Type::deleted:
      return "deleted";
    case Type::bookmark:
      return "bookmark";
    case Type::error:
      return "error";
  }
  return "?";
}

// The JSON lives in an arena on the stack for usual sizes and is gone with it; only structs remain.
Result<WatchEvent> parse_event(api::Kind kind, std::string_view line) {
  unsigned char scratch[16 * 1024];
  json::monotonic_resource arena(scratch, sizeof scratch);
  const auto value = parse_json(line, &arena);
  if (!value) return fail(cat("not a watch event: ", value.error().message));
  const auto type = parse_type(find_string(*value, "type"));
  const json::value* object = find(*value, "object");
  if (!type || object == nullptr || !object->is_object()) {
    return fail("not a watch event: expected {\"type\": ..., \"object\": {...}}");
  }
  WatchEvent event;
  event.type = *type;
  if (*type == Type::error) {
    read_error(*object, event);
    return event;
  }
  const api::KindInfo& row = api::info(kind);
  if (is_other_kind(row, *object)) {
    return fail(cat("an event of kind '", cleaned(find_string(*object, "kind")), "' in a watch of ",
                    row.plural));
  }
  event.resource_version = find_string(*object, "metadata", "resourceVersion");
  if (event.resource_version.empty()) {
    return fail("an event whose object has no metadata.resourceVersion");
  }
  if (*type == Type::bookmark) return event;
  if (const auto meta = api::decode_meta(row, *object)) event.key = meta->key;
  if (*type == Type::deleted) {
    if (event.key.name.empty()) return fail("a deletion of an object without a name");
    return event;
  }
  auto decoded = api::decode(kind, *object);
  if (decoded) {
    event.object = *std::move(decoded);
  } else {
    event.bad = describe_bad(row, *object, decoded.error());
  }
  return event;
}

// The DOM of one page at a time, in an arena; the text itself is never held.
struct ListParser::Impl {
  explicit Impl(api::Kind the_kind) : kind(the_kind), parser({}, options()) {
    parser.reset(&arena);
  }
  static json::parse_options options() {
    json::parse_options options;
    options.max_depth = max_json_depth;
    return options;
  }

  api::Kind kind;
  json::monotonic_resource arena{64 * 1024};
  json::stream_parser parser;
  size_t bytes = 0;
};

ListParser::ListParser(api::Kind kind) : impl_(std::make_unique<Impl>(kind)) {}
ListParser::~ListParser() = default;

Result<void> ListParser::feed(std::string_view bytes) {
  impl_->bytes += bytes.size();
  if (too_large()) return fail(cat("a list page of more than ", max_page_bytes, " bytes"));
  json::error_code error;
  impl_->parser.write(bytes.data(), bytes.size(), error);
  if (error) return fail(cat("not a list: invalid JSON: ", error.message()));
  return {};
}

bool ListParser::too_large() const { return impl_->bytes > max_page_bytes; }

Result<ListPage> ListParser::finish() {
  json::error_code error;
  impl_->parser.finish(error);
  if (error) return fail(cat("not a list: invalid JSON: ", error.message()));
  const json::value value = impl_->parser.release();
  const api::KindInfo& row = api::info(impl_->kind);
  const std::string_view kind = find_string(value, "kind");
  if (kind != cat(row.name, "List")) {
    return fail(cat("expected a ", row.name, "List, found kind '", cleaned(kind), '\''));
  }
  ListPage page;
  page.resource_version = find_string(value, "metadata", "resourceVersion");
  page.continue_token = find_string(value, "metadata", "continue");
  if (page.resource_version.empty()) return fail("a list without metadata.resourceVersion");
  const json::value* items = find(value, "items");
  if (items == nullptr || items->is_null()) return page;
  if (!items->is_array()) return fail("a list whose items are not a list");
  for (const json::value& item : items->get_array()) {
    if (auto object = api::decode(impl_->kind, item)) {
      page.objects.push_back(*std::move(object));
    } else {
      page.bad.push_back(describe_bad(row, item, object.error()));
    }
  }
  return page;
}

std::string status_message(int http_status, std::string_view body) {
  std::string out = cat(http_status, ' ', net::reason_phrase(http_status));
  const auto value = parse_json(body);
  const std::string_view message = value ? find_string(*value, "message") : std::string_view();
  if (!message.empty()) out += cat(": ", cleaned(message));
  return out;
}

}  // namespace fairlead::watch
