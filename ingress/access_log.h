// One line of JSON for each request. Workers gather lines and write many at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "net/fd.h"

namespace fairlead::ingress {

struct AccessEntry {
  WallTime time;  // when the head was complete
  Duration duration{};
  std::string_view client, method, host, target, user_agent, referer, request_id;
  std::string_view ingress_namespace, ingress, service, upstream, note;
  int version = 11;
  int status = 0;
  uint64_t bytes_sent = 0;      // to the client, heads included
  uint64_t bytes_received = 0;  // from the client: head and body
  unsigned tries = 0;           // endpoints asked
  bool tls = false;
};

// The open file. Thread-safe. When the file is renamed or removed (log rotation), reopen_if_moved()
// opens a new one.
class AccessLogFile {
 public:
  // "-" is standard output.
  static Result<std::unique_ptr<AccessLogFile>> open(const std::string& path);

  void write(std::string_view lines);  // whole lines; blocks as the file does
  void reopen_if_moved();
  uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }

 private:
  explicit AccessLogFile(std::string path) : path_(std::move(path)) {}
  Result<void> reopen();

  std::string path_;
  std::mutex mutex_;
  net::Fd fd_;
  std::atomic<uint64_t> failures_{0};  // writes that the file refused
};

// Belongs to one worker; writes to the shared file when it is large or flush() is called.
class AccessLog {
 public:
  explicit AccessLog(AccessLogFile* file) : file_(file) {}  // null: no log
  ~AccessLog() { flush(); }
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  bool enabled() const { return file_ != nullptr; }
  void add(const AccessEntry& entry);
  void flush();
  void maintain();  // flush(), and follow a renamed file: for a slow timer

 private:
  void add_time(WallTime time);

  AccessLogFile* file_;
  std::string lines_;
  int64_t second_ = -1;      // of second_text_
  std::string second_text_;  // "2026-01-02T03:04:05"
};

}  // namespace fairlead::ingress
