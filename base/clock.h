// The one door to time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead {

using Duration = std::chrono::nanoseconds;
using MonoTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonoTime now() const = 0;
  virtual WallTime wall() const = 0;
};

class RealClock final : public Clock {
 public:
  MonoTime now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

class FakeClock final : public Clock {
 public:
  MonoTime now() const override { return MonoTime(Duration(elapsed_ns_.load())); }
  WallTime wall() const override {
    return WallTime(std::chrono::duration_cast<WallTime::duration>(
        Duration(1'700'000'000'000'000'000 + elapsed_ns_.load())));
  }
  void advance(Duration by) { elapsed_ns_ += by.count(); }

 private:
  std::atomic<int64_t> elapsed_ns_{0};
};

std::string to_rfc3339(WallTime time);  // "2026-01-02T03:04:05Z", whole seconds, UTC

// RFC 3339 section 5.6: "2026-01-02T03:04:05.678Z", "2026-01-02t05:04:05+02:00"; at most nine
// digits of a fraction. Nothing for other text and for years outside 1970 to 2200, so that the
// difference of two results fits a Duration.
std::optional<WallTime> parse_rfc3339(std::string_view text);

}  // namespace fairlead
