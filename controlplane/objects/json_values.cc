#include "controlplane/objects/json_values.h"

#include <algorithm>

namespace fairlead::controlplane {
namespace {

bool same_number(const json::value& a, const json::value& b) {
  const auto left = as_integer(a), right = as_integer(b);
  if (left && right) return *left == *right;
  return a.to_number<double>() == b.to_number<double>();
}

const json::value* member(const json::object& object, std::string_view key) {
  return object.if_contains(key);
}

// object[key] makes room first, even for a key that is there, and so moves every other member.
json::value& slot(json::object& object, std::string_view key) {
  json::value* present = object.if_contains(key);
  return present != nullptr ? *present : object[key];
}

}  // namespace

bool same_value(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return same_number(a, b);
  if (a.kind() != b.kind()) return false;
  if (a.is_array()) {
    const json::array &left = a.get_array(), &right = b.get_array();
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), same_value);
  }
  if (!a.is_object()) return a == b;
  const json::object &left = a.get_object(), &right = b.get_object();
  if (left.size() != right.size()) return false;
  return std::all_of(left.begin(), left.end(), [&](const auto& entry) {
    const json::value* other = right.if_contains(entry.key());
    return other != nullptr && same_value(entry.value(), *other);
  });
}

size_t depth_of(const json::value& value) {
  size_t deepest = 0;
  if (value.is_object()) {
    for (const auto& entry : value.get_object())
      deepest = std::max(deepest, depth_of(entry.value()));
    return deepest + 1;
  }
  if (!value.is_array()) return 0;
  for (const json::value& item : value.get_array()) deepest = std::max(deepest, depth_of(item));
  return deepest + 1;
}

size_t count_values(const json::value& value) {
  size_t count = 1;
  if (value.is_object())
    for (const auto& entry : value.get_object()) count += count_values(entry.value());
  if (value.is_array())
    for (const json::value& item : value.get_array()) count += count_values(item);
  return count;
}

const json::object* object_at(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value == nullptr ? nullptr : value->if_object();
}

const json::array* array_at(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value == nullptr ? nullptr : value->if_array();
}

std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_uint64() && value.get_uint64() <= static_cast<uint64_t>(INT64_MAX))
    return static_cast<int64_t>(value.get_uint64());
  return std::nullopt;
}

std::optional<int64_t> integer_at(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value == nullptr ? std::nullopt : as_integer(*value);
}

std::optional<bool> bool_at(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  if (value == nullptr || !value->is_bool()) return std::nullopt;
  return value->get_bool();
}

std::string_view string_at(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value == nullptr || !value->is_string() ? std::string_view() : view(value->get_string());
}

json::object& make_object(json::object& object, std::string_view key) {
  json::value& value = slot(object, key);
  if (!value.is_object()) value = json::object();
  return value.get_object();
}

json::array& make_array(json::object& object, std::string_view key) {
  json::value& value = slot(object, key);
  if (!value.is_array()) value = json::array();
  return value.get_array();
}

void default_to(json::object& object, std::string_view key, json::value value) {
  if (!has(object, key)) slot(object, key) = std::move(value);
}

bool has(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value != nullptr && !value->is_null();
}

}  // namespace fairlead::controlplane
