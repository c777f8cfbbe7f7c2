#include "controlplane/time_text.h"

#include <ctime>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

std::optional<int> digits(std::string_view text, size_t at, size_t count, int low, int high) {
  if (at + count > text.size()) return std::nullopt;
  std::optional<int64_t> number = parse_int(text.substr(at, count), low, high);
  if (!number || text[at] == '-' || text[at] == '+') return std::nullopt;
  return static_cast<int>(*number);
}

// "Z", "+02:00" or "-07:30" in seconds east of UTC.
std::optional<int64_t> zone_offset(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  auto hours = digits(text, 1, 2, 0, 23);
  auto minutes = digits(text, 4, 2, 0, 59);
  if (!hours || !minutes) return std::nullopt;
  return (text[0] == '-' ? -60 : 60) * (*hours * 60 + *minutes);
}

// "3h20m": the larger unit, and the smaller one unless it is zero.
std::string two(int64_t large, char large_unit, int64_t small, char small_unit) {
  return small == 0 ? cat(large, large_unit) : cat(large, large_unit, small, small_unit);
}

}  // namespace

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  auto year = digits(text, 0, 4, 1, 9999), month = digits(text, 5, 2, 1, 12);
  auto day = digits(text, 8, 2, 1, 31), hour = digits(text, 11, 2, 0, 23);
  auto minute = digits(text, 14, 2, 0, 59), second = digits(text, 17, 2, 0, 60);
  if (!year || !month || !day || !hour || !minute || !second || text[4] != '-' || text[7] != '-' ||
      (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  std::string_view rest = text.substr(19);
  int64_t nanos = 0;
  if (rest.starts_with('.')) {
    size_t end = rest.find_first_not_of("0123456789", 1);
    if (end == std::string_view::npos || end == 1 || end > 10) return std::nullopt;
    std::string fraction(rest.substr(1, end - 1));
    fraction.resize(9, '0');
    nanos = parse_int(fraction, 0).value_or(0);
    rest.remove_prefix(end);
  }
  std::optional<int64_t> offset = zone_offset(rest);
  if (!offset) return std::nullopt;
  std::tm fields{};
  fields.tm_year = *year - 1900;
  fields.tm_mon = *month - 1;
  fields.tm_mday = *day;
  fields.tm_hour = *hour;
  fields.tm_min = *minute;
  fields.tm_sec = *second;
  int64_t seconds = timegm(&fields) - *offset;
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::seconds(seconds) +
                                                                 std::chrono::nanoseconds(nanos)));
}

std::string short_duration(int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return cat(seconds, 's');
  int64_t minutes = seconds / 60;
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return cat(minutes, 'm');
  int64_t hours = minutes / 60;
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return cat(hours, 'h');
  int64_t days = hours / 24;
  if (days < 8) return two(days, 'd', hours % 24, 'h');
  if (days < 2 * 365) return cat(days, 'd');
  int64_t years = days / 365;
  if (years < 8) return two(years, 'y', days % 365, 'd');
  return cat(years, 'y');
}

std::string age(std::string_view timestamp, WallTime now) {
  std::optional<WallTime> then = parse_rfc3339(timestamp);
  if (!then) return "<unknown>";
  return short_duration(std::chrono::duration_cast<std::chrono::seconds>(now - *then).count());
}

}  // namespace fairlead::controlplane
