#include "base/log.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"

namespace fairlead {
namespace {

constexpr std::string_view level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

// A line of a log is one line, and tells a terminal nothing.
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// logfmt: a value with blanks, quotes or control characters is quoted.
void append_value(std::string& out, std::string_view value) {
  const auto plain = [](char c) {
    return !is_control(c) && c != ' ' && c != '"' && c != '=' && c != '\\';
  };
  if (!value.empty() && std::all_of(value.begin(), value.end(), plain)) {
    out += value;
    return;
  }
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += is_control(c) ? ' ' : c;
    }
  }
  out += '"';
}

}  // namespace

void FdLogSink::write(LogLevel, std::string_view line) {
  std::string whole(line);
  whole += '\n';
  // A log that cannot be written has nowhere to say so.
  [[maybe_unused]] const ssize_t written = ::write(fd_, whole.data(), whole.size());
}

void Log::write(LogLevel level, std::string_view message, Fields fields) const {
  if (!enabled(level)) return;
  std::string line = cat(to_rfc3339(std::chrono::system_clock::now()), ' ',
                         level_names[static_cast<int>(level)], ' ');
  if (!component_.empty()) line += component_ + ": ";
  for (const char c : message) line += is_control(c) ? ' ' : c;
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  sink_->write(level, line);
}

void MemoryLogSink::write(LogLevel, std::string_view line) {
  const std::lock_guard lock(mutex_);
  text_ += line;
  text_ += '\n';
}

}  // namespace fairlead
