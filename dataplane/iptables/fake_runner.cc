#include "dataplane/iptables/fake_runner.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/iptables/saved_rules.h"

namespace fairlead::dataplane {
namespace {

const std::vector<std::string_view>& builtin_chains(std::string_view table) {
  static const std::vector<std::string_view> nat{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"};
  static const std::vector<std::string_view> filter{"INPUT", "FORWARD", "OUTPUT"};
  static const std::vector<std::string_view> mangle{"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
                                                    "POSTROUTING"};
  return table == "nat" ? nat : table == "filter" ? filter : mangle;
}

std::map<std::string, std::vector<std::string>, std::less<>> empty_table(std::string_view table) {
  std::map<std::string, std::vector<std::string>, std::less<>> out;
  for (const std::string_view chain : builtin_chains(table)) out[std::string(chain)] = {};
  return out;
}

bool is_builtin(std::string_view chain) {
  const auto& names = builtin_chains("mangle");  // it has all of them
  return std::find(names.begin(), names.end(), chain) != names.end();
}

bool is_verdict(std::string_view target) {
  constexpr std::string_view verdicts[] = {"ACCEPT", "DROP", "RETURN",    "REJECT",
                                           "MARK",   "DNAT", "MASQUERADE"};
  return target.empty() ||
         std::find(std::begin(verdicts), std::end(verdicts), target) != std::end(verdicts);
}

}  // namespace

FakeIptables::FakeIptables() {
  for (auto& tables : tables_) {
    for (const std::string table : {"filter", "nat"}) tables[table] = empty_table(table);
  }
}

Result<void> FakeIptables::execute_line(Chains& chains, std::string_view line) {
  if (line[0] == ':') {
    const std::string_view name = line.substr(1, line.find(' ') - 1);
    if (!is_builtin(name)) chains[std::string(name)].clear();
    return {};
  }
  const std::string_view verb = line.substr(0, 3),
                         rest = line.substr(std::min<size_t>(3, line.size()));
  const std::string_view name = rest.substr(0, rest.find(' '));
  const std::string rule(rest.substr(std::min(name.size() + 1, rest.size())));
  const auto chain = chains.find(name);
  if (chain == chains.end()) return fail(cat("No chain/target/match by that name: ", line));
  Rules& rules = chain->second;
  if (verb == "-A ") {
    rules.push_back(rule);
  } else if (verb == "-I ") {
    rules.insert(rules.begin(), rule);
  } else if (verb == "-D ") {
    const std::string form = ipt::normal_form(rule);
    const auto found = std::find_if(rules.begin(), rules.end(), [&](const std::string& one) {
      return ipt::normal_form(one) == form;
    });
    if (found == rules.end()) return fail(cat("Bad rule (does a matching rule exist?): ", line));
    rules.erase(found);
  } else if (verb == "-F ") {
    rules.clear();
  } else if (verb == "-X ") {
    if (!rules.empty()) return fail(cat("Directory not empty: ", line));
    chains.erase(chain);
  } else {
    return fail(cat("not understood: ", line));
  }
  return {};
}

Result<void> FakeIptables::check(const Chains& chains) {
  for (const auto& [name, rules] : chains) {
    for (const std::string& rule : rules) {
      const std::string_view target = ipt::target_of(rule);
      if (!is_verdict(target) && !chains.contains(target)) {
        return fail(cat(name, " leads to ", target, ", which is not there"));
      }
    }
  }
  return {};
}

Result<void> FakeIptables::execute(std::map<std::string, Chains>& tables, const std::string& input,
                                   size_t max_commits) {
  std::optional<std::string> table;
  Chains next;
  size_t number = 0, commits = 0;
  for (const std::string_view line : split(input, '\n')) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '*') {
      table = std::string(line.substr(1));
      if (*table == "mangle") tables.try_emplace(*table, empty_table(*table));
      if (!tables.contains(*table)) return fail(cat("line ", number, ": no table ", *table));
      next = tables.at(*table);
    } else if (!table) {
      return fail(cat("line ", number, ": no table before: ", line));
    } else if (line == "COMMIT") {
      FL_TRY_VOID(check(next));
      if (commits++ == max_commits) return fail(cat("line ", number, ": COMMIT failed"));
      tables.at(*table) = std::move(next);
      table.reset();
    } else if (const auto done = execute_line(next, line); !done) {
      return fail(cat("line ", number), done.error());
    }
  }
  if (table) return fail(cat("line ", number, ": COMMIT expected"));
  return {};
}

