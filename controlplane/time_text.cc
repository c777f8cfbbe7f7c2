#include "controlplane/time_text.h"

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

// "3h20m": the larger unit, and the smaller one unless it is zero.
std::string two(int64_t large, char large_unit, int64_t small, char small_unit) {
  return small == 0 ? cat(large, large_unit) : cat(large, large_unit, small, small_unit);
}

}  // namespace

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
