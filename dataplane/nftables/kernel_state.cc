#include "dataplane/nftables/kernel_state.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

constexpr Protocol all_protocols[] = {Protocol::tcp, Protocol::udp, Protocol::sctp};

// "10.96.0.1 . 6 . 80" -> its parts.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts = split(text, ' ');
  std::erase(parts, ".");
  return parts;
}

std::optional<RowKey> row_key_of(std::string_view ip_text, std::optional<Protocol> protocol,
                                 std::string_view port_text) {
  const auto ip = Ip::parse(ip_text);
  const auto port = parse_int(port_text, 0, 65535);
  if (!ip || !protocol || !port) return std::nullopt;
  return RowKey{*ip, *protocol, static_cast<uint16_t>(*port), false};
}

std::optional<RowKey> services_row(const std::vector<std::string_view>& parts) {
  for (const Protocol protocol : all_protocols) {
    if (parts.size() < 3 || parts[1] != std::to_string(static_cast<int>(protocol))) continue;
    return row_key_of(parts[0], protocol, parts[2]);
  }
  return std::nullopt;
}

bool serves(const ChainKey& chain, const RowKey& key) {
  if (chain.remember) return false;
  if (chain.count == 0) return !chain.guarded || chain.ipv6 == !key.ip.is_v4();
  return chain.protocol == key.protocol && chain.ipv6 == !key.ip.is_v4();
}

class Assembly {
 public:
  explicit Assembly(const NftTable& table) : table_(table) {}

  RowMap assemble() {
    for (const bool ipv6 : {false, true}) {
      for (const bool outside : {false, true}) add_rows(ipv6, outside);
      for (const Protocol protocol : all_protocols) add_slots(protocol, ipv6);
      add_ranges(ipv6);
    }
    for (auto& [key, row] : rows_) std::sort(row.ranges.begin(), row.ranges.end());
    std::erase_if(rows_, [&](const auto& one) {
      const auto& slots = one.second.slots;
      return std::find(slots.begin(), slots.end(), SocketAddress()) != slots.end();
    });
    return std::move(rows_);
  }

 private:
  const NftSet& set(const std::string& name) const {
    static const NftSet none;
    const auto found = table_.sets.find(name);
    return found == table_.sets.end() ? none : found->second;
  }

  void add_rows(bool ipv6, bool outside) {
    RowKey any{ipv6 ? Ip{} : Ip::v4(0), Protocol::tcp, 0, outside};
    for (const auto& [text, value] : set(services_map(any))) {
      auto key = services_row(parts_of(text));
      const auto chain =
          value.starts_with("goto ") ? parse_chain_name(value.substr(5)) : std::nullopt;
      if (!key || !chain || !serves(*chain, *key)) continue;
      key->outside = outside;
      Row& row = rows_[*key];
      row.action = chain->action;
      row.slots.resize(chain->count);
      row.guarded = chain->guarded;
      row.affinity = chain->affinity;
    }
  }

  void add_slots(Protocol protocol, bool ipv6) {
    for (const auto& [text, value] : set(backends_map(protocol, ipv6))) {
      const auto parts = parts_of(text), backend = parts_of(value);
      if (parts.size() != 3 || backend.size() != 2) continue;
      auto key = row_key_of(parts[0], protocol, parts[1]);
      const auto slot = parse_int(parts[2], 0, 2 * outside_slot_base - 1);
      const auto ip = Ip::parse(backend[0]);
      const auto port = parse_int(backend[1], 0, 65535);
      if (!key || !slot || !ip || !port) continue;
      key->outside = *slot >= outside_slot_base;
      const auto row = rows_.find(*key);
      const auto index = static_cast<size_t>(*slot) % outside_slot_base;
      if (row == rows_.end() || index >= row->second.slots.size()) continue;
      row->second.slots[index] = {*ip, static_cast<uint16_t>(*port)};
    }
  }

  void add_ranges(bool ipv6) {
    for (const auto& [text, value] : set(ranges_set(ipv6))) {
      const auto parts = parts_of(text);
      const auto key = services_row(parts);
      const auto range = parts.size() == 4 ? Cidr::parse(parts[3]) : std::nullopt;
      const auto row = key ? rows_.find(*key) : rows_.end();
      if (range && row != rows_.end()) row->second.ranges.push_back(*range);
    }
  }

  const NftTable& table_;
  RowMap rows_;
};

}  // namespace

RowMap rows_in(const NftTable& table) { return Assembly(table).assemble(); }

}  // namespace fairlead::dataplane::nft
