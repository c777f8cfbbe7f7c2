#include "api/quantity.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/text.h"

namespace fairlead::api {
namespace {

struct Suffix {
  std::string_view text;
  double factor;
};

constexpr Suffix suffixes[] = {
    {"", 1},        {"n", 1e-9},    {"u", 1e-6},    {"m", 1e-3},    {"k", 1e3},     {"M", 1e6},
    {"G", 1e9},     {"T", 1e12},    {"P", 1e15},    {"E", 1e18},    {"Ki", 0x1p10}, {"Mi", 0x1p20},
    {"Gi", 0x1p30}, {"Ti", 0x1p40}, {"Pi", 0x1p50}, {"Ei", 0x1p60},
};

// "e3", "E-2": beyond 300 it makes no difference.
std::optional<double> exponent_factor(std::string_view text) {
  if (text.size() < 2 || (text.front() != 'e' && text.front() != 'E')) return std::nullopt;
  const bool negative = text[1] == '-';
  text.remove_prefix(negative || text[1] == '+' ? 2 : 1);
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  const auto power = static_cast<double>(parse_int(text, 0, 300).value_or(300));
  return std::pow(10, negative ? -power : power);
}

std::optional<double> factor_of(std::string_view text) {
  const auto* suffix = std::ranges::find(suffixes, text, &Suffix::text);
  if (suffix != std::end(suffixes)) return suffix->factor;
  return exponent_factor(text);
}

}  // namespace

std::optional<double> parse_quantity(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  double value = 0, place = 1;
  size_t digits = 0;
  bool fraction = false;
  for (; !text.empty(); text.remove_prefix(1)) {
    const char c = text.front();
    if (c == '.' && !fraction) {
      fraction = true;
    } else if (c >= '0' && c <= '9') {
      ++digits;
      if (fraction) place /= 10;
      value = fraction ? value + (c - '0') * place : value * 10 + (c - '0');
    } else {
      break;
    }
  }
  const auto factor = factor_of(text);
  if (digits == 0 || !factor) return std::nullopt;
  return (negative ? -value : value) * *factor;
}

}  // namespace fairlead::api
