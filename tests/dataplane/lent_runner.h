// Lends one NftRunner to several drivers, one after the other, as runs of the agent share a kernel.
#pragma once

#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {

class LentRunner final : public NftRunner {
 public:
  // `transactions`, if not null, counts run().
  explicit LentRunner(NftRunner& runner, size_t* transactions = nullptr)
      : runner_(runner), transactions_(transactions) {}
  Result<void> run(const std::string& commands) override {
    if (transactions_ != nullptr) ++*transactions_;
    return runner_.run(commands);
  }
  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    return runner_.read_table(name);
  }
  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    return runner_.read_set(table, set);
  }
  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    return runner_.other_tables(name);
  }

 private:
  NftRunner& runner_;
  size_t* const transactions_;
};

}  // namespace fairlead::dataplane
