#include "dataplane/nftables/fake_runner.h"

#include "base/text.h"

namespace fairlead::dataplane {
namespace {

std::unexpected<Error> refuse(std::string_view what, std::string_view about) {
  return fail(cat("Error: Could not process rule: ", what, ": ", about));
}

}  // namespace

Result<void> FakeNft::change_elements(Table& table, std::string_view verb, const std::string& name,
                                      std::string_view list) {
  const auto set = table.sets.find(name);
  if (set == table.sets.end()) return refuse("No such file or directory", name);
  for (const std::string_view element : split(list, ',')) {
    const std::string_view text = trim(element);
    const size_t colon = text.find(" : ");
    const std::string key(text.substr(0, colon));
    const std::string value(colon == text.npos ? "" : text.substr(colon + 3));
    if (verb == "delete") {
      if (set->second.elements.erase(key) == 0) return refuse("No such file or directory", text);
      continue;
    }
    if (value.starts_with("goto ") && !table.chains.contains(value.substr(5))) {
      return refuse("No such file or directory", text);
    }
    const auto [at, added] = set->second.elements.emplace(key, value);
    if (!added && at->second != value) return refuse("File exists", text);
  }
  return {};
}

// flush table|set; add|delete table|chain|rule|set|map|element inet TABLE [NAME [{ REST }]]
Result<void> FakeNft::execute_line(std::map<std::string, Table>& tables, std::string_view line) {
  const auto words = split(line, ' ');
  if (words.size() < 4 || words[2] != "inet") return fail(cat("Error: syntax error: ", line));
  const std::string_view verb = words[0], what = words[1];
  const std::string table_name(words[3]);
  if (what == "table") {
    if (verb == "add") tables[table_name];
    if (verb == "delete" && tables.erase(table_name) == 0) {
      return refuse("No such file or directory", line);
    }
    if (verb == "flush") {
      const auto flushed = tables.find(table_name);
      if (flushed == tables.end()) return refuse("No such file or directory", line);
      for (auto& [chain, content] : flushed->second.chains) content.rules = 0;
    }
    return {};
  }
  const auto table = tables.find(table_name);
  if (table == tables.end() || words.size() < 5) return refuse("No such file or directory", line);
  const std::string name(words[4]);
  if (verb == "flush") {
    const auto set = table->second.sets.find(name);
    if (set == table->second.sets.end()) return refuse("No such file or directory", line);
    set->second.elements.clear();
  } else if (what == "map" || what == "set") {
    table->second.sets[name].filled_by_kernel = line.find("dynamic") != line.npos;
  } else if (what == "chain" && verb == "add") {
    table->second.chains[name];
  } else if (what == "chain") {
    for (const auto& [set_name, set] : table->second.sets) {
      for (const auto& [key, value] : set.elements) {
        if (value == "goto " + name) return refuse("Device or resource busy", line);
      }
    }
    if (table->second.chains.erase(name) == 0) return refuse("No such file or directory", line);
  } else if (what == "rule") {
    const auto chain = table->second.chains.find(name);
    if (chain == table->second.chains.end()) return refuse("No such file or directory", line);
    ++chain->second.rules;
  } else if (what == "element") {
    const size_t open = line.find('{'), close = line.rfind('}');
    if (open == line.npos || close == line.npos) return fail(cat("Error: syntax error: ", line));
    return change_elements(table->second, verb, name, line.substr(open + 1, close - open - 1));
  }
  return {};
}

Result<void> FakeNft::execute(const std::string& commands) {
  auto next = tables_;
  for (const std::string_view line : split(commands, '\n')) {
    if (!line.empty()) FL_TRY_VOID(execute_line(next, line));
  }
  tables_ = std::move(next);
  return {};
}

Result<void> FakeNft::run(const std::string& commands) {
  ++transactions_;
  last_commands_ = commands;
  FL_TRY_VOID(maybe_fail("Error: Could not process rule: Cannot allocate memory"));
  if (failures_left_ > 0) {
    --failures_left_;
    return fail("Error: Could not process rule: Cannot allocate memory");
  }
  return execute(commands);
}

Result<std::optional<NftTable>> FakeNft::read_table(const std::string& name) {
  FL_TRY_VOID(maybe_fail("netlink: No buffer space available"));
  const auto table = tables_.find(name);
  if (table == tables_.end()) return std::optional<NftTable>();
  NftTable out;
  for (const auto& [set_name, set] : table->second.sets) {
    if (set.filled_by_kernel) continue;
    out.sets.emplace(set_name, NftSet(set.elements.begin(), set.elements.end()));
  }
  for (const auto& [chain_name, chain] : table->second.chains) {
    out.chains.emplace(chain_name, chain.rules);
  }
  return std::optional(std::move(out));
}

Result<NftSet> FakeNft::read_set(const std::string& table, const std::string& set) {
  FL_TRY_VOID(maybe_fail("netlink: No buffer space available"));
  const auto found = tables_.find(table);
  if (found == tables_.end()) return NftSet();
  const auto in = found->second.sets.find(set);
  if (in == found->second.sets.end()) return NftSet();
  return NftSet(in->second.elements.begin(), in->second.elements.end());
}

Result<std::vector<std::string>> FakeNft::other_tables(const std::string& name) {
  std::vector<std::string> out;
  for (const auto& [table, content] : tables_) {
    if (table != name) out.push_back(cat("inet ", table));
  }
  return out;
}

}  // namespace fairlead::dataplane
