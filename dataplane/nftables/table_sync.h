// TableSync: makes the kernel's table what Desired says: transactions, reading back, replacing.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "dataplane/nftables/desired.h"

namespace fairlead::dataplane::nft {

class TableSync {
 public:
  // `runner`, the log's sink and the registry outlive it.
  TableSync(std::string table, NftRunner& runner, const Log& log, Registry& registry);

  // Whether the kernel holds what was sent last. If not it must be read: reconcile().
  bool in_sync() const { return in_sync_; }
  void lose_sync() { in_sync_ = false; }
  // Nor is what take_over() found there any more.
  void forget() {
    in_sync_ = false;
    found_.reset();
  }

  // The table of an earlier run, for the first reconcile(). Returns its rows; nothing when there is
  // no table.
  Result<std::optional<RowMap>> take_over();

  // Chains of rows that the kernel has; meaningful when in sync. need_chains() keeps it.
  std::set<ChainKey>& chains() { return chains_; }
  // A chain of one rule lost a row. When it was the last one the chain goes with the change after
  // the one under way: packets may still be inside.
  void row_left(const ChainKey& chain) { left_.insert(chain); }

  // Sends what `transaction` says, which makes the table `desired`. REQUIRES: in_sync().
  void send(const Desired& desired, Transaction& transaction, ApplyReport& report);
  // Reads the table and sends the difference; rules are made again as a whole when some differ.
  // Only a table with other sets is replaced.
  void reconcile(const Desired& desired, const Layout& layout, ApplyReport& report);

 private:
  void run(const std::string& commands, size_t writes, ApplyReport& report);
  void send_difference(const Desired& desired, const Layout& layout, NftTable kernel,
                       ApplyReport& report);
  void refresh(const Desired& desired, const Layout& layout, NftTable kernel,
               const std::string& reason, ApplyReport& report);
  void replace_table(const Desired& desired, const Layout& layout, std::string_view reason,
                     ApplyReport& report);
  void delete_unused(const Desired& desired, const std::set<ChainKey>& chains,
                     Transaction& transaction);

  const std::string table_;
  NftRunner& runner_;
  const Log log_;
  Counter& transactions_;
  Counter& failures_;
  Histogram& seconds_;
  Counter& bytes_;

  bool in_sync_ = false;
  std::optional<NftTable> found_;  // by take_over()
  std::set<ChainKey> chains_;
  std::set<ChainKey> left_, idle_;  // in the change under way, and before it
};

}  // namespace fairlead::dataplane::nft
