// A kernel for the nftables driver's commands: it keeps tables, sets and maps, refuses what the
// kernel refuses (an element that is there, a deletion of one that is not, a goto to nowhere), all
// of a transaction or nothing.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "dataplane/fails_once.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {

class FakeNft final : public NftRunner, public FailsOnce {
 public:
  Result<void> run(const std::string& commands) override;
  Result<std::optional<NftTable>> read_table(const std::string& name) override;
  Result<NftSet> read_set(const std::string& table, const std::string& set) override;
  Result<std::vector<std::string>> other_tables(const std::string& name) override;

  // fail_after() counts transactions, and tables and sets read.

  // The next `count` transactions fail, and nothing of them happens.
  void fail_next(size_t count) { failures_left_ = count; }
  // What another program may do behind the driver's back; not counted as a transaction.
  Result<void> tamper(const std::string& commands) { return execute(commands); }

  size_t transactions() const { return transactions_; }
  const std::string& last_commands() const { return last_commands_; }

 private:
  struct Chain {
    size_t rules = 0;
    friend bool operator==(const Chain&, const Chain&) = default;
  };
  struct Set {
    bool filled_by_kernel = false;
    std::map<std::string, std::string> elements;  // "a . b" -> "c . d", "goto x" or ""
    friend bool operator==(const Set&, const Set&) = default;
  };
  struct Table {
    std::map<std::string, Chain> chains;
    std::map<std::string, Set> sets;
  };

  Result<void> execute(const std::string& commands);
  static Result<void> execute_line(std::map<std::string, Table>& tables, std::string_view line);
  static Result<void> change_elements(Table& table, std::string_view verb, const std::string& set,
                                      std::string_view list);

  std::map<std::string, Table> tables_;
  size_t failures_left_ = 0;
  size_t transactions_ = 0;
  std::string last_commands_;
};

}  // namespace fairlead::dataplane
