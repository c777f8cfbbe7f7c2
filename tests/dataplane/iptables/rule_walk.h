// The first packet of a flow on its way through rules as iptables-save prints them: an interpreter
// of the matches and targets that this mode uses (iptables-extensions(8)). It says what may become
// of the packet, how probable that is, and how many rules were tried.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/dataplane/flow_fates.h"

namespace fairlead::dataplane {

struct Walked {
  Fates fates;
  size_t nat_rules = 0;  // the most that were tried in nat before the destination was known
};

// Of one family.
class RuleWalk {
 public:
  // `saved`: what iptables-save printed. `node_ips`: what is met at INPUT.
  RuleWalk(std::string_view saved, std::vector<Ip> node_ips);

  Walked walk(const WalkPacket& packet) const;

 private:
  // An option of a rule with its words: "! -s 10.0.0.0/8".
  struct Option {
    bool negated = false;
    std::string name;
    std::vector<std::string> values;
  };
  struct Rule {
    std::vector<Option> matches;
    double probability = 1;
    std::string target;
    bool is_goto = false;
    std::vector<Option> target_options;
  };
  using Chain = std::vector<Rule>;
  struct Frame {
    const Chain* chain;
    size_t next = 0;
  };
  struct State {
    WalkPacket packet;
    bool translated = false;
    uint32_t mark = 0;
    double probability = 1;
    size_t tried = 0;
    std::vector<Frame> frames;
  };
  enum class Verdict { accept, drop, refuse, masquerade };

  static Rule parse(std::string_view text);
  static bool matches(const Rule& rule, const State& state);
  static bool matches(const Option& option, const State& state);
  static std::optional<Verdict> act(const Rule& rule, State& state);
  const Chain* chain(std::string_view table, std::string_view name) const;
  bool is_node(const Ip& ip) const;

  template <class End>
  void run(std::string_view table, std::string_view hook, State state, End end) const;
  template <class End>
  bool step(std::string_view table, State& state, std::vector<State>& others, End end) const;
  void filter(State state, size_t hook, Walked& out) const;
  void leave(State state, Walked& out) const;

  std::map<std::string, Chain, std::less<>> chains_;  // "nat KUBE-SERVICES"
  std::vector<Ip> node_ips_;
};

}  // namespace fairlead::dataplane
