#include "dataplane/nftables/comparison.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

// FNV-1a, 64 bits: names a configuration; nobody attacks it.
uint64_t fingerprint(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::map<std::string, size_t> rules_in(const std::string& commands) {
  std::map<std::string, size_t> count;
  for (const std::string_view line : split(commands, '\n')) {
    const auto words = split(line, ' ');  // add rule inet TABLE CHAIN ...
    if (words.size() > 4 && words[1] == "chain") count[std::string(words[4])];
    if (words.size() > 4 && words[1] == "rule") ++count[std::string(words[4])];
  }
  return count;
}

std::vector<std::string> set_differences(const NftTable& held, const std::string& commands) {
  std::vector<std::string> out;
  for (const auto& [set, elements] : held.sets) {
    if (commands.find(cat(" ", set, " {")) == commands.npos) {
      out.push_back(cat("set ", set, " is foreign"));
    } else if (std::any_of(elements.begin(), elements.end(),
                           [](const auto& element) { return element.first.starts_with("0x"); })) {
      out.push_back(cat("set ", set, " has elements of other types"));
    }
  }
  return out;
}

std::string label_prefix(int version) { return cat("layout-", version, "-"); }

std::string mapped(const std::string& value) { return value.empty() ? "" : cat(" : ", value); }

std::string text_of(const Difference& one) {
  const std::string what = cat("set ", one.set, ": ", one.key);
  if (!one.held) return cat(what, mapped(*one.wanted), " is missing");
  if (!one.wanted) return cat(what, mapped(*one.held), " is foreign");
  return cat(what, " is ", *one.held, " instead of ", *one.wanted);
}

}  // namespace

void Comparison::want(const std::string& set, const std::string& key, const std::string& value) {
  NftSet& held = held_.sets[set];
  const auto element = held.find(key);
  if (element == held.end()) {
    out_.push_back({set, key, std::nullopt, value});
    return;
  }
  if (element->second != value) out_.push_back({set, key, element->second, value});
  held.erase(element);
}

std::vector<Difference> Comparison::finish() {
  for (auto& [set, elements] : held_.sets) {
    for (auto& [key, value] : elements) out_.push_back({set, key, value, std::nullopt});
  }
  std::sort(out_.begin(), out_.end());
  return std::move(out_);
}

std::string layout_label(int version, std::string_view commands) {
  return cat(label_prefix(version), fingerprint(commands));
}

std::vector<std::string> rule_differences(const NftTable& held, const std::string& label,
                                          const std::string& commands) {
  if (!held.chains.contains(label)) return {"the table was made with other settings"};
  std::vector<std::string> out;
  const auto wanted = rules_in(commands);
  for (const auto& [chain, count] : wanted) {
    const auto found = held.chains.find(chain);
    if (found == held.chains.end()) {
      out.push_back(cat("chain ", chain, " is missing"));
    } else if (found->second != count) {
      out.push_back(cat("chain ", chain, " has ", found->second, " rules instead of ", count));
    }
  }
  for (const auto& [chain, count] : held.chains) {
    if (!wanted.contains(chain)) out.push_back(cat("chain ", chain, " is foreign"));
  }
  for (std::string& one : set_differences(held, commands)) out.push_back(std::move(one));
  return out;
}

std::string label_in(const NftTable& held) {
  const auto label = held.chains.lower_bound("layout-");
  return label != held.chains.end() && label->first.starts_with("layout-") ? label->first : "";
}

bool keeps_sets(const NftTable& held, int version, const std::string& commands) {
  return label_in(held).starts_with(label_prefix(version)) &&
         set_differences(held, commands).empty();
}

std::string delete_other_chains(const NftTable& held, const std::string& commands,
                                std::string_view table) {
  const auto wanted = rules_in(commands);
  std::string out;
  for (const auto& [chain, count] : held.chains) {
    if (!wanted.contains(chain)) append(out, cat("delete chain inet ", table, " ", chain, "\n"));
  }
  return out;
}

// nft 1.0.6 swaps the bytes of `meta l4proto` in a key with intervals, all one of them, by an
// operation that newer kernels refuse (Linux 6.12.117: not supported). The tracker has it in order.
std::string source_expression(bool ipv6) {
  const std::string_view ip = ipv6 ? "ip6" : "ip";
  return cat(ip, " daddr . ct original protocol . th dport . ", ip, " saddr");
}

std::string hex(uint32_t value) {
  char digits[8];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return cat("0x", std::string_view(digits, end));
}

std::string remove_table_commands(std::string_view table) {
  return cat("add table inet ", table, "\ndelete table inet ", table, "\n");
}

std::vector<Drift> drifts_of(const std::vector<std::string>& rules,
                             const std::vector<Difference>& elements, const std::string& owner) {
  std::vector<Drift> out;
  for (const std::string& rule : rules) out.push_back({rule, owner});
  const size_t named = std::min(elements.size(), max_drifts);
  for (size_t i = 0; i < named; ++i) out.push_back({text_of(elements[i]), owner});
  if (named < elements.size()) {
    out.push_back({cat("and ", elements.size() - named, " more elements"), owner});
  }
  return out;
}

std::string likely_owner(NftRunner& runner, const std::string& table) {
  const auto tables = runner.other_tables(table);
  const std::string others = tables ? join(*tables, ", ") : "";
  return cat("another user of nf_tables", others.empty() ? "" : "; others have: ", others);
}

}  // namespace fairlead::dataplane::nft
