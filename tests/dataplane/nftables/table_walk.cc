#include "tests/dataplane/nftables/table_walk.h"

#include <cstdlib>
#include <optional>

#include "dataplane/nftables/desired.h"

namespace fairlead::dataplane {
namespace {

constexpr std::string_view fields[] = {
    "ip saddr",     "ip daddr", "ip6 saddr",           "ip6 daddr",
    "meta l4proto", "th dport", "ct original protocol"};

std::string field_text(std::string_view field, const WalkPacket& packet) {
  if (field.ends_with("saddr")) return packet.source.to_string();
  if (field.ends_with("daddr")) return packet.destination.to_string();
  if (field == "th dport") return cat(packet.port);
  return cat(static_cast<int>(packet.protocol));
}

// Whether one part of an element has the part of a key: the same, a prefix, or first-last.
bool covers(const std::string& element, const std::string& key) {
  if (element == key) return true;
  const auto ip = Ip::parse(key);
  if (!ip) return false;
  if (const auto cidr = Cidr::parse(element)) return cidr->contains(*ip);
  const size_t dash = element.find('-');
  if (dash == element.npos) return false;
  const auto first = Ip::parse(element.substr(0, dash)), last = Ip::parse(element.substr(dash + 1));
  return first && last && ip->is_v4() == first->is_v4() && *first <= *ip && *ip <= *last;
}

std::vector<std::string> parts_of(std::string_view element) {
  std::vector<std::string> out;
  for (const std::string_view part : split(element, ' ')) {
    if (part != ".") out.emplace_back(part);
  }
  return out;
}

uint32_t number(const std::string& text) {
  return static_cast<uint32_t>(std::strtoul(text.c_str(), nullptr, 0));
}

}  // namespace

// The words of one rule, from left to right.
class TableWalk::Rule {
 public:
  Rule(const Words& words, const WalkPacket& packet) : words_(words), packet_(packet) {}

  bool done() const { return at_ == words_.size(); }
  // Takes these words if they come next.
  bool take(std::string_view text) {
    const auto wanted = split(text, ' ');
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (at_ + i >= words_.size() || words_[at_ + i] != wanted[i]) return false;
    }
    at_ += wanted.size();
    return true;
  }
  std::string word() { return at_ < words_.size() ? words_[at_++] : ""; }

  // "ip daddr . th dport": the packet's values. Empty: no such thing comes next.
  std::vector<std::string> key() {
    std::vector<std::string> out;
    for (bool more = true; more;) {
      more = false;
      for (const std::string_view field : fields) {
        if (!take(field)) continue;
        if (field.starts_with("ip")) fits_ &= field.starts_with("ip6") != packet_.source.is_v4();
        out.push_back(field_text(field, packet_));
        more = take(".");
        break;
      }
    }
    return out;
  }
  bool fits() const { return fits_; }  // the family of what key() has looked at

 private:
  const Words& words_;
  const WalkPacket& packet_;
  size_t at_ = 0;
  bool fits_ = true;
};

TableWalk::TableWalk(const nft::Layout& layout, NftTable table) : table_(std::move(table)) {
  std::string commands = layout.replace_commands();
  for (const nft::ChainKey& key : nft::chains_in(table_)) {
    append(commands, layout.chain_commands(key));
  }
  for (const std::string_view line : split(commands, '\n')) {
    Words words;
    for (const std::string_view word : split(line, ' ')) words.emplace_back(word);
    if (words.size() < 6 || words[0] != "add" || words[1] != "rule") continue;
    chains_[words[4]].emplace_back(words.begin() + 5, words.end());
  }
}

bool TableWalk::has(const std::string& set, const std::vector<std::string>& key) const {
  const auto found = table_.sets.find(set);
  if (found == table_.sets.end()) return false;
  for (const auto& [element, value] : found->second) {
    const auto parts = parts_of(element);
    bool same = parts.size() == key.size();
    for (size_t i = 0; same && i < parts.size(); ++i) same = covers(parts[i], key[i]);
    if (same) return true;
  }
  return false;
}

std::string TableWalk::lookup(const std::string& map, const std::vector<std::string>& key) const {
  const auto found = table_.sets.find(map);
  if (found == table_.sets.end()) return "";
  const auto element = found->second.find(join(key, " . "));
  return element == found->second.end() ? "" : element->second;
}

