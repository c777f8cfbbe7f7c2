// The door to the disk: an append-only log of revisions. One implementation is SQLite
// (store_sqlite.cc), the other a scriptable one in memory (store_fake.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace fairlead::controlplane {

struct LogRecord {
  uint64_t revision = 0;
  uint64_t previous = 0;  // revision of the record that this one supersedes; 0: none
  std::string key;        // "ingresses.networking.k8s.io/default/web"
  std::shared_ptr<const std::string> value;  // JSON; null: the object was deleted
};

// After load(), used by one thread at a time (the store's writer).
class StoreLog {
 public:
  struct Position {
    uint64_t revision = 0;   // of the last record ever written
    uint64_t compacted = 0;  // history up to and including this revision is incomplete
  };

  virtual ~StoreLog() = default;

  // Every retained record in the order of revisions. An error of `each` ends it.
  virtual Result<Position> load(const std::function<Result<void>(LogRecord)>& each) = 0;

  // All of them or none, and on stable storage when it returns success.
  virtual Result<void> append(std::span<const LogRecord> records) = 0;

  // Drops what is superseded or deleted at or before `revision`.
  virtual Result<void> compact(uint64_t revision) = 0;
};

// SQLite in WAL mode with synchronous=FULL. Takes the file for itself: a second process gets an
// error. The file's damage is found here, not later: quick_check runs at each opening.
Result<std::unique_ptr<StoreLog>> open_sqlite_log(const std::string& path);

}  // namespace fairlead::controlplane
