#include "dataplane/iptables/restore_input.h"

#include "base/text.h"

namespace fairlead::dataplane::ipt {

RestoreInput::Part& RestoreInput::count(Table table) {
  Part& part = parts_[static_cast<size_t>(table)];
  ++part.count;
  ++writes_;
  return part;
}

void RestoreInput::write(const Chain& chain) {
  Part& part = parts_[static_cast<size_t>(chain.table)];
  append(part.chains, cat(":", chain.name, " - [0:0]\n"));
  if (chain.rules.empty()) ++part.count;
  for (const std::string& rule : chain.rules) append_rule(chain.table, chain.name, rule);
}

void RestoreInput::remove(Table table, const std::string& chain) {
  Part& part = count(table);
  append(part.chains, cat(":", chain, " - [0:0]\n"));  // empty it: nothing may lead on from it
  append(part.removals, cat("-X ", chain, "\n"));
}

void RestoreInput::prepend(Table table, std::string_view chain, std::string_view rule) {
  append(count(table).rules, cat("-I ", chain, " ", rule, "\n"));
}

void RestoreInput::append_rule(Table table, std::string_view chain, std::string_view rule) {
  append(count(table).rules, cat("-A ", chain, " ", rule, "\n"));
}

void RestoreInput::erase(Table table, std::string_view chain, std::string_view rule) {
  append(count(table).erasures, cat("-D ", chain, " ", rule, "\n"));
}

bool RestoreInput::empty() const {
  return parts_[0].count + parts_[1].count + parts_[2].count == 0;
}

std::string RestoreInput::text() const {
  std::string out;
  for (const Table table : all_tables) {
    const Part& of = part(table);
    if (of.count == 0) continue;
    for (const std::string& piece :
         {cat("*", to_string(table), "\n"), of.chains, of.erasures, of.rules, of.removals}) {
      append(out, piece);
    }
    append(out, "COMMIT\n");
  }
  return out;
}

}  // namespace fairlead::dataplane::ipt
