#include "tests/dataplane/iptables/rule_walk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane {
namespace {

// Of a rule; what stands in quotes is one word.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c != ' ' || quoted) {
      word += c == ' ' ? '_' : c;
    } else if (!word.empty()) {
      out.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) out.push_back(word);
  return out;
}

// "10.0.0.0/8", "0.0.0.5/0.0.0.15", "fd00::1".
bool inside(const Ip& ip, std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view end = slash == text.npos ? "" : text.substr(slash + 1);
  if (end.find_first_of(".:") == end.npos) {
    const auto cidr = slash == text.npos ? std::nullopt : Cidr::parse(text);
    return cidr ? cidr->contains(ip) : Ip::parse(text) == ip;
  }
  const Ip value = *Ip::parse(text.substr(0, slash)), mask = *Ip::parse(end);
  for (size_t i = ip.is_v4() ? 12 : 0; i < 16; ++i) {
    if ((ip.bytes[i] & mask.bytes[i]) != value.bytes[i]) return false;
  }
  return true;
}

bool has_port(uint16_t port, std::string_view text) {
  const size_t colon = text.find(':');
  const auto number = [](std::string_view digits) { return *parse_int(digits, 0, 65535); };
  if (colon == text.npos) return number(text) == port;
  return number(text.substr(0, colon)) <= port && port <= number(text.substr(colon + 1));
}

// "0x4000/0x4000".
std::pair<uint32_t, uint32_t> mark_of(const std::string& text) {
  const size_t slash = text.find('/');
  const auto number = [](const std::string& digits) {
    return static_cast<uint32_t>(std::strtoul(digits.c_str(), nullptr, 0));
  };
  return {number(text), slash == text.npos ? UINT32_MAX : number(text.substr(slash + 1))};
}

}  // namespace

RuleWalk::RuleWalk(std::string_view saved, std::vector<Ip> node_ips)
    : node_ips_(std::move(node_ips)) {
  std::string table;
  for (const std::string_view line : split(saved, '\n')) {
    if (line.starts_with("*")) table = line.substr(1);
    const size_t space = std::min(line.find(' '), line.size());
    if (line.starts_with(":")) chains_[cat(table, " ", line.substr(1, space - 1))];
    if (!line.starts_with("-A ")) continue;
    const std::string_view rest = line.substr(3);
    const size_t end = std::min(rest.find(' '), rest.size());
    chains_[cat(table, " ", rest.substr(0, end))].push_back(parse(rest.substr(end)));
  }
}

RuleWalk::Rule RuleWalk::parse(std::string_view text) {
  std::vector<Option> options;
  bool negated = false;
  for (const std::string& word : words_of(text)) {
    if (word == "!") {
      negated = true;
    } else if (word.starts_with("-") && word.size() > 1 && !std::isdigit(word[1])) {
      options.push_back({std::exchange(negated, false), word, {}});
    } else {
      CHECK(!options.empty());
      options.back().values.push_back(word);
    }
  }
  Rule rule;
  bool after_target = false;
  for (Option& option : options) {
    if (option.name == "-j" || option.name == "-g") {
      rule.target = option.values.at(0);
      rule.is_goto = option.name == "-g";
      after_target = true;
    } else if (after_target) {
      rule.target_options.push_back(std::move(option));
    } else if (option.name == "--probability") {
      rule.probability = std::strtod(option.values.at(0).c_str(), nullptr);
    } else {
      rule.matches.push_back(std::move(option));
    }
  }
  return rule;
}

bool RuleWalk::matches(const Option& option, const State& state) {
  const WalkPacket& packet = state.packet;
  const std::string value = option.values.empty() ? "" : option.values[0];
  if (option.name == "-s") return inside(packet.source, value);
  if (option.name == "-d") return inside(packet.destination, value);
  if (option.name == "-p") return to_lower(to_string(packet.protocol)) == value;
  if (option.name == "--dport") return has_port(packet.port, value);
  if (option.name == "--src-type") return value == "LOCAL" && packet.from_node;
  if (option.name == "--rcheck") return false;  // nobody is remembered
  if (option.name == "--mark") {
    const auto [mark, mask] = mark_of(value);
    return (state.mark & mask) == mark;
  }
  if (option.name == "--ctstate") {
    const auto states = split(value, ',');
    const auto has = [&](std::string_view one) {
      return std::find(states.begin(), states.end(), one) != states.end();
    };
    return has("NEW") || (state.translated && has("DNAT"));
  }
  const std::string_view silent[] = {"-m",        "--comment", "--set",  "--name", "--mask",
                                     "--rsource", "--seconds", "--reap", "--mode"};
  if (std::find(std::begin(silent), std::end(silent), option.name) == std::end(silent)) {
    ADD_FAILURE() << "not understood: " << option.name;
  }
  return true;
}

bool RuleWalk::matches(const Rule& rule, const State& state) {
  return std::all_of(rule.matches.begin(), rule.matches.end(), [&](const Option& option) {
    return matches(option, state) != option.negated;
  });
}

