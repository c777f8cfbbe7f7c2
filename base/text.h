// Small text helpers that more than one room needs. All of them are pure.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace fairlead {

inline void append(std::string& out, std::string_view part) { out += part; }
inline void append(std::string& out, char part) { out += part; }
template <class N>
  requires(std::integral<N> && !std::same_as<N, char> && !std::same_as<N, bool>)
void append(std::string& out, N number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// cat("port ", 70000, " is out of range"): strings, characters and integers joined.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::string out;
  (append(out, parts), ...);
  return out;
}

// "a,b,,c" by ',' -> {"a","b","","c"}. Views into `text`.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);  // spaces, tabs, CR, LF
std::string to_lower(std::string_view ascii);
bool equals_ignore_case(std::string_view a, std::string_view b);  // ASCII only

// The whole of `text` as a decimal number in [low, high], or nothing.
std::optional<int64_t> parse_int(std::string_view text, int64_t low = INT64_MIN,
                                 int64_t high = INT64_MAX);

// "1m30s", "250ms", "2h" (Go's time.ParseDuration without fractions) to milliseconds. As in Go, at
// most what an int64 of nanoseconds holds: 292 years.
std::optional<int64_t> parse_duration_ms(std::string_view text);

std::string base64_encode(std::string_view bytes);
// RFC 4648, padding required. Ends of lines mean nothing, as in Go: base64(1) writes them.
std::optional<std::string> base64_decode(std::string_view text);
std::string hex_encode(std::string_view bytes);

}  // namespace fairlead
