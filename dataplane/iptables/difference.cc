// What the kernel holds against what it shall hold.
#include <algorithm>
#include <unordered_set>

#include "base/text.h"
#include "dataplane/iptables/names.h"
#include "dataplane/iptables/removal.h"
#include "dataplane/iptables/wanted.h"

namespace fairlead::dataplane::ipt {
namespace {

// Chains of trees: what is led to comes before what leads there.
struct LongerFirst {
  bool operator()(const std::string& a, const std::string& b) const {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  }
};
using TreeChains = std::map<std::string, std::vector<std::string>, LongerFirst>;

constexpr std::string_view somebody = "another program that changes iptables rules";

class Compare {
 public:
  Compare(const SavedRules& kernel, bool ipv6, size_t writes_at_once, Wanted::Difference& out)
      : kernel_(kernel),
        family_(ipv6 ? "IPv6" : "IPv4"),
        writes_at_once_(writes_at_once),
        out_(out) {}

  // What is written from now on goes to another input, if this one is full.
  void split() {
    if (input().writes() >= writes_at_once_) out_.inputs.emplace_back();
  }

  // Rules in order.
  void chain(const Chain& wanted, std::string_view of = {}) {
    seen_[static_cast<size_t>(wanted.table)].insert(wanted.name);
    const SavedChain* held = kernel_.find(wanted.table, wanted.name);
    if (held != nullptr && held->count == wanted.rules.size() &&
        held->digest == rules_digest(wanted.rules)) {
      return;
    }
    drift(cat(name(wanted.table, wanted.name), of.empty() ? "" : cat(" of ", of),
              held == nullptr ? " is missing" : " holds other rules"));
    write(wanted);
  }

  // `head` in any order, then `tail`.
  void shared(Table table, std::string_view chain, const std::vector<std::string>& head,
              const std::vector<std::string>& tail) {
    const Chain wanted{table, std::string(chain), {}};
    seen_[static_cast<size_t>(wanted.table)].insert(wanted.name);
    const SavedChain* held = kernel_.find(wanted.table, wanted.name);
    if (held == nullptr) {
      drift(cat(name(wanted.table, wanted.name), " is missing"));
    } else if (same(*held, head, tail, wanted)) {
      return;
    }
    Chain whole = wanted;
    whole.rules = head;
    whole.rules.insert(whole.rules.end(), tail.begin(), tail.end());
    write(whole);
  }

  // One that somebody's own rules lead to cannot be removed: it is emptied.
  void stale_chains() {
    std::vector<std::pair<Table, std::string>> stale;
    std::set<std::pair<Table, std::string>> led_to;
    for (const Jump& jump : kernel_.jumps) {
      if (!is_builtin(jump.chain)) led_to.emplace(jump.table, target_of(jump.rule));
    }
    for (const Table table : all_tables) {
      const size_t at = static_cast<size_t>(table);
      for (const auto& [chain, held] : kernel_.chains[at]) {
        if (seen_[at].contains(chain)) continue;
        const bool stays = led_to.contains({table, chain});
        if (stays && held.count == 0) continue;
        drift(cat(name(table, chain), " belongs to no Service"));
        if (stays) {
          write({table, chain, {}});
        } else {
          stale.emplace_back(table, chain);
        }
      }
    }
    remove_chains(std::move(stale), writes_at_once_, out_.inputs);
  }

  // Those of one chain stand or fall together, since their order matters.
  void jumps(const std::vector<Jump>& wanted) {
    std::set<std::pair<Table, std::string>> chains;
    for (const Jump& jump : wanted) chains.insert({jump.table, jump.chain});
    for (const Jump& jump : kernel_.jumps) chains.insert({jump.table, jump.chain});
    for (const auto& [table, chain] : chains) {
      const auto pick = [&](const std::vector<Jump>& from) {
        std::vector<std::string> rules;
        for (const Jump& jump : from) {
          if (jump.table == table && jump.chain == chain) rules.push_back(jump.rule);
        }
        return rules;
      };
      const auto want = pick(wanted), held = pick(kernel_.jumps);
      if (want.empty() && !is_builtin(chain)) continue;  // somebody's way to one of our chains
      if (rules_digest(want) == rules_digest(held)) continue;
      drift(cat(name(table, chain), " does not lead to our chains as it should"));
      for (auto rule = want.rbegin(); rule != want.rend(); ++rule) {
        input().prepend(table, chain, *rule);
      }
      for (const std::string& rule : held) input().erase(table, chain, rule);
    }
  }