const RuleWalk::Chain* RuleWalk::chain(std::string_view table, std::string_view name) const {
  const auto found = chains_.find(cat(table, " ", name));
  return found == chains_.end() ? nullptr : &found->second;
}

bool RuleWalk::is_node(const Ip& ip) const {
  return ip.is_loopback() || std::find(node_ips_.begin(), node_ips_.end(), ip) != node_ips_.end();
}

// A target of the kernel's own. Nothing: the next rule.
std::optional<RuleWalk::Verdict> RuleWalk::act(const Rule& rule, State& state) {
  const std::string value = rule.target_options.empty() ? ""
                            : rule.target_options[0].values.empty()
                                ? ""
                                : rule.target_options[0].values[0];
  if (rule.target == "ACCEPT") return Verdict::accept;
  if (rule.target == "DROP") return Verdict::drop;
  if (rule.target == "REJECT") {
    const bool tcp = state.packet.protocol == Protocol::tcp;
    EXPECT_EQ(value == "tcp-reset", tcp) << value;
    return Verdict::refuse;
  }
  if (rule.target == "MASQUERADE") return Verdict::masquerade;
  if (rule.target == "DNAT") {
    const auto to = SocketAddress::parse(value);
    EXPECT_TRUE(to && to->port != 0) << value;
    state.packet.destination = to->ip;
    state.packet.port = to->port;
    state.translated = true;
    return Verdict::accept;
  }
  if (rule.target == "MARK") {
    const auto [mark, mask] = mark_of(value);
    state.mark = (state.mark & ~mask) ^ mark;
    return std::nullopt;
  }
  ADD_FAILURE() << "no such target: " << rule.target;
  return Verdict::drop;
}

// One rule. False: the chain of the hook has said what it has to say.
template <class End>
bool RuleWalk::step(std::string_view table, State& state, std::vector<State>& others,
                    End end) const {
  while (!state.frames.empty() && state.frames.back().next == state.frames.back().chain->size()) {
    state.frames.pop_back();
  }
  if (state.frames.empty()) {
    end(state, Verdict::accept);
    return false;
  }
  const Rule& rule = (*state.frames.back().chain)[state.frames.back().next++];
  ++state.tried;
  if (!matches(rule, state)) return true;
  if (rule.probability < 1) {
    others.push_back(state);
    others.back().probability *= 1 - rule.probability;
    state.probability *= rule.probability;
  }
  if (rule.target.empty()) return true;
  if (rule.target == "RETURN") {
    state.frames.pop_back();
  } else if (const Chain* next = chain(table, rule.target)) {
    if (rule.is_goto) state.frames.pop_back();
    state.frames.push_back({next});
  } else if (const auto verdict = act(rule, state)) {
    end(state, *verdict);
    return false;
  }
  return true;
}

// Calls end(state, verdict) for each thing that may become of the packet at this hook.
template <class End>
void RuleWalk::run(std::string_view table, std::string_view hook, State state, End end) const {
  const Chain* first = chain(table, hook);
  CHECK(first != nullptr);
  state.frames = {{first}};
  std::vector<State> others{std::move(state)};
  while (!others.empty()) {
    State one = std::move(others.back());
    others.pop_back();
    while (step(table, one, others, end)) {
    }
  }
}

void RuleWalk::leave(State state, Walked& out) const {
  run("nat", "POSTROUTING", std::move(state), [&](const State& at, Verdict verdict) {
    EXPECT_EQ(at.mark, 0u) << "the mark would stay on the packet";
    const std::string to = SocketAddress{at.packet.destination, at.packet.port}.to_string();
    const bool masqueraded = verdict == Verdict::masquerade;
    EXPECT_TRUE(at.translated || !masqueraded);
    out.fates[!at.translated ? "pass"
              : masqueraded  ? cat(to, " (masquerade)")
                             : to] += at.probability;
  });
}

void RuleWalk::filter(State state, size_t hook, Walked& out) const {
  std::vector<std::string_view> hooks;
  const bool to_node = is_node(state.packet.destination);
  if (state.packet.from_node) hooks.push_back("OUTPUT");
  if (to_node || !state.packet.from_node) hooks.push_back(to_node ? "INPUT" : "FORWARD");
  if (hook == hooks.size()) return leave(std::move(state), out);
  run("filter", hooks[hook], std::move(state), [&](const State& at, Verdict verdict) {
    if (verdict == Verdict::accept) {
      filter(at, hook + 1, out);
    } else {
      out.fates[verdict == Verdict::drop ? "dropped" : "refused"] += at.probability;
    }
  });
}

Walked RuleWalk::walk(const WalkPacket& packet) const {
  Walked out;
  State state;
  state.packet = packet;
  run("nat", packet.from_node ? "OUTPUT" : "PREROUTING", std::move(state),
      [&](const State& at, Verdict) {
        out.nat_rules = std::max(out.nat_rules, at.tried);
        filter(at, 0, out);
      });
  return out;
}

}  // namespace fairlead::dataplane
