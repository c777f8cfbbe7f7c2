// Structured log lines, `time level component message key=value ...`, to one sink.
//
// A Log is a small value: pass it by const& or copy it, name it for a component with named(). The
// sink must outlive every Log made from it. Thread-safe: one line is one write.
#pragma once

#include <functional>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.h"

namespace fairlead {

enum class LogLevel { debug, info, warn, error };

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view line) = 0;  // `line` has no newline
};

// Appends to a file descriptor that it does not own (2 = standard error).
class FdLogSink final : public LogSink {
 public:
  explicit FdLogSink(int fd) : fd_(fd) {}
  void write(LogLevel level, std::string_view line) override;

 private:
  int fd_;
};

class Log {
 public:
  struct Field {
    std::string_view key;
    std::string value;
    Field(std::string_view k, std::string_view v) : key(k), value(v) {}
    template <std::integral N>
    Field(std::string_view k, N v) : key(k), value(cat(v)) {}
  };
  using Fields = std::initializer_list<Field>;

  explicit Log(LogSink& sink, LogLevel level = LogLevel::info, std::string component = {})
      : sink_(&sink), level_(level), component_(std::move(component)) {}

  Log named(std::string component) const { return Log(*sink_, level_, std::move(component)); }
  bool enabled(LogLevel level) const { return level >= level_; }

  void debug(std::string_view message, Fields fields = {}) const {
    write(LogLevel::debug, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) const {
    write(LogLevel::info, message, fields);
  }
  void warn(std::string_view message, Fields fields = {}) const {
    write(LogLevel::warn, message, fields);
  }
  void error(std::string_view message, Fields fields = {}) const {
    write(LogLevel::error, message, fields);
  }

 private:
  void write(LogLevel level, std::string_view message, Fields fields) const;

  LogSink* sink_;
  LogLevel level_;
  std::string component_;
};

// A sink that keeps its lines, for tests.
class MemoryLogSink final : public LogSink {
 public:
  void write(LogLevel level, std::string_view line) override;
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

}  // namespace fairlead
