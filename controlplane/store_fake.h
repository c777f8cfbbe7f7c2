// A log in memory that fails on demand, for tests of everything above the disk.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/store_log.h"

namespace fairlead::controlplane {

// What outlives one "process": give the same disk to the next FakeLog to restart on it.
struct FakeDisk {
  std::mutex mutex;
  std::vector<LogRecord> records;
  uint64_t compacted = 0;
  uint64_t transactions = 0;
  std::string failure;           // not empty: append() fails with this text
  std::atomic<int> delay_ms{0};  // how long one append() takes

  void fail_with(std::string text) {
    std::lock_guard lock(mutex);
    failure = std::move(text);
  }
};

class FakeLog final : public StoreLog {
 public:
  explicit FakeLog(std::shared_ptr<FakeDisk> disk) : disk_(std::move(disk)) {}

  Result<Position> load(const std::function<Result<void>(LogRecord)>& each) override {
    std::lock_guard lock(disk_->mutex);
    for (const LogRecord& record : disk_->records) FL_TRY_VOID(each(record));
    return Position{disk_->records.empty() ? disk_->compacted : disk_->records.back().revision,
                    disk_->compacted};
  }

  Result<void> append(std::span<const LogRecord> records) override {
    if (int delay = disk_->delay_ms; delay > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    std::lock_guard lock(disk_->mutex);
    if (!disk_->failure.empty()) return fail(disk_->failure);
    disk_->records.insert(disk_->records.end(), records.begin(), records.end());
    ++disk_->transactions;
    return {};
  }

  Result<void> compact(uint64_t revision) override {
    std::lock_guard lock(disk_->mutex);
    std::vector<uint64_t> superseded;
    for (const LogRecord& record : disk_->records)
      if (record.revision <= revision && record.previous != 0)
        superseded.push_back(record.previous);
    std::erase_if(disk_->records, [&](const LogRecord& record) {
      return std::ranges::find(superseded, record.revision) != superseded.end() ||
             (!record.value && record.revision <= revision);
    });
    disk_->compacted = revision;
    return {};
  }

 private:
  std::shared_ptr<FakeDisk> disk_;
};

}  // namespace fairlead::controlplane
