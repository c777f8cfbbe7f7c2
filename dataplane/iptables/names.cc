#include "dataplane/iptables/names.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/iptables/layout.h"
#include "net/crypto.h"

namespace fairlead::dataplane::ipt {
namespace {

constexpr std::string_view fixed_names[] = {
    "KUBE-SERVICES",       "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS",    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",      "KUBE-MARK-OUTSIDE",      "KUBE-FORWARD",      "KUBE-CLUSTER-IPS",
    "KUBE-PROXY-FIREWALL", "KUBE-PROXY-LOCALNET",    "KUBE-PROXY-CANARY", "KUBE-REJECT"};

constexpr std::string_view tree_prefix = "KUBE-SERVICES-";
constexpr std::string_view port_tree_prefix = "KUBE-NODEPORTS-";
constexpr std::string_view hex_digits = "0123456789abcdef";

// KUBE-XLB- is what kube-proxy before 1.24 called its KUBE-EXT- chains.
constexpr std::string_view service_prefixes[] = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-",
                                                 "KUBE-FW-",  "KUBE-SEP-", "KUBE-XLB-"};

// The first 16 characters of the digest in base32 (RFC 4648 section 6): 80 bits.
std::string name_hash(std::string_view text) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const std::string digest = net::sha256(text);
  std::string out;
  uint32_t bits = 0, count = 0;
  for (size_t i = 0; out.size() < 16; ++i) {
    bits = bits << 8 | static_cast<uint8_t>(digest[i]);
    for (count += 8; count >= 5; count -= 5) out += digits[bits >> (count - 5) & 31];
  }
  return out;
}

std::string_view prefix(ChainKind kind) { return service_prefixes[static_cast<size_t>(kind)]; }

}  // namespace

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

std::string chain_name(ChainKind kind, const std::string& label, Protocol protocol) {
  return cat(prefix(kind), name_hash(cat(label, protocol_word(protocol))));
}

std::string endpoint_chain_name(const std::string& label, Protocol protocol,
                                const std::string& endpoint) {
  return cat("KUBE-SEP-", name_hash(cat(label, protocol_word(protocol), endpoint)));
}

bool is_service_chain(std::string_view name) {
  return std::any_of(std::begin(service_prefixes), std::end(service_prefixes),
                     [&](std::string_view one) { return name.starts_with(one); });
}

std::string branch_name(int low_bits) {
  return cat(tree_prefix, hex_digits[static_cast<size_t>(low_bits)]);
}

std::string leaf_name(int byte) {
  return cat(tree_prefix, hex_digits[static_cast<size_t>(byte >> 4)],
             hex_digits[static_cast<size_t>(byte & 15)]);
}

bool is_leaf(std::string_view chain) {
  return chain.starts_with(tree_prefix) && chain.size() == tree_prefix.size() + 2;
}

std::string port_chain_name(Protocol protocol, uint16_t port, int bits) {
  std::string out = cat(port_tree_prefix, protocol_word(protocol), "-");
  for (int at = 12; at >= bits; at -= 4) out += hex_digits[static_cast<size_t>(port >> at & 15)];
  return out;
}

bool is_port_chain(std::string_view chain) { return chain.starts_with(port_tree_prefix); }

int rank_of(std::string_view name) {
  // The further from the root, the more digits.
  if (name.starts_with(tree_prefix) || is_port_chain(name)) {
    return std::min(3, static_cast<int>(name.size() - name.rfind('-')) - 1);
  }
  constexpr std::pair<std::string_view, int> ranks[] = {
      {"KUBE-FW-", 4},           {"KUBE-EXT-", 5},           {"KUBE-XLB-", 5},
      {"KUBE-SVC-", 6},          {"KUBE-SVL-", 6},           {"KUBE-SEP-", 7},
      {"KUBE-MARK-", last_rank}, {"KUBE-REJECT", last_rank}, {canary_name, last_rank}};
  for (const auto& [prefix, rank] : ranks) {
    if (name.starts_with(prefix)) return rank;
  }
  return 0;
}

bool is_our_chain(std::string_view name) {
  return is_service_chain(name) || name.starts_with(tree_prefix) || is_port_chain(name) ||
         std::find(std::begin(fixed_names), std::end(fixed_names), name) != std::end(fixed_names);
}

}  // namespace fairlead::dataplane::ipt
