#include "api/reader.h"

#include "base/text.h"

namespace fairlead::api {
namespace {

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// Field values go into messages and logs: short, and without control characters.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  out += text.size() > 80 ? "...'" : "'";
  return out;
}

}  // namespace

std::string_view type_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "?";
}

Reader::Reader(const json::value& document, std::string& error)
    : object_(document.if_object()), error_(&error) {
  if (object_ == nullptr) fail("", cat("expected an object, found ", type_name(document)));
}

// After an error every field is absent, so that one mistake is reported once.
const json::value* Reader::member(std::string_view field) const {
  if (object_ == nullptr || failed()) return nullptr;
  const json::value* value = object_->if_contains({field.data(), field.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

// Built only when something is wrong; reading costs no path.
std::string Reader::path() const {
  std::string out = parent_ == nullptr ? std::string() : parent_->path();
  if (!field_.empty()) {
    if (!out.empty()) out += '.';
    out += field_;
  }
  if (index_ >= 0) out += cat('[', index_, ']');
  return out;
}

void Reader::fail(std::string_view field, std::string_view problem) const {
  if (failed()) return;
  std::string where = path();
  if (!field.empty() && !where.empty() && field.front() != '[') where += '.';
  where += field;
  *error_ = where.empty() ? std::string(problem) : cat(where, ": ", problem);
}

void Reader::fail_type(std::string_view field, std::string_view expected,
                       const json::value& got) const {
  fail(field, cat("expected ", expected, ", found ", type_name(got)));
}

std::string Reader::string(std::string_view field) const {
  const json::value* value = member(field);
  if (value == nullptr) return {};
  if (const json::string* text = value->if_string()) return std::string(view(*text));
  fail_type(field, "a string", *value);
  return {};
}

bool Reader::boolean(std::string_view field, bool absent) const {
  const json::value* value = member(field);
  if (value == nullptr) return absent;
  if (const bool* flag = value->if_bool()) return *flag;
  fail_type(field, "true or false", *value);
  return absent;
}

// JSON has one number type. 80.0 is refused as the API server refuses it, and numbers beyond int64
// are reported as out of range rather than as ill-typed.
int64_t Reader::integer(std::string_view field, int64_t low, int64_t high, int64_t absent) const {
  const json::value* value = member(field);
  if (value == nullptr) return absent;
  if (const int64_t* number = value->if_int64()) {
    if (*number >= low && *number <= high) return *number;
    fail(field, cat(*number, " is not in ", low, "..", high));
  } else if (value->is_uint64()) {
    fail(field, cat(value->get_uint64(), " is not in ", low, "..", high));
  } else {
    fail_type(field, "an integer", *value);
  }
  return absent;
}

IntOrString Reader::int_or_string(std::string_view field, int32_t low, int32_t high) const {
  const json::value* value = member(field);
  if (value != nullptr && value->is_string()) return string(field);
  return static_cast<int32_t>(integer(field, low, high));
}

// A null value is an empty string, as Go decodes it.
StringMap Reader::string_map(std::string_view field) const {
  StringMap out;
  each_member(field, [&](std::string_view key, const json::value& value) {
    if (value.is_null()) {
      out.emplace(key, "");
    } else if (const json::string* text = value.if_string()) {
      out.emplace(key, view(*text));
    } else {
      fail_type(cat(field, '[', key, ']'), "a string", value);
    }
  });
  return out;
}

// `where` names the entry, "ports[2]", for an error about the entry itself.
void Reader::each_value(
    std::string_view field,
    const std::function<void(const json::value&, std::string_view)>& visit) const {
  const json::value* value = member(field);
  if (value == nullptr) return;
  const json::array* array = value->if_array();
  if (array == nullptr) return fail_type(field, "a list", *value);
  for (size_t i = 0; i < array->size() && !failed(); ++i) {
    visit((*array)[i], cat(field, '[', i, ']'));
  }
}

std::vector<std::string> Reader::strings(std::string_view field) const {
  std::vector<std::string> out;
  each_value(field, [&](const json::value& value, std::string_view where) {
    if (const json::string* text = value.if_string()) {
      out.emplace_back(view(*text));
    } else {
      fail_type(where, "a string", value);
    }
  });
  return out;
}

std::vector<Ip> Reader::ips(std::string_view field) const {
  std::vector<Ip> out;
  each_value(field, [&](const json::value& value, std::string_view where) {
    const json::string* text = value.if_string();
    if (text == nullptr) return fail_type(where, "an IP address", value);
    if (const auto ip = Ip::parse(view(*text))) {
      out.push_back(*ip);
    } else {
      fail(where, cat(quoted(view(*text)), " is not an IP address"));
    }
  });
  return out;
}

std::optional<Ip> Reader::ip(std::string_view field) const {
  const std::string text = string(field);
  if (text.empty()) return std::nullopt;
  const auto ip = Ip::parse(text);
  if (!ip) fail(field, cat(quoted(text), " is not an IP address"));
  return ip;
}

Protocol Reader::protocol(std::string_view field) const {
  const std::string text = string(field);
  if (text.empty()) return Protocol::tcp;
  const auto protocol = parse_protocol(text);
  if (!protocol) fail(field, cat(quoted(text), " is not TCP, UDP or SCTP"));
  return protocol.value_or(Protocol::tcp);
}

// The child points to this reader for its path: it must not outlive it.
Reader Reader::object(std::string_view field) const {
  const json::value* value = member(field);
  if (value != nullptr && !value->is_object()) fail_type(field, "an object", *value);
  return Reader(*this, field, -1, value == nullptr ? nullptr : value->if_object());
}

void Reader::each(std::string_view field, const std::function<void(const Reader&)>& visit) const {
  int index = 0;
  each_value(field, [&](const json::value& value, std::string_view where) {
    if (!value.is_object()) return fail_type(where, "an object", value);
    visit(Reader(*this, field, index++, value.if_object()));
  });
}

void Reader::each_member(
    std::string_view field,
    const std::function<void(std::string_view, const json::value&)>& visit) const {
  const json::value* value = member(field);
  if (value == nullptr) return;
  const json::object* object = value->if_object();
  if (object == nullptr) return fail_type(field, "an object", *value);
  for (const auto& [key, item] : *object) {
    if (!failed()) visit({key.data(), key.size()}, item);
  }
}

}  // namespace fairlead::api
