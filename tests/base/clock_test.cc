#include "base/clock.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

std::optional<int64_t> ns(std::string_view text) {
  const auto time = parse_rfc3339(text);
  if (!time) return std::nullopt;
  return std::chrono::nanoseconds(time->time_since_epoch()).count();
}

TEST(Rfc3339, IsRead) {
  struct Case {
    std::string_view text;
    int64_t want_ns;
  };
  constexpr int64_t second = 1'000'000'000;
  const Case cases[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"2001-09-09T01:46:40Z", second * second},
      {"2001-09-09t01:46:40z", second * second},
      {"2001-09-09T03:46:40+02:00", second * second},
      {"2001-09-08T18:16:40-07:30", second * second},
      {"2001-09-09T01:46:40.25Z", second * second + 250'000'000},
      {"2001-09-09T01:46:40.123456789Z", second * second + 123'456'789},
      {"2001-09-09T03:46:40.000000001+02:00", second * second + 1},
      {"2016-12-31T23:59:60Z", 1'483'228'800 * second},  // a leap second
      {"2024-02-29T00:00:00Z", 1'709'164'800 * second},
      {"2200-12-31T23:59:59Z", 7'289'654'399 * second},
  };
  for (const Case& c : cases) EXPECT_EQ(ns(c.text), c.want_ns) << c.text;
}

TEST(Rfc3339, OtherTextIsRefused) {
  for (const char* bad :
       {"", "now", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z",
        "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z", "2026-01-02T24:00:00Z", "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05.12", "2026-01-02T03:04:05+2:00", "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+02:60", "2026-01-02T03:04:05+-1:00", "2026-01-02T03:04:05ZZ",
        "2026/01/02T03:04:05Z", "x026-01-02T03:04:05Z", "20x1-09-09T01:46:40Z",
        "-001-09-09T01:46:40Z", "2026--1-02T03:04:05Z",
        // Beyond what the difference of two times can say.
        "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z",
        "9999-01-02T03:04:05Z"}) {
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
  }
}

TEST(Rfc3339, IsWrittenAsItIsRead) {
  for (const char* text : {"1970-01-01T00:00:00Z", "2026-02-28T23:59:59Z", "2200-12-31T23:59:59Z"})
    EXPECT_EQ(to_rfc3339(*parse_rfc3339(text)), text);
}

TEST(FakeTime, MovesOnlyWhenItIsTold) {
  FakeClock clock;
  const auto mono = clock.now();
  const auto wall = clock.wall();
  EXPECT_EQ(clock.now(), mono);
  clock.advance(std::chrono::milliseconds(1500));
  EXPECT_EQ(clock.now() - mono, std::chrono::milliseconds(1500));
  EXPECT_EQ(clock.wall() - wall, std::chrono::milliseconds(1500));
}

}  // namespace
}  // namespace fairlead
