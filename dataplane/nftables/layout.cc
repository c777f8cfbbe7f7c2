#include "dataplane/nftables/layout.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane::nft {
namespace {

// Raised with every change of what base_commands() or chain_commands() say, so that a table of
// another version is replaced and not taken over.
constexpr int layout_version = 3;

char family_digit(bool ipv6) { return ipv6 ? '6' : '4'; }
constexpr Protocol all_protocols[] = {Protocol::tcp, Protocol::udp, Protocol::sctp};

std::string_view protocol_word(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp:
      return "tcp";
    case Protocol::udp:
      return "udp";
    case Protocol::sctp:
      return "sctp";
  }
  return "";
}

std::string_view ip_word(bool ipv6) { return ipv6 ? "ip6" : "ip"; }

std::string hex(uint32_t value) {
  char digits[8];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return cat("0x", std::string_view(digits, end));
}

// FNV-1a, 64 bits: names a configuration; nobody attacks it.
uint64_t fingerprint(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::string frontend_expression(bool ipv6) {
  return cat(ip_word(ipv6), " daddr . meta l4proto . th dport");
}

}  // namespace

Layout::Layout(std::string table, uint32_t masquerade_mark, const NodeConfig& node)
    : table_(std::move(table)),
      mark_(masquerade_mark),
      local_pods_(node.local_pod_cidrs),
      knows_pods4_(knows_local_pods(node, false)),
      knows_pods6_(knows_local_pods(node, true)) {
  std::sort(local_pods_.begin(), local_pods_.end());
}

std::string Layout::label() const {
  // NodePort rows are written for each node address, so these need no new table.
  return cat("layout-", layout_version, "-", fingerprint(base_commands()));
}

std::string Layout::remove_commands() const {
  return cat("add table inet ", table_, "\ndelete table inet ", table_, "\n");
}

std::string Layout::replace_commands() const {
  return cat(remove_commands(), base_commands(), "add chain inet ", table_, " ", label(), "\n");
}

std::string Layout::services_rules(const std::string& chain, bool with_outside) const {
  std::string out;
  for (const bool ipv6 : {false, true}) {
    const char digit = family_digit(ipv6);
    const std::string head = cat("add rule inet ", table_, " ", chain, " ");
    if (with_outside) {
      const bool knows_pods = ipv6 ? knows_pods6_ : knows_pods4_;
      const std::string not_a_pod =
          knows_pods ? cat(ip_word(ipv6), " saddr != @local_pods", digit, " ") : "";
      append(out, cat(head, not_a_pod, frontend_expression(ipv6), " vmap @outside", digit, "\n"));
    }
    append(out, cat(head, frontend_expression(ipv6), " vmap @services", digit, "\n"));
  }
  return out;
}

std::string Layout::base_commands() const {
  const std::string in = cat(" inet ", table_, " ");
  std::string out = cat("add table inet ", table_, "\n");
  for (const bool ipv6 : {false, true}) {
    const char digit = family_digit(ipv6);
    const std::string front = frontend_expression(ipv6);
    const std::string_view ip = ip_word(ipv6);
    append(out, cat("add map", in, "services", digit, " { typeof ", front, " : verdict; }\n"));
    append(out, cat("add map", in, "outside", digit, " { typeof ", front, " : verdict; }\n"));
    for (const Protocol protocol : all_protocols) {
      const std::string_view word = protocol_word(protocol);
      append(out,
             cat("add map", in, backends_map(protocol, ipv6), " { typeof ", ip, " daddr . ", word,
                 " dport . numgen random mod 2 : ", ip, " daddr . ", word, " dport; }\n"));
    }
    append(out,
           cat("add set", in, "hairpin", digit, " { typeof ", ip, " saddr . ", ip, " daddr; }\n"));
    append(out, cat("add set", in, "local_pods", digit, " { type ", ipv6 ? "ipv6" : "ipv4",
                    "_addr; flags interval; auto-merge; }\n"));
  }
  for (const Cidr& cidr : local_pods_) {
    append(out, cat("add element", in, "local_pods", family_digit(!cidr.base.is_v4()), " { ",
                    cidr.to_string(), " }\n"));
  }
  append(out, cat("add chain", in, "no-endpoint\n"));
  append(out, cat("add rule", in, "no-endpoint meta l4proto tcp reject with tcp reset\n"));
  append(out, cat("add rule", in, "no-endpoint reject with icmpx type port-unreachable\n"));
  append(out, cat("add chain", in, "policy-drop\n"));
  append(out, cat("add rule", in, "policy-drop drop\n"));
  append(out, cat("add chain", in, "prerouting { type nat hook prerouting priority -100; }\n"));
  append(out, services_rules("prerouting", true));
  append(out, cat("add chain", in, "output { type nat hook output priority -100; }\n"));
  append(out, services_rules("output", false));
  append(out, cat("add chain", in, "postrouting { type nat hook postrouting priority 100; }\n"));
  for (const std::string_view ip : {"ip", "ip6"}) {
    append(out, cat("add rule", in, "postrouting ct status dnat ", ip, " saddr . ", ip,
                    " daddr @hairpin", ip == "ip" ? '4' : '6', " masquerade fully-random\n"));
  }
  // The mark goes before the packet leaves: on a tunnel it would stay on the outer packet.
  const std::string mark = hex(mark_);
  append(out, cat("add rule", in, "postrouting meta mark and ", mark, " == 0 return\n"));
  append(out, cat("add rule", in, "postrouting meta mark set meta mark xor ", mark, "\n"));
  append(out, cat("add rule", in, "postrouting masquerade fully-random\n"));
  return out;
}