Result<void> FakeIptables::next_call(IptablesFault& fault) {
  const auto found = faults_.find(calls_++);
  fault = found == faults_.end() ? IptablesFault::none : found->second;
  switch (fault) {
    case IptablesFault::refused:
      return fail("iptables-fake-restore: exit code 4: injected");
    case IptablesFault::killed:
      return fail("iptables-fake-restore: killed by signal 9");
    case IptablesFault::timeout:
      return fail("iptables-fake-restore: no end after 30000 ms; killed");
    default:
      return {};
  }
}

Result<void> FakeIptables::restore(bool ipv6, const std::string& input) {
  ++restores_;
  last_input_ = input;
  IptablesFault fault;
  FL_TRY_VOID(next_call(fault));
  const size_t commits = fault == IptablesFault::half ? 1 : SIZE_MAX;
  FL_TRY_VOID(execute(tables_[ipv6], input, commits));
  if (fault == IptablesFault::killed_after) {
    return fail("iptables-fake-restore: killed by signal 9");
  }
  return {};
}

Result<void> FakeIptables::save(bool ipv6, const std::function<void(std::string_view)>& line) {
  IptablesFault fault;
  FL_TRY_VOID(next_call(fault));
  line("# Generated by the fake");
  for (const auto& [table, chains] : tables_[ipv6]) {
    line(cat("*", table));
    for (const auto& [name, rules] : chains) {
      line(cat(":", name, is_builtin(name) ? " ACCEPT [0:0]" : " - [0:0]"));
    }
    for (const auto& [name, rules] : chains) {
      for (const std::string& rule : rules) line(cat("-A ", name, " ", rule));
    }
    line("COMMIT");
    // A child that was killed while it printed.
    if (fault == IptablesFault::half) return fail("iptables-fake-save: killed by signal 9");
  }
  if (fault == IptablesFault::killed_after) return fail("iptables-fake-save: killed by signal 9");
  return {};
}

Result<std::optional<std::string>> FakeIptables::list_chain(bool ipv6, ipt::Table table,
                                                            const std::string& chain) {
  const Chains& chains = tables_[ipv6].at(std::string(to_string(table)));
  const auto found = chains.find(chain);
  if (found == chains.end()) return std::optional<std::string>();
  std::string out = cat("-N ", chain, "\n");
  for (const std::string& rule : found->second) append(out, cat("-A ", chain, " ", rule, "\n"));
  return std::optional(out);
}

Result<std::string> FakeIptables::set_sysctl(const std::string& name, const std::string& value) {
  const std::string old = sysctl(name);
  sysctls_[name] = value;
  return old;
}

Result<void> FakeIptables::tamper(bool ipv6, const std::string& input) {
  return execute(tables_[ipv6], input, SIZE_MAX);
}

void FakeIptables::flush() {
  for (auto& tables : tables_) {
    for (auto& [table, chains] : tables) {
      std::erase_if(chains, [](const auto& chain) { return !is_builtin(chain.first); });
      for (auto& [name, rules] : chains) rules.clear();
    }
  }
}

std::string FakeIptables::sysctl(const std::string& name) const {
  const auto found = sysctls_.find(name);
  return found == sysctls_.end() ? "0" : found->second;
}

}  // namespace fairlead::dataplane
