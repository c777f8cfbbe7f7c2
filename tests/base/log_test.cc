#include "base/log.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/result.h"

namespace fairlead {
namespace {

std::string without_time(const std::string& line) { return line.substr(line.find(' ') + 1); }

TEST(Log, WritesLevelComponentMessageAndFields) {
  MemoryLogSink sink;
  const Log log = Log(sink).named("dns");
  log.info("listening", {{"address", "10.0.0.1:53"}, {"workers", 2}});
  EXPECT_EQ(without_time(sink.text()), "INFO dns: listening address=10.0.0.1:53 workers=2\n");
}

TEST(Log, QuotesWhatWouldBreakALine) {
  MemoryLogSink sink;
  Log(sink).warn("two\nlines",
                 {{"a", "x y"}, {"b", "q\"q"}, {"c", ""}, {"d", "n\nn"}, {"e", "\x01"}});
  EXPECT_EQ(without_time(sink.text()),
            "WARN two lines a=\"x y\" b=\"q\\\"q\" c=\"\" d=\"n\\nn\" e=\" \"\n");
}

TEST(Log, LeavesOutLowerLevels) {
  MemoryLogSink sink;
  const Log log(sink, LogLevel::warn);
  log.debug("a");
  log.info("b");
  log.error("c");
  EXPECT_EQ(without_time(sink.text()), "ERROR c\n");
  EXPECT_FALSE(log.named("x").enabled(LogLevel::info));
}

TEST(Clock, PrintsRfc3339) {
  EXPECT_EQ(to_rfc3339(WallTime(std::chrono::seconds(0))), "1970-01-01T00:00:00Z");
  FakeClock clock;
  EXPECT_EQ(to_rfc3339(clock.wall()), "2023-11-14T22:13:20Z");
  clock.advance(std::chrono::minutes(1));
  EXPECT_EQ(to_rfc3339(clock.wall()), "2023-11-14T22:14:20Z");
}

Result<int> half(int number) {
  if (number % 2 != 0) return fail("odd");
  return number / 2;
}

Result<int> quarter(int number) {
  FL_TRY(const int first, half(number));
  FL_TRY(const int second, half(first));
  return second;
}

TEST(Result, TryPassesTheErrorOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_EQ(fail("file:3", Error{"bad"}).error().message, "file:3: bad");
}

TEST(CheckDeathTest, NamesTheCondition) { EXPECT_DEATH(CHECK(1 == 2), "CHECK\\(1 == 2\\) failed"); }

TEST(Log, ControlCharactersReachNoTerminal) {
  MemoryLogSink sink;
  Log(sink).info("a\x1b[2Jb\x7f\tc\r\nd", {{"k", "x\x1b]0;title\x07y"}});
  EXPECT_EQ(without_time(sink.text()), "INFO a [2Jb  c  d k=\"x ]0;title y\"\n");
}

}  // namespace
}  // namespace fairlead
