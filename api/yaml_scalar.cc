#include "api/yaml_scalar.h"

#include <cfloat>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr std::string_view digits = "0123456789";

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// Three spellings count: lower, Capital and UPPER; to_lower would take more.
bool spells(std::string_view text, std::initializer_list<std::string_view> words) {
  const std::string lower = to_lower(text);
  if (!is_one_of(lower, words)) return false;
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto uppers = std::count_if(text.begin(), text.end(), is_upper);
  return uppers == 0 || static_cast<size_t>(uppers) == text.size() ||
         (uppers == 1 && is_upper(text.front()));
}

// Go's ParseInt with base 0, after the underscores are gone. 08 is no octal number; it falls
// through to the floats and is 8, also with kubectl.
std::optional<json::value> parse_integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  uint64_t magnitude = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, magnitude, base);
  if (text.empty() || stop != end || error != std::errc()) return std::nullopt;
  constexpr uint64_t limit = uint64_t{1} << 63;
  if (negative) {
    if (magnitude > limit) return std::nullopt;
    return json::value(static_cast<int64_t>(0 - magnitude));
  }
  if (magnitude < limit) return json::value(static_cast<int64_t>(magnitude));
  return json::value(magnitude);
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view text) {
  const auto take_digits = [&] {
    const size_t count = std::min(text.find_first_not_of(digits), text.size());
    text.remove_prefix(count);
    return count;
  };
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  const size_t whole = take_digits();
  size_t fraction = 0;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits();
  }
  if (whole + fraction == 0) return false;
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (take_digits() == 0) return false;
  }
  return text.empty();
}

// Out of range is left to be a string, as with Go.
std::optional<json::value> parse_float(std::string_view text) {
  if (!looks_like_float(text)) return std::nullopt;
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  // Go writes 1e3 as 1000, so that it also serves where an integer is expected.
  if (std::trunc(number) == number && std::fabs(number) < 9e15) {
    return json::value(static_cast<int64_t>(number));
  }
  return json::value(number);
}

}  // namespace

std::optional<json::value> resolve_plain(std::string_view text) {
  if (text.empty() || text == "~" || spells(text, {"null"})) return json::value(nullptr);
  if (spells(text, {"y", "yes", "true", "on"})) return json::value(true);
  if (spells(text, {"n", "no", "false", "off"})) return json::value(false);
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) return std::nullopt;
  const std::string_view unsigned_text = text[0] == '-' || text[0] == '+' ? text.substr(1) : text;
  if (unsigned_text.starts_with('.') && spells(unsigned_text.substr(1), {"inf"})) {
    return std::nullopt;
  }
  if (digits.find(text[0]) != std::string_view::npos || unsigned_text.size() < text.size() ||
      text[0] == '.') {
    std::string plain(text);
    std::erase(plain, '_');
    if (auto number = parse_integer(plain)) return number;
    if (auto number = parse_float(plain)) return number;
  }
  return json::value(json::string_view(text.data(), text.size()));
}

}  // namespace fairlead::api