// What the mark, the connection and the protocol say. Nothing: another statement comes next.
std::optional<bool> TableWalk::holds(Rule& rule, State& state) {
  if (rule.take("meta l4proto")) return rule.word() == to_lower(to_string(state.packet.protocol));
  if (rule.take("meta mark and")) {
    const bool none = (state.mark & number(rule.word())) == 0;
    EXPECT_TRUE(rule.take("== 0"));
    return none;
  }
  if (rule.take("meta mark set meta mark or")) {
    state.mark |= number(rule.word());
    return true;
  }
  if (rule.take("meta mark set meta mark xor")) {
    state.mark ^= number(rule.word());
    return true;
  }
  if (rule.take("meta mark set meta mark and")) {
    state.mark &= number(rule.word());
    return true;
  }
  if (rule.take("ct status dnat")) return state.translated;
  if (rule.take("fib saddr type local")) return state.packet.from_node;
  // Nobody is remembered, and what is chosen is not noted.
  for (const char* memory :
       {"jump remember", "dnat ip to numgen", "dnat ip6 to numgen", "delete"}) {
    if (rule.take(memory)) return false;
  }
  return std::nullopt;
}

// "dnat ip to ip daddr . tcp dport . numgen random mod 2 offset 65536 map @tcp-backends4", after
// "to". What finds no slot goes on with the next rule.
template <class Next>
void TableWalk::choose(Rule& rule, const State& state, Next next, Fates& out) const {
  const WalkPacket& packet = state.packet;
  EXPECT_TRUE(rule.take(packet.source.is_v4() ? "ip daddr ." : "ip6 daddr ."));
  EXPECT_EQ(rule.word(), to_lower(to_string(packet.protocol)));
  EXPECT_TRUE(rule.take("dport . numgen random mod"));
  const uint32_t slots = number(rule.word());
  const uint32_t offset = rule.take("offset") ? number(rule.word()) : 0;
  EXPECT_TRUE(rule.take("map"));
  const std::string map = rule.word().substr(1);
  for (uint32_t slot = offset; slot < offset + slots; ++slot) {
    State to = state;
    to.probability /= slots;
    const auto backend =
        parts_of(lookup(map, {packet.destination.to_string(), cat(packet.port), cat(slot)}));
    if (backend.size() != 2) {
      next(to);
      continue;
    }
    to.packet.destination = *Ip::parse(backend[0]);
    to.packet.port = static_cast<uint16_t>(number(backend[1]));
    to.translated = true;
    run("postrouting", 0, to, out);
  }
}

void TableWalk::leave(const State& state, bool masquerade, Fates& out) {
  EXPECT_EQ(state.mark, 0u) << "the mark would stay on the packet";
  EXPECT_TRUE(state.translated || !masquerade);
  const WalkPacket& packet = state.packet;
  const std::string to = SocketAddress{packet.destination, packet.port}.to_string();
  out[!state.translated ? "pass" : masquerade ? cat(to, " (masquerade)") : to] += state.probability;
}

void TableWalk::run(const std::string& chain, size_t first, State state, Fates& out) const {
  const auto rules = chains_.find(chain);
  if (rules == chains_.end() || first == rules->second.size()) return leave(state, false, out);
  Rule rule(rules->second[first], state.packet);
  const auto next = [&](const State& at) { run(chain, first + 1, at, out); };
  while (!rule.done()) {
    if (const auto held = holds(rule, state)) {
      if (!*held) return next(state);
      continue;
    }
    const bool refuse = rule.take("reject with tcp reset") || rule.take("reject with icmpx");
    if (refuse || rule.take("drop")) {
      out[refuse ? "refused" : "dropped"] += state.probability;
      return;
    }
    if (rule.take("return")) return leave(state, false, out);
    if (rule.take("masquerade")) return leave(state, true, out);
    if (rule.take("goto")) return run(rule.word(), 0, state, out);
    if (rule.take("dnat ip to") || rule.take("dnat ip6 to")) return choose(rule, state, next, out);
    const auto key = rule.key();
    if (key.empty()) {
      ADD_FAILURE() << "not understood: " << rule.word() << " in " << chain;
      return;
    }
    if (!rule.fits()) return next(state);
    if (rule.take("vmap")) {
      const std::string verdict = lookup(rule.word().substr(1), key);
      if (verdict.empty()) return next(state);
      EXPECT_TRUE(verdict.starts_with("goto ")) << verdict;
      return run(verdict.substr(5), 0, state, out);
    }
    const bool negated = rule.take("!=");
    if (has(rule.word().substr(1), key) == negated) return next(state);
  }
  next(state);
}

Fates TableWalk::walk(const WalkPacket& packet) const {
  Fates out;
  State state;
  state.packet = packet;
  run(packet.from_node ? "output" : "prerouting", 0, state, out);
  return out;
}

}  // namespace fairlead::dataplane
