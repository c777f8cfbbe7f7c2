#include "api/names.h"

#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr std::string_view lower_digits = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view alphanumerics =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

// Names come from files: an error must not carry control characters to a terminal.
std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out + (text.size() > 80 ? "...'" : "'");
}

// Every character from `inside` or `extra`, the first and the last from `inside`. Not empty.
bool made_of(std::string_view text, std::string_view inside, std::string_view extra) {
  for (const char c : text) {
    if (inside.find(c) == std::string_view::npos && extra.find(c) == std::string_view::npos) {
      return false;
    }
  }
  return !text.empty() && inside.find(text.front()) != std::string_view::npos &&
         inside.find(text.back()) != std::string_view::npos;
}

bool is_label(std::string_view text) {
  return text.size() <= 63 && made_of(text, lower_digits, "-");
}

}  // namespace

std::string dns_label_problem(std::string_view text) {
  if (is_label(text)) return {};
  return cat(shown(text),
             " is not a DNS label: at most 63 of a-z, 0-9 and '-', not '-' first or "
             "last");
}

std::string dns_1035_label_problem(std::string_view text) {
  if (is_label(text) && (text.front() < '0' || text.front() > '9')) return {};
  return cat(shown(text),
             " is not a DNS label: at most 63 of a-z, 0-9 and '-', a letter first and "
             "not '-' last");
}

std::string dns_subdomain_problem(std::string_view text) {
  if (text.size() > 253) return cat(shown(text), " is longer than 253 characters");
  for (const std::string_view label : split(text, '.')) {
    if (!made_of(label, lower_digits, "-")) {
      return cat(shown(text), " is not a DNS name: labels of a-z, 0-9 and '-' joined by '.'");
    }
  }
  return {};
}

std::string wildcard_subdomain_problem(std::string_view text) {
  if (text.starts_with("*.") && dns_subdomain_problem(text.substr(2)).empty()) return {};
  return cat(shown(text), " is not a wildcard name: '*.' and then a DNS name");
}

std::string label_key_problem(std::string_view text) {
  std::string_view name = text;
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    name = text.substr(slash + 1);
    if (std::string problem = dns_subdomain_problem(text.substr(0, slash)); !problem.empty()) {
      return problem;
    }
  }
  if (name.size() <= 63 && made_of(name, alphanumerics, "-_.")) return {};
  return cat(shown(text),
             " is not a key: [DOMAIN/]NAME, a name of at most 63 letters, digits, "
             "'-', '_' and '.'");
}

std::string label_value_problem(std::string_view text) {
  if (text.empty() || (text.size() <= 63 && made_of(text, alphanumerics, "-_."))) return {};
  return cat(shown(text), " is not a label value: at most 63 letters, digits, '-', '_' and '.'");
}

}  // namespace fairlead::api
