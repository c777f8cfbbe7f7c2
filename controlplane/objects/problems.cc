#include "controlplane/objects/problems.h"

#include <algorithm>

#include "base/text.h"
#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

// As Go prints the value: lists of strings as `[]string{"a"}`, the rest as JSON does.
std::string shown(const json::value& value) {
  if (value.is_null()) return "null";
  if (!value.is_array()) return json::serialize(value);
  std::string out = "[]string{";
  for (const json::value& item : value.get_array()) {
    if (!item.is_string()) return json::serialize(value);
    if (out.back() != '{') out += ", ";
    out += json::serialize(item);
  }
  return out + "}";
}

}  // namespace

std::string FieldError::to_string() const { return cat(field, ": ", detail); }

std::string to_string(const std::vector<FieldError>& errors) {
  if (errors.size() == 1) return errors[0].to_string();
  std::vector<std::string> parts;
  for (const FieldError& error : errors) parts.push_back(error.to_string());
  return cat("[", join(parts, ", "), "]");
}

void Problems::add(std::string field, std::string_view reason, std::string_view title,
                   const json::value* value, std::string_view detail) {
  std::string text(title);
  if (value != nullptr) text += cat(": ", shown(*value));
  if (!detail.empty()) text += cat(": ", detail);
  errors_.push_back({std::move(field), std::string(reason), std::move(text)});
}

void Problems::required(std::string field, std::string_view detail) {
  add(std::move(field), "FieldValueRequired", "Required value", nullptr, detail);
}

void Problems::invalid(std::string field, const json::value& value, std::string_view detail) {
  add(std::move(field), "FieldValueInvalid", "Invalid value", &value, detail);
}

void Problems::invalid(const std::string& field, std::string_view value,
                       const std::vector<std::string>& complaints) {
  for (const std::string& complaint : complaints) invalid(field, json::value(value), complaint);
}

void Problems::not_supported(std::string field, std::string_view value,
                             std::initializer_list<std::string_view> supported) {
  std::string list;
  for (std::string_view item : supported) list += cat(list.empty() ? "\"" : ", \"", item, "\"");
  const json::value shown_value(value);
  add(std::move(field), "FieldValueNotSupported", "Unsupported value", &shown_value,
      cat("supported values: ", list));
}

void Problems::duplicate(std::string field, const json::value& value) {
  add(std::move(field), "FieldValueDuplicate", "Duplicate value", &value, {});
}

void Problems::not_found(std::string field, const json::value& value) {
  add(std::move(field), "FieldValueNotFound", "Not found", &value, {});
}

void Problems::forbidden(std::string field, std::string_view detail) {
  add(std::move(field), "FieldValueForbidden", "Forbidden", nullptr, detail);
}

void Problems::too_long(std::string field, size_t max_bytes) {
  add(std::move(field), "FieldValueTooLong", "Too long", nullptr,
      cat("may not be more than ", max_bytes, " bytes"));
}

void Problems::internal(std::string field, std::string_view detail) {
  add(std::move(field), "InternalError", "Internal error", nullptr, detail);
}

void Problems::too_many(std::string field, size_t count, size_t max) {
  const json::value number(count);
  add(std::move(field), "FieldValueTooMany", "Too many", &number,
      cat("must have at most ", max, " items"));
}

void Problems::one_of(const std::string& field, std::string_view value,
                      std::initializer_list<std::string_view> supported) {
  if (value.empty())
    required(field);
  else if (std::find(supported.begin(), supported.end(), value) == supported.end())
    not_supported(field, value, supported);
}

std::string indexed(std::string_view field, size_t index) { return cat(field, "[", index, "]"); }

}  // namespace fairlead::controlplane
