#include "agent/option.h"

#include <algorithm>
#include <limits>

namespace fairlead::agent {
namespace {

constexpr std::pair<std::string_view, LogLevel> log_levels[] = {{"debug", LogLevel::debug},
                                                                {"info", LogLevel::info},
                                                                {"warn", LogLevel::warn},
                                                                {"error", LogLevel::error}};

// Ten years: added to a clock's time, or doubled, it is still one.
constexpr std::chrono::hours longest(87'600);

template <class N>
Result<void> parse_number(std::string_view text, N& out) {
  const int64_t low = std::numeric_limits<N>::min();
  const auto number = parse_int(text, low, std::numeric_limits<N>::max());
  if (!number) {
    return fail(
        cat("'", text, "' is not a number of ", low, " to ", std::numeric_limits<N>::max()));
  }
  out = static_cast<N>(*number);
  return {};
}

// Levenshtein distance, for "did you mean".
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Result<void> parse_setting(std::string_view text, std::string& out) {
  out = text;
  return {};
}

Result<void> parse_setting(std::string_view text, bool& out) {
  if (text != "true" && text != "false") {
    return fail(cat("'", text, "' is neither true nor false"));
  }
  out = text == "true";
  return {};
}

Result<void> parse_setting(std::string_view text, unsigned& out) { return parse_number(text, out); }

Result<void> parse_setting(std::string_view text, int& out) { return parse_number(text, out); }

Result<void> parse_setting(std::string_view text, uint16_t& out) { return parse_number(text, out); }

Result<void> parse_setting(std::string_view text, Duration& out) {
  const auto ms = parse_duration_ms(text);
  if (!ms) return fail(cat("'", text, "' is not a duration such as 500ms, 30s or 1m30s"));
  if (std::chrono::milliseconds(*ms) > longest) {
    return fail(cat("'", text, "' is longer than ", longest.count(), "h"));
  }
  out = std::chrono::milliseconds(*ms);
  return {};
}

Result<void> parse_setting(std::string_view text, LogLevel& out) {
  for (const auto& [name, level] : log_levels) {
    if (name == text) {
      out = level;
      return {};
    }
  }
  return fail(cat("'", text, "' is not a log level: debug, info, warn or error"));
}

Result<void> parse_setting(std::string_view text, SocketAddress& out) {
  FL_TRY(out, SocketAddress::parse(text));
  return {};
}

Result<void> parse_setting(std::string_view text, Ip& out) {
  const auto ip = Ip::parse(text);
  if (!ip) return fail(cat("'", text, "' is not an IP address"));
  out = *ip;
  return {};
}

Result<void> parse_setting(std::string_view text, Cidr& out) {
  const auto cidr = Cidr::parse(text);
  if (!cidr) return fail(cat("'", text, "' is not a network such as 10.96.0.0/12"));
  out = *cidr;
  return {};
}

std::string format_setting(const std::string& value) { return value; }
std::string format_setting(bool value) { return value ? "true" : "false"; }
std::string format_setting(unsigned value) { return cat(value); }
std::string format_setting(int value) { return cat(value); }
std::string format_setting(uint16_t value) { return cat(value); }

std::string format_setting(Duration value) {
  const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(value).count();
  return ms % 1000 == 0 ? cat(ms / 1000, 's') : cat(ms, "ms");
}

std::string format_setting(LogLevel value) {
  return std::string(log_levels[static_cast<size_t>(value)].first);
}

std::string format_setting(const SocketAddress& value) { return value.to_string(); }
std::string format_setting(const Ip& value) { return value.to_string(); }
std::string format_setting(const Cidr& value) { return value.to_string(); }

std::string nearest_name(std::string_view word, const std::vector<std::string_view>& names) {
  const auto best = std::min_element(names.begin(), names.end(), [&](auto a, auto b) {
    return distance(word, a) < distance(word, b);
  });
  if (best == names.end()) return "";
  // Of a short word little would be left: "no" is not meant for "up".
  if (distance(word, *best) > std::min<size_t>(3, word.size() / 2)) return "";
  return cat(": did you mean '", *best, "'?");
}

}  // namespace fairlead::agent
