#include "base/clock.h"

#include <ctime>

#include "base/text.h"

namespace fairlead {
namespace {

// The number of exactly `count` digits at `at`.
std::optional<int> digits(std::string_view text, size_t at, size_t count, int low, int high) {
  if (at + count > text.size() || text[at] == '-') return std::nullopt;
  const auto number = parse_int(text.substr(at, count), low, high);
  if (!number) return std::nullopt;
  return static_cast<int>(*number);
}

// "Z", "+02:00" or "-07:30", east of UTC.
std::optional<std::chrono::minutes> zone_offset(std::string_view text) {
  if (text == "Z" || text == "z") return std::chrono::minutes(0);
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  const auto hours = digits(text, 1, 2, 0, 23), minutes = digits(text, 4, 2, 0, 59);
  if (!hours || !minutes) return std::nullopt;
  return std::chrono::minutes((text[0] == '-' ? -1 : 1) * (*hours * 60 + *minutes));
}

// Takes ".678" off the front of `text`.
std::optional<std::chrono::nanoseconds> take_fraction(std::string_view& text) {
  if (!text.starts_with('.')) return std::chrono::nanoseconds(0);
  const size_t count = std::min(text.find_first_not_of("0123456789", 1), text.size()) - 1;
  if (count == 0 || count > 9) return std::nullopt;
  std::string fraction(text.substr(1, count));
  fraction.resize(9, '0');
  text.remove_prefix(1 + count);
  return std::chrono::nanoseconds(parse_int(fraction, 0).value_or(0));
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc));
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  const auto year = digits(text, 0, 4, 1970, 2200);
  const auto month = digits(text, 5, 2, 1, 12), day = digits(text, 8, 2, 1, 31);
  const auto hour = digits(text, 11, 2, 0, 23), minute = digits(text, 14, 2, 0, 59);
  const auto second = digits(text, 17, 2, 0, 60);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':') return std::nullopt;
  if (text[10] != 'T' && text[10] != 't') return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  std::string_view rest = text.substr(19);
  const auto fraction = take_fraction(rest);
  const auto offset = zone_offset(rest);
  if (!date.ok() || !fraction || !offset) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second) + *fraction - *offset;
}

}  // namespace fairlead
