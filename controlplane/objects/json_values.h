// Small questions about JSON values that patches, admission and allocation share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/json.h"

namespace fairlead::controlplane {

// Equal as JSON (RFC 6902 4.6): numbers by their value, objects without regard to order.
bool same_value(const json::value& a, const json::value& b);
size_t depth_of(const json::value& value);      // a scalar has none
size_t count_values(const json::value& value);  // itself and everything in it

inline std::string_view view(const json::string& text) { return {text.data(), text.size()}; }
inline std::string_view view(json::string_view text) { return {text.data(), text.size()}; }

// A member as the type that is asked for; a value of another type counts as absent.
const json::object* object_at(const json::object& object, std::string_view key);
const json::array* array_at(const json::object& object, std::string_view key);
std::optional<int64_t> integer_at(const json::object& object, std::string_view key);
std::optional<bool> bool_at(const json::object& object, std::string_view key);
std::string_view string_at(const json::object& object, std::string_view key);  // "" when absent

std::optional<int64_t> as_integer(const json::value& value);

// The member, made an empty object (array) when it is absent or of another type. Like object[key],
// making a new member ends references to the object's other members; these do not for present ones.
json::object& make_object(json::object& object, std::string_view key);
json::array& make_array(json::object& object, std::string_view key);

// Sets the member only when it is absent or null.
void default_to(json::object& object, std::string_view key, json::value value);

bool has(const json::object& object, std::string_view key);  // present and not null

}  // namespace fairlead::controlplane
