// JSON values are Boost.JSON's, under our own name: api/ owns the library, other rooms say json::.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead {

namespace json = boost::json;

// Text to value. Limits: depth 64 (as the API server's), whole text one value. The error says the
// byte offset and what was wrong. Numbers that are no finite double are errors. Of duplicate keys
// the last one wins.
Result<json::value> parse_json(std::string_view text, json::storage_ptr storage = {},
                               size_t* error_offset = nullptr);
inline constexpr size_t max_json_depth = 64;

// The paths ("spec.ports[0].name") of keys that their object already had, in text order and at most
// 100 of them: what strict field validation reports. Text that is no JSON gives those before the
// error.
std::vector<std::string> duplicate_fields(std::string_view text);

// A member of an object by path: find(value, "metadata", "name"); nullptr when absent or when a
// step is not an object. No allocation.
const json::value* find(const json::value& value, std::string_view key);
template <class... Keys>
const json::value* find(const json::value& value, std::string_view key, Keys... rest) {
  const json::value* member = find(value, key);
  return member == nullptr ? nullptr : find(*member, rest...);
}
// The string at a path, or "".
template <class... Keys>
std::string_view find_string(const json::value& value, Keys... keys) {
  const json::value* member = find(value, keys...);
  if (member == nullptr || !member->is_string()) return {};
  return {member->get_string().data(), member->get_string().size()};
}

}  // namespace fairlead
