// What iptables-save prints, for people: the rules that depend on Services.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/iptables/restore_input.h"
#include "dataplane/iptables/wanted.h"

namespace fairlead::dataplane::ipt {

// Splits iptables-save's lines: the table that a rule is in, its chain and its text.
class RuleLines {
 public:
  struct Rule {
    std::string_view chain, text;
  };
  // The rule of the line, if it is one of a known table; that is then table().
  std::optional<Rule> line(std::string_view line);
  Table table() const { return table_; }

 private:
  Table table_ = Table::filter;
  bool known_ = false;
};

// The rules in the chains of Services and in the shared ones. Shared chains are sorted, since their
// order says when a Service came, and nothing else.
class Listing {
 public:
  void line(std::string_view line);
  // "*nat IPv4", then "-A CHAIN RULE" lines; tables without such rules are left out.
  std::string text(bool ipv6) const;

 private:
  RuleLines lines_;
  std::map<std::pair<Table, std::string>, std::vector<std::string>> chains_;
};

// "iptables -t nat -A KUBE-SVC-... " lines of one Service, into `out`.
class EntryLister {
 public:
  EntryLister(bool ipv6, const Wanted::Entries& entries, std::vector<std::string>& out)
      : ipv6_(ipv6), entries_(entries), out_(out) {}
  void line(std::string_view line);

 private:
  const bool ipv6_;
  const Wanted::Entries& entries_;
  std::vector<std::string>& out_;
  RuleLines lines_;
};

}  // namespace fairlead::dataplane::ipt
