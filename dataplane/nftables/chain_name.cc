// Names of chains say what they are for, so that a later run knows what it finds.
#include <charconv>

#include "base/text.h"
#include "dataplane/nftables/layout.h"

namespace fairlead::dataplane::nft {
namespace {

constexpr Protocol all_protocols[] = {Protocol::tcp, Protocol::udp, Protocol::sctp};
constexpr std::string_view guarded_word = "guarded-";
constexpr std::string_view sticky_word = "-sticky-";
constexpr std::string_view remember_word = "remember-";

char family_digit(bool ipv6) { return ipv6 ? '6' : '4'; }

// "tcp4-"
std::string family_word(Protocol protocol, bool ipv6) {
  return cat(to_lower(to_string(protocol)), family_digit(ipv6), "-");
}

std::string id_text(uint64_t id) {
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; id >>= 4) out[i] = "0123456789abcdef"[id & 15];
  return out;
}

// "10800-0123456789abcdef"
std::string affinity_text(const Affinity& affinity) {
  return cat(affinity.timeout_s, "-", id_text(affinity.id));
}

std::optional<Affinity> parse_affinity(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  const auto timeout = parse_int(text.substr(0, dash), 1, UINT32_MAX);
  const std::string_view digits = text.substr(dash + 1);
  Affinity out;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), out.id, 16);
  if (!timeout || digits.size() != 16 || error != std::errc() ||
      end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  out.timeout_s = static_cast<uint32_t>(*timeout);
  return out;
}

bool eat(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool eat_family(std::string_view& text, ChainKey& key) {
  for (const Protocol protocol : all_protocols) {
    for (const bool ipv6 : {false, true}) {
      if (!eat(text, family_word(protocol, ipv6))) continue;
      key.protocol = protocol;
      key.ipv6 = ipv6;
      return true;
    }
  }
  return false;
}

bool eat_action(std::string_view& text, ChainKey& key) {
  for (const Action action :
       {Action::internal, Action::external, Action::node_only, Action::outside}) {
    if (!eat(text, cat(to_string(action), "-"))) continue;
    key.action = action;
    return true;
  }
  return false;
}

}  // namespace

bool is_fixed(const ChainKey& key) { return !key.remember && key.count == 0 && !key.guarded; }

std::string chain_name(const ChainKey& key) {
  if (key.remember) {
    return cat(remember_word, family_word(key.protocol, key.ipv6), affinity_text(key.affinity));
  }
  const std::string start = cat(key.guarded ? guarded_word : "", to_string(key.action));
  if (key.count == 0) return key.guarded ? cat(start, family_digit(key.ipv6)) : start;
  return cat(start, "-", family_word(key.protocol, key.ipv6), key.count,
             key.affinity.timeout_s == 0 ? "" : cat(sticky_word, affinity_text(key.affinity)));
}

std::optional<ChainKey> parse_chain_name(std::string_view name) {
  ChainKey key;
  for (const Action action : {Action::no_endpoint, Action::policy_drop}) {
    key.action = action;
    if (name == to_string(action)) return key;
  }
  key = {};
  if (eat(name, remember_word)) {
    key.remember = true;
    const auto affinity = eat_family(name, key) ? parse_affinity(name) : std::nullopt;
    if (!affinity) return std::nullopt;
    key.affinity = *affinity;
    return key;
  }
  key.guarded = eat(name, guarded_word);
  if (key.guarded && eat(name, to_string(Action::no_endpoint))) {
    key.action = Action::no_endpoint;
    key.ipv6 = name == "6";
    return name == "4" || name == "6" ? std::optional(key) : std::nullopt;
  }
  if (!eat_action(name, key) || !eat_family(name, key)) return std::nullopt;
  const size_t sticky = name.find(sticky_word);
  const auto count = parse_int(name.substr(0, sticky), 1, int64_t{max_slots});
  if (!count) return std::nullopt;
  key.count = static_cast<uint32_t>(*count);
  if (sticky == name.npos) return key;
  const auto affinity = parse_affinity(name.substr(sticky + sticky_word.size()));
  if (!affinity) return std::nullopt;
  key.affinity = *affinity;
  return key;
}

// Rows without slots share chains, whatever their protocol and mostly whatever their family.
ChainKey chain_of(const RowKey& key, const Row& row) {
  ChainKey chain;
  chain.action = row.action;
  chain.guarded = row.guarded && row.action != Action::policy_drop;
  if (!row.slots.empty() || chain.guarded) chain.ipv6 = !key.ip.is_v4();
  if (row.slots.empty()) return chain;
  chain.protocol = key.protocol;
  chain.count = static_cast<uint32_t>(row.slots.size());
  chain.affinity = row.affinity;
  return chain;
}

ChainKey remember_chain_of(const RowKey& key, const Row& row) {
  ChainKey chain;
  chain.protocol = key.protocol;
  chain.ipv6 = !key.ip.is_v4();
  chain.remember = true;
  chain.affinity = row.affinity;
  return chain;
}

}  // namespace fairlead::dataplane::nft
