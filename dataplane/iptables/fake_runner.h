// iptables in memory, for the driver's inputs: tables with chains of rules, committed table by
// table. It refuses what iptables-restore refuses (a rule in a chain that is not there, a jump to
// nowhere, the deletion of a rule that is not there or of a chain that is used) and prints what
// iptables-save prints.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "dataplane/iptables/runner.h"

namespace fairlead::dataplane {

// What happens to the next child process.
enum class IptablesFault : uint8_t {
  none,
  refused,       // it ends with an error; nothing happened
  half,          // the first table is committed, the second is not
  killed,        // by a signal before it did anything
  killed_after,  // after it did everything
  timeout,       // killed for being late; nothing happened
};

class FakeIptables final : public IptablesRunner {
 public:
  FakeIptables();

  Result<std::string> version() override { return std::string("iptables v0 (fake)"); }
  size_t writes_at_once() override { return writes_at_once_; }
  void set_writes_at_once(size_t writes) { writes_at_once_ = writes; }
  Result<void> restore(bool ipv6, const std::string& input) override;
  Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) override;
  Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                const std::string& chain) override;
  Result<std::string> set_sysctl(const std::string& name, const std::string& value) override;

  // The call number `call` from now (0: the next) of restore() or save() ends so.
  void fail_call(size_t call, IptablesFault fault) { faults_[calls_ + call] = fault; }
  // What another program may do; no call is counted.
  Result<void> tamper(bool ipv6, const std::string& input);
  void flush();  // `iptables -F; iptables -X` in every table

  size_t calls() const { return calls_; }
  size_t restores() const { return restores_; }
  const std::string& last_input() const { return last_input_; }
  std::string sysctl(const std::string& name) const;

 private:
  using Rules = std::vector<std::string>;
  using Chains = std::map<std::string, Rules, std::less<>>;

  Result<void> next_call(IptablesFault& fault);
  static Result<void> execute(std::map<std::string, Chains>& tables, const std::string& input,
                              size_t max_commits);
  static Result<void> execute_line(Chains& chains, std::string_view line);
  static Result<void> check(const Chains& chains);

  std::map<std::string, Chains> tables_[2];
  std::map<std::string, std::string> sysctls_;
  std::map<size_t, IptablesFault> faults_;
  size_t calls_ = 0, restores_ = 0, writes_at_once_ = SIZE_MAX;
  std::string last_input_;
};

}  // namespace fairlead::dataplane
