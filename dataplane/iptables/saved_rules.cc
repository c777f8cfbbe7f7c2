#include "dataplane/iptables/saved_rules.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/text.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
namespace {

struct Word {
  std::string text;
  bool quoted = false;
};

// The words of a rule as iptables-restore reads them: quotes, and backslashes inside them.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  std::optional<Word> next() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
    if (rest_.empty()) return std::nullopt;
    Word word;
    bool open = false;
    while (!rest_.empty() && (open || rest_.front() != ' ')) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') {
        open = !open;
        word.quoted = true;
        continue;
      }
      if (open && c == '\\' && !rest_.empty()) {
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      word.text += c;
    }
    return word;
  }

 private:
  std::string_view rest_;
};

bool is_option(const Word& word) {
  return !word.quoted && word.text.size() >= 2 && word.text[0] == '-' &&
         (word.text[1] < '0' || word.text[1] > '9');
}

constexpr uint64_t digest_start = 0xcbf29ce484222325;

uint64_t digest_add(uint64_t digest, std::string_view rule) {
  for (const char c : rule) digest = (digest ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return (digest ^ 0x100) * 0x100000001b3;
}

std::optional<Table> parse_table(std::string_view name) {
  for (const Table table : all_tables) {
    if (to_string(table) == name) return table;
  }
  return std::nullopt;
}

// Said of every rule of that kind, or not at all, by version.
bool is_default(std::string_view option) {
  return option.starts_with("-m ") || option.starts_with("--mask ") || option == "--rsource";
}

}  // namespace

std::string normal_form(std::string_view rule) {
  std::vector<std::string> options;
  bool negated = false;
  Words words(rule);
  while (const auto word = words.next()) {
    if (!word->quoted && word->text == "!") {
      negated = true;
    } else if (is_option(*word) || options.empty()) {
      options.push_back(cat(negated ? "! " : "", word->text));
      negated = false;
    } else if (options.back() == "--probability") {
      char rounded[32];
      std::snprintf(rounded, sizeof rounded, " %.6f", std::strtod(word->text.c_str(), nullptr));
      append(options.back(), rounded);
    } else {
      append(options.back(), cat(" ", word->text));
    }
  }
  std::erase_if(options, [](const std::string& option) { return is_default(option); });
  std::sort(options.begin(), options.end());
  return join(options, "\t");
}

uint64_t rules_digest(const std::vector<std::string>& rules) {
  uint64_t digest = digest_start;
  for (const std::string& rule : rules) digest = digest_add(digest, normal_form(rule));
  return digest;
}

std::string_view target_of(std::string_view rule) {
  // The target stands last but for its own options; a comment may hold anything, in quotes.
  bool quoted = false;
  for (size_t i = 0; i + 3 < rule.size(); ++i) {
    if (rule[i] == '\\' && quoted) {
      ++i;  // what follows stands for itself
      continue;
    }
    if (rule[i] == '"') quoted = !quoted;
    const bool starts = !quoted && rule[i] == '-' && (i == 0 || rule[i - 1] == ' ');
    if (starts && (rule[i + 1] == 'j' || rule[i + 1] == 'g') && rule[i + 2] == ' ') {
      const std::string_view target = rule.substr(i + 3);
      return target.substr(0, target.find(' '));
    }
  }
  return {};
}

const SavedChain* SavedRules::find(Table table, std::string_view name) const {
  const auto& in = chains[static_cast<size_t>(table)];
  const auto chain = in.find(name);
  return chain == in.end() ? nullptr : &chain->second;
}

bool SavedRules::empty() const {
  return jumps.empty() && chains[0].empty() && chains[1].empty() && chains[2].empty();
}

Result<void> SavedRulesReader::rule(std::string_view line) {
  if (++rules_ > max_rules) return fail(cat("iptables-save: more than ", max_rules, " rules"));
  const std::string_view rest = line.substr(3);
  const size_t space = std::min(rest.find(' '), rest.size());
  const std::string_view name = rest.substr(0, space);
  const std::string_view text = rest.substr(std::min(space + 1, rest.size()));
  if (!is_our_chain(name)) {
    if (is_our_chain(target_of(text))) {
      saved_.jumps.push_back({table_, std::string(name), std::string(text)});
    }
    return {};
  }
  auto& chains = saved_.chains[static_cast<size_t>(table_)];
  const auto chain = chains.find(name);
  if (chain == chains.end()) return fail(cat("iptables-save: rule of no chain: ", line));
  chain->second.digest = digest_add(chain->second.digest, normal_form(text));
  ++chain->second.count;
  if (!is_service_chain(name)) chain->second.rules.emplace_back(text);
  return {};
}

Result<void> SavedRulesReader::line(std::string_view line) {
  if (line.size() > max_line_bytes) {
    return fail(
        cat("iptables-save: a line of ", line.size(), " bytes, expected at most ", max_line_bytes));
  }
  if (line.empty() || line[0] == '#') return {};
  if (line[0] == '*') {
    if (inside_) return fail(cat("iptables-save: a table inside a table: ", line));
    const auto table = parse_table(line.substr(1));
    inside_ = true;
    known_ = table.has_value();
    if (table) table_ = *table;
    return {};
  }
  if (!inside_) return fail(cat("iptables-save: expected a table, not: ", line));
  if (line == "COMMIT") {
    inside_ = false;
    return {};
  }
  if (!known_) return {};
  if (line[0] == ':') {
    const std::string_view name = line.substr(1, line.find(' ') - 1);
    if (!is_our_chain(name)) return {};
    auto& chains = saved_.chains[static_cast<size_t>(table_)];
    if (chains.size() >= max_rules) return fail("iptables-save: too many chains");
    chains.try_emplace(std::string(name), SavedChain{digest_start, 0, {}});
    return {};
  }
  if (line.starts_with("-A ")) return rule(line);
  return fail(cat("iptables-save: not understood: ", line));
}

Result<SavedRules> SavedRulesReader::finish() {
  if (inside_) return fail("iptables-save: the output ends inside a table");
  return std::move(saved_);
}

}  // namespace fairlead::dataplane::ipt