 private:
  static bool is_builtin(std::string_view chain) {
    constexpr std::string_view builtin[] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
                                            "POSTROUTING"};
    return std::find(std::begin(builtin), std::end(builtin), chain) != std::end(builtin);
  }

  RestoreInput& input() {
    if (out_.inputs.empty()) out_.inputs.emplace_back();
    return out_.inputs.back();
  }
  void write(const Chain& chain) { input().write(chain); }

  std::string name(Table table, std::string_view chain) const {
    return cat(family_, " ", to_string(table), " ", chain);
  }
  void drift(std::string what) { out_.drifts.push_back({std::move(what), std::string(somebody)}); }

  bool same(const SavedChain& held, const std::vector<std::string>& head,
            const std::vector<std::string>& tail, const Chain& wanted) {
    std::unordered_set<std::string> want;
    for (const std::string& rule : head) want.insert(normal_form(rule));
    const size_t before = out_.drifts.size();
    const size_t heads = held.rules.size() - std::min(held.rules.size(), tail.size());
    std::vector<std::string> end;
    for (size_t i = 0; i < held.rules.size(); ++i) {
      std::string rule = normal_form(held.rules[i]);
      if (want.erase(rule) != 0) continue;
      if (i >= heads) {
        end.push_back(std::move(rule));
      } else {
        drift(cat(name(wanted.table, wanted.name), " has a rule too many: ", held.rules[i]));
      }
    }
    for (const std::string& rule : head) {
      if (want.contains(normal_form(rule))) {
        drift(cat(name(wanted.table, wanted.name), " lacks: ", rule));
      }
    }
    std::vector<std::string> last;
    for (const std::string& rule : tail) last.push_back(normal_form(rule));
    if (end != last) drift(cat(name(wanted.table, wanted.name), " ends with other rules"));
    return out_.drifts.size() == before;
  }

  const SavedRules& kernel_;
  const std::string_view family_;
  const size_t writes_at_once_;
  Wanted::Difference& out_;
  std::set<std::string, std::less<>> seen_[3];
};

}  // namespace

Wanted::Difference Wanted::difference(const ServiceTable& table, const SavedRules& kernel,
                                      size_t writes_at_once) const {
  Difference out;
  Compare compare(kernel, layout_.ipv6(), writes_at_once, out);
  for (const Chain& chain : layout_.base_chains()) compare.chain(chain);
  for (const auto& [key, entry] : table.services) {
    for (const Chain& chain : layout_.service_chains(key, entry)) {
      compare.chain(chain, key.to_string());
    }
    compare.split();
  }
  std::vector<std::string> heads[shared_count];
  TreeChains trees;
  for (int byte = 0; layout_.style().tree && byte < 256; ++byte) trees[leaf_name(byte)];
  const auto add = [&](SharedRule rule) {
    auto& rules = rule.leaf.empty() ? heads[static_cast<size_t>(rule.chain)] : trees[rule.leaf];
    rules.push_back(std::move(rule.rule));
  };
  std::set<PortRange> ports;
  for (const auto& [frontend, who] : claims_) {
    for (SharedRule& rule : rules_of(table, frontend)) add(std::move(rule));
    for (const PortRange& range : layout_.port_ranges(frontend)) ports.insert(range);
  }
  for (const PortRange& range : ports) {
    trees[Layout::chain_of(range)];
    add(Layout::way_to(range));
  }
  for (const auto& [chain, rules] : trees) {
    compare.shared(Table::nat, chain, rules, {});
    compare.split();
  }
  for (const Chain& chain : layout_.branches()) compare.chain(chain);
  for (const Shared chain : all_shared) {
    compare.shared(table_of(chain), name_of(chain), heads[static_cast<size_t>(chain)],
                   layout_.tail(chain, cluster_prefixes()));
  }
  compare.chain(layout_.forward_chain());
  compare.jumps(layout_.jumps());
  compare.stale_chains();
  std::erase_if(out.inputs, [](const RestoreInput& input) { return input.empty(); });
  return out;
}

}  // namespace fairlead::dataplane::ipt
