#include "dataplane/nftables/kernel_state.h"

#include "api/json.h"
#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

std::string_view text_of(const json::value& value) {
  const json::string* text = value.if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

std::optional<int64_t> number_of(const json::value& value, int64_t high) {
  const int64_t* number = value.if_int64();
  if (number == nullptr || *number < 0 || *number > high) return std::nullopt;
  return *number;
}

// {"concat": [...]} with exactly `size` parts, or nullptr.
const json::array* concat_of(const json::value& value, size_t size) {
  const json::value* parts = find(value, "concat");
  const json::array* array = parts == nullptr ? nullptr : parts->if_array();
  return array == nullptr || array->size() != size ? nullptr : array;
}

std::optional<Protocol> protocol_of(const json::value& value) {
  const auto number = number_of(value, 255);
  for (const Protocol known : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    if (number == static_cast<int>(known)) return known;
  }
  return std::nullopt;
}

std::optional<RowKey> row_key_of(const json::value& ip_text, std::optional<Protocol> protocol,
                                 const json::value& port_number) {
  const auto ip = Ip::parse(text_of(ip_text));
  const auto port = number_of(port_number, 65535);
  if (!ip || !protocol || !port) return std::nullopt;
  return RowKey{*ip, *protocol, static_cast<uint16_t>(*port), false};
}

std::optional<Protocol> protocol_of_backends(std::string_view map) {
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    for (const bool ipv6 : {false, true}) {
      if (map == backends_map(protocol, ipv6)) return protocol;
    }
  }
  return std::nullopt;
}

struct Slot {
  RowKey row;
  size_t index;
  SocketAddress backend;
};

class Parser {
 public:
  Result<KernelState> parse(const json::value& listing) {
    const json::value* items = find(listing, "nftables");
    if (items == nullptr || !items->is_array()) return fail("listing without \"nftables\"");
    for (const json::value& item : items->get_array()) {
      if (const json::value* map = find(item, "map")) FL_TRY_VOID(add_set(*map));
      if (const json::value* set = find(item, "set")) FL_TRY_VOID(add_set(*set));
      if (const json::value* chain = find(item, "chain")) add_chain(find_string(*chain, "name"));
      if (const json::value* rule = find(item, "rule")) {
        ++state_.rules[std::string(find_string(*rule, "chain"))];
      }
    }
    FL_TRY_VOID(place_slots());
    return std::move(state_);
  }

 private:
  Result<void> add_set(const json::value& set) {
    const std::string_view name = find_string(set, "name");
    const json::value* elements = find(set, "elem");
    if (elements == nullptr) return {};
    if (!elements->is_array()) return fail(cat("set ", name, ": elements are no list"));
    for (const json::value& element : elements->get_array()) {
      bool known = true;
      if (name == "services4" || name == "services6") known = add_row(element, false);
      if (name == "outside4" || name == "outside6") known = add_row(element, true);
      if (const auto protocol = protocol_of_backends(name)) known = add_slot(element, *protocol);
      if (name.starts_with("hairpin")) known = add_hairpin(element);
      if (!known) return fail(cat("set ", name, ": element not made by fairlead"));
    }
    return {};
  }

  void add_chain(std::string_view name) {
    if (name.starts_with("layout-")) state_.label = name;
    const auto key = parse_chain_name(name);
    if (key && key->count > 0) state_.chains.insert(*key);
  }

  bool add_row(const json::value& element, bool outside) {
    const json::array* pair = element.if_array();
    if (pair == nullptr || pair->size() != 2) return false;
    const json::array* parts = concat_of((*pair)[0], 3);
    const auto chain = parse_chain_name(find_string((*pair)[1], "goto", "target"));
    if (parts == nullptr || !chain) return false;
    auto key = row_key_of((*parts)[0], protocol_of((*parts)[1]), (*parts)[2]);
    if (!key || (chain->count > 0 && !serves(*chain, *key))) return false;
    key->outside = outside;
    Row& row = state_.rows[*key];
    row.action = chain->action;
    row.slots.resize(chain->count);
    return true;
  }

  static bool serves(const ChainKey& chain, const RowKey& key) {
    return chain.protocol == key.protocol && chain.ipv6 == !key.ip.is_v4();
  }

  bool add_slot(const json::value& element, Protocol protocol) {
    const json::array* pair = element.if_array();
    if (pair == nullptr || pair->size() != 2) return false;
    const json::array* parts = concat_of((*pair)[0], 3);
    const json::array* backend = concat_of((*pair)[1], 2);
    if (parts == nullptr || backend == nullptr) return false;
    auto key = row_key_of((*parts)[0], protocol, (*parts)[1]);
    const auto slot = number_of((*parts)[2], 2 * outside_slot_base - 1);
    const auto ip = Ip::parse(text_of((*backend)[0]));
    const auto port = number_of((*backend)[1], 65535);
    if (!key || !slot || !ip || !port) return false;
    key->outside = *slot >= outside_slot_base;
    slots_.push_back({*key,
                      static_cast<size_t>(*slot) % outside_slot_base,
                      {*ip, static_cast<uint16_t>(*port)}});
    return true;
  }

  bool add_hairpin(const json::value& element) {
    const json::array* parts = concat_of(element, 2);
    const auto ip = parts == nullptr ? std::nullopt : Ip::parse(text_of((*parts)[0]));
    return ip && Ip::parse(text_of((*parts)[1])) == ip && state_.hairpin.insert(*ip).second;
  }

  // Every slot of every row must be there once, and no other.
  Result<void> place_slots() {
    size_t expected = 0;
    for (const auto& [key, row] : state_.rows) expected += row.slots.size();
    for (const Slot& slot : slots_) {
      const auto row = state_.rows.find(slot.row);
      if (row == state_.rows.end() || slot.index >= row->second.slots.size()) {
        return fail(cat("backend slot ", backends_key(slot.row, slot.index), " of no service"));
      }
      row->second.slots[slot.index] = slot.backend;
    }
    if (slots_.size() == expected) return {};
    return fail(cat(expected, " backend slots expected, ", slots_.size(), " found"));
  }

  KernelState state_;
  std::vector<Slot> slots_;
};

std::map<std::string, size_t> rules_in(const std::string& commands) {
  std::map<std::string, size_t> count;
  for (const std::string_view line : split(commands, '\n')) {
    const auto words = split(line, ' ');  // add rule inet TABLE CHAIN ...
    if (words.size() > 4 && words[1] == "rule") ++count[std::string(words[4])];
  }
  return count;
}

}  // namespace

Result<KernelState> parse_kernel_state(std::string_view text) {
  FL_TRY(const json::value listing, parse_json(text));
  return Parser().parse(listing);
}

std::optional<std::string> rules_differ(const KernelState& state, const Layout& layout) {
  if (state.label != layout.label()) return cat("made with other settings (", state.label, ")");
  std::string commands = layout.replace_commands();
  for (const ChainKey& key : state.chains) append(commands, layout.chain_commands(key));
  if (state.rules == rules_in(commands)) return std::nullopt;
  return "rules were added or removed by others";
}

}  // namespace fairlead::dataplane::nft
