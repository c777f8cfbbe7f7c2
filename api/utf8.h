// RFC 3629: JSON and YAML are UTF-8, so bytes from elsewhere are checked before they become text.
#pragma once

#include <string>
#include <string_view>

namespace fairlead::api {

// The offset of the first byte that is not UTF-8, or npos.
size_t invalid_utf8(std::string_view text);
inline bool is_utf8(std::string_view text) { return invalid_utf8(text) == std::string_view::npos; }

// The text with U+FFFD in place of each byte that is not UTF-8, as Go writes it into JSON.
std::string to_utf8(std::string_view text);

}  // namespace fairlead::api