std::string Layout::chain_commands(const ChainKey& key) const {
  const std::string_view ip = ip_word(key.ipv6);
  const char digit = family_digit(key.ipv6);
  const std::string name = chain_name(key);
  const std::string head = cat("add rule inet ", table_, " ", name, " ");
  const std::string set_mark = cat("meta mark set meta mark or ", hex(mark_), "\n");
  std::string out = cat("add chain inet ", table_, " ", name, "\n");
  switch (key.action) {
    case Action::internal:
      if (key.ipv6 ? knows_pods6_ : knows_pods4_) {
        append(out, cat(head, ip, " saddr != @local_pods", digit, " ", set_mark));
      }
      break;
    case Action::external:
      append(out, cat(head, set_mark));
      break;
    case Action::node_only:
      append(out, cat(head, "fib saddr type local ", set_mark));
      break;
    case Action::outside:
      break;
    case Action::no_endpoint:
    case Action::policy_drop:
      return {};
  }
  const uint32_t base = key.action == Action::outside ? outside_slot_base : 0;
  const auto choose = [&](uint32_t slots) {
    return cat(head, "dnat ", ip, " to ", ip, " daddr . ", protocol_word(key.protocol),
               " dport . numgen random mod ", slots, base == 0 ? "" : cat(" offset ", base),
               " map @", backends_map(key.protocol, key.ipv6), "\n");
  };
  append(out, choose(key.count));
  // A packet may have found this chain before a transaction and look its slot up after it, when the
  // Service has fewer: the first slot is always there.
  if (key.count > 1) append(out, choose(1));
  return out;
}

namespace {

// "internal-tcp4-"
std::string chain_prefix(Action action, Protocol protocol, bool ipv6) {
  return cat(to_string(action), "-", protocol_word(protocol), family_digit(ipv6), "-");
}

}  // namespace

std::string chain_name(const ChainKey& key) {
  if (key.count == 0) return std::string(to_string(key.action));
  return cat(chain_prefix(key.action, key.protocol, key.ipv6), key.count);
}

std::optional<ChainKey> parse_chain_name(std::string_view name) {
  for (const Action action : {Action::no_endpoint, Action::policy_drop}) {
    if (name == to_string(action)) return ChainKey{action, Protocol::tcp, false, 0};
  }
  for (const Action action :
       {Action::internal, Action::external, Action::node_only, Action::outside}) {
    for (const Protocol protocol : all_protocols) {
      for (const bool ipv6 : {false, true}) {
        const std::string prefix = chain_prefix(action, protocol, ipv6);
        if (!name.starts_with(prefix)) continue;
        const auto count = parse_int(name.substr(prefix.size()), 1, int64_t{max_slots});
        if (!count) return std::nullopt;
        return ChainKey{action, protocol, ipv6, static_cast<uint32_t>(*count)};
      }
    }
  }
  return std::nullopt;
}

// Rows without slots share the fixed chains, whatever their protocol and family.
ChainKey chain_of(const RowKey& key, const Row& row) {
  if (row.slots.empty()) return {row.action, Protocol::tcp, false, 0};
  return {row.action, key.protocol, !key.ip.is_v4(), static_cast<uint32_t>(row.slots.size())};
}

std::string services_map(const RowKey& key) {
  return cat(key.outside ? "outside" : "services", family_digit(!key.ip.is_v4()));
}
std::string backends_map(Protocol protocol, bool ipv6) {
  return cat(protocol_word(protocol), "-backends", family_digit(ipv6));
}
std::string hairpin_set(bool ipv6) { return cat("hairpin", family_digit(ipv6)); }

std::string services_key(const RowKey& key) {
  return cat(key.ip.to_string(), " . ", static_cast<int>(key.protocol), " . ", key.port);
}

std::string backends_key(const RowKey& key, size_t slot) {
  return cat(key.ip.to_string(), " . ", key.port, " . ",
             slot + (key.outside ? outside_slot_base : 0));
}

std::string backends_value(const SocketAddress& backend) {
  return cat(backend.ip.to_string(), " . ", backend.port);
}

}  // namespace fairlead::dataplane::nft
