// Drivers that touch no kernel: for the tests of everything that drives one.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "dataplane/driver.h"

namespace fairlead::dataplane {

// Keeps a table as a kernel would: apply() copies only the entries that were named (all when
// `full`), so that a caller who forgets one is found out by comparing kernel() with its table.
class FakeDriver : public Driver {
 public:
  std::string_view mode() const override { return "fake"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override { return to_text(kernel_); }
  Result<void> cleanup() override;

  const ServiceTable& kernel() const { return kernel_; }
  bool started() const { return started_; }
  size_t applies() const { return applies_; }
  const std::set<api::ObjectKey>& last_changed() const { return last_changed_; }

 protected:
  // Whether writing this entry works; a message when it does not.
  virtual std::string write_error(const api::ObjectKey&) { return {}; }

 private:
  void write(const api::ObjectKey& key, ApplyReport& report);

  ServiceTable kernel_;
  ServiceTable wanted_;               // what the last apply() asked for
  std::set<api::ObjectKey> pending_;  // entries whose write failed
  std::set<api::ObjectKey> last_changed_;
  size_t applies_ = 0;
  bool started_ = false;
};

// A FakeDriver whose start() or writes fail while the test says so.
class FaultyDriver final : public FakeDriver {
 public:
  std::string_view mode() const override { return "faulty"; }
  Result<void> start() override;

  void fail_start(std::string message) { start_error_ = std::move(message); }  // "": works again
  void fail_all(std::string message) { all_error_ = std::move(message); }      // "": works again
  void fail_service(const api::ObjectKey& key) { failing_.insert(key); }
  void heal() { failing_.clear(), all_error_.clear(), start_error_.clear(); }

 private:
  std::string write_error(const api::ObjectKey& key) override;

  std::string start_error_;
  std::string all_error_;
  std::set<api::ObjectKey> failing_;
};

}  // namespace fairlead::dataplane
