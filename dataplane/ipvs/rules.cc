#include "dataplane/ipvs/rules.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/nftables/comparison.h"

namespace fairlead::dataplane::ipvs {
namespace {

// Raised when a set of base() holds something else than before: then none is kept. Other changes
// are told by the fingerprint.
constexpr int layout_version = 1;

constexpr std::string_view gate_names[] = {"open", "refuse", "discard", "insiders"};
constexpr std::string_view masquerade_names[] = {"masquerade-by-source", "masquerade-always",
                                                 "masquerade-node"};

char digit(bool ipv6) { return ipv6 ? '6' : '4'; }
char digit(const Ip& ip) { return digit(!ip.is_v4()); }
std::string_view word(bool ipv6) { return ipv6 ? "ip6" : "ip"; }

std::string key_text(const ServiceKey& key) {
  return cat(key.ip.to_string(), " . ", static_cast<int>(key.protocol), " . ", key.port);
}

std::string front(bool ipv6) { return cat(word(ipv6), " daddr . meta l4proto . th dport"); }

}  // namespace

void add_claim(Elements& elements, const ServiceKey& key, const Claim& claim) {
  const char family = digit(key.ip);
  const std::string text = key_text(key);
  elements[cat("filter", family)][text] = cat("goto ", gate_names[static_cast<size_t>(claim.gate)]);
  if (claim.gate == Gate::open || claim.gate == Gate::insiders) {
    elements[cat("masquerade", family)][text] =
        cat("goto ", masquerade_names[static_cast<size_t>(claim.masquerade)]);
  }
  if (claim.sources.empty()) return;
  elements[cat("guarded", family)][text];
  for (const Cidr& cidr : claim.sources) {
    elements[cat("allowed", family)][cat(text, " . ", cidr.to_string())];
  }
}

void add_hairpin(Elements& elements, const Ip& ip) {
  const std::string text = ip.to_string();
  elements[cat("hairpin", digit(ip))][cat(text, " . ", text)];
}

void add_vip(Elements& elements, const Ip& ip) { elements[cat("vips", digit(ip))][ip.to_string()]; }

void add_health_port(Elements& elements, uint16_t port) { elements["health"][cat(port)]; }

std::optional<ServiceKey> parse_key(std::string_view text) {
  const auto words = split(text, ' ');  // IP . PROTOCOL . PORT
  if (words.size() != 5) return std::nullopt;
  const auto ip = Ip::parse(words[0]);
  const auto port = parse_int(words[4], 0, 65535);
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    if (!ip || !port || words[2] != std::to_string(static_cast<int>(protocol))) continue;
    return ServiceKey{*ip, protocol, static_cast<uint16_t>(*port)};
  }
  return std::nullopt;
}

RuleLayout::RuleLayout(RuleOptions options, const NodeConfig& node)
    : table_(std::move(options.table)),
      mark_(nft::hex(options.masquerade_mark)),
      pods_(node.local_pod_cidrs),
      service_cidrs_(node.service_cidrs),
      masquerade_all_(node.masquerade_all) {
  std::sort(pods_.begin(), pods_.end());
  std::sort(service_cidrs_.begin(), service_cidrs_.end());
  label_ = nft::layout_label(layout_version, base());
}

std::string RuleLayout::chain(std::string_view name, std::string_view hook) const {
  const std::string body = hook.empty() ? "" : cat(" { ", hook, " }");
  return cat("add chain inet ", table_, " ", name, body, "\n");
}

std::string RuleLayout::rule(std::string_view chain, std::string_view text) const {
  return cat("add rule inet ", table_, " ", chain, " ", text, "\n");
}

std::string RuleLayout::sets() const {
  std::string out;
  const auto add = [&](std::string_view kind, std::string_view name, std::string_view suffix,
                       const std::string& type) {
    append(out, cat("add ", kind, " inet ", table_, " ", name, suffix, " { ", type, "; }\n"));
  };
  for (const bool ipv6 : {false, true}) {
    const std::string suffix(1, digit(ipv6));
    const std::string ip(word(ipv6));
    add("map", "filter", suffix, cat("typeof ", front(ipv6), " : verdict"));
    add("map", "masquerade", suffix, cat("typeof ", front(ipv6), " : verdict"));
    add("set", "guarded", suffix, cat("typeof ", front(ipv6)));
    add("set", "allowed", suffix, cat("typeof ", front(ipv6), " . ", ip, " saddr; flags interval"));
    add("set", "hairpin", suffix, cat("typeof ", ip, " saddr . ", ip, " daddr"));
    add("set", "vips", suffix, cat("type ", ipv6 ? "ipv6_addr" : "ipv4_addr"));
  }
  add("set", "health", "", "type inet_service");
  return out;
}

// Where a new flow to a service goes; falling off the end of a chain lets it pass.
std::string RuleLayout::gates() const {
  std::string out = chain("open");
  append(out, chain("refuse"));
  append(out, rule("refuse", "meta l4proto tcp reject with tcp reset"));
  append(out, rule("refuse", "reject with icmpx type port-unreachable"));
  append(out, chain("discard"));
  append(out, rule("discard", "drop"));
  append(out, chain("insiders"));
  append(out, rule("insiders", "fib saddr type local return"));
  for (const Cidr& cidr : pods_) {
    append(out,
           rule("insiders", cat(word(!cidr.base.is_v4()), " saddr ", cidr.to_string(), " return")));
  }
  append(out, rule("insiders", "drop"));
  append(out, chain("guard"));
  for (const bool ipv6 : {false, true}) {
    append(out,
           rule("guard", cat(nft::source_expression(ipv6), " @allowed", digit(ipv6), " return")));
  }
  append(out, rule("guard", "drop"));
  return out;
}

// Before IPVS sees the packet: at LOCAL_IN it comes after the filters, but at LOCAL_OUT before
// them (priority -98), and then the address is the endpoint's.
std::string RuleLayout::check() const {
  std::string out = chain("check");
  append(out, rule("check", "ct state != new return"));
  for (const bool ipv6 : {false, true}) {
    append(out, rule("check", cat(front(ipv6), " @guarded", digit(ipv6), " jump guard")));
    append(out, rule("check", cat(front(ipv6), " vmap @filter", digit(ipv6))));
  }
  // What listens on the node shall not be reached through a service address.
  append(out, rule("check", "tcp dport @health return"));
  for (const bool ipv6 : {false, true}) {
    append(out, rule("check", cat("meta l4proto { tcp, udp, sctp } ", word(ipv6), " daddr @vips",
                                  digit(ipv6), " goto refuse")));
    append(out, rule("check", cat(word(ipv6), " daddr @vips", digit(ipv6), " return")));
  }
  for (const Cidr& cidr : service_cidrs_) {
    append(out, rule("check",
                     cat(word(!cidr.base.is_v4()), " daddr ", cidr.to_string(), " goto discard")));
  }
  return out;
}

// Also before IPVS: it keeps the packet's mark, but not the address that was dialled.
std::string RuleLayout::marks() const {
  const std::string set_mark = cat("meta mark set meta mark or ", mark_);
  std::string out = chain("masquerade-always");
  append(out, rule("masquerade-always", set_mark));
  append(out, chain("masquerade-node"));
  append(out, rule("masquerade-node", cat("fib saddr type local ", set_mark)));
  append(out, chain("masquerade-by-source"));
  for (const bool ipv6 : {false, true}) {
    const std::string family = cat("meta nfproto ", ipv6 ? "ipv6 " : "ipv4 ");
    bool knows_pods = false;
    for (const Cidr& cidr : pods_) {
      if (cidr.base.is_v4() == ipv6) continue;
      knows_pods = true;
      if (masquerade_all_) continue;
      append(out,
             rule("masquerade-by-source", cat(word(ipv6), " saddr ", cidr.to_string(), " return")));
    }
    // The node's own connections have the service's address as their source: the device has it.
    const std::string vip = cat(word(ipv6), " saddr @vips", digit(ipv6), " ");
    append(out, rule("masquerade-by-source",
                     cat(masquerade_all_ || knows_pods ? family : vip, set_mark)));
  }
  append(out, chain("classify"));
  append(out, rule("classify", "ct state != new return"));
  for (const bool ipv6 : {false, true}) {
    append(out, rule("classify", cat(front(ipv6), " vmap @masquerade", digit(ipv6))));
  }
  return out;
}

std::string RuleLayout::hooks() const {
  std::string out;
  for (const std::string_view hook : {"prerouting", "output"}) {
    append(out, chain(hook, cat("type filter hook ", hook, " priority -110;")));
    append(out, rule(hook, "jump check"));
    append(out, rule(hook, "jump classify"));
  }
  // The mark goes before the packet leaves: on a tunnel it would stay on the outer packet.
  append(out, chain("marked"));
  append(out, rule("marked", cat("meta mark set meta mark xor ", mark_)));
  append(out, rule("marked", "masquerade fully-random"));
  append(out, chain("postrouting", "type nat hook postrouting priority 100;"));
  append(out, rule("postrouting", cat("meta mark and ", mark_, " != 0 goto marked")));
  for (const bool ipv6 : {false, true}) {
    append(out, rule("postrouting", cat(word(ipv6), " saddr . ", word(ipv6), " daddr @hairpin",
                                        digit(ipv6), " masquerade fully-random")));
  }
  return out;
}

std::string RuleLayout::base() const {
  return cat("add table inet ", table_, "\n", sets(), gates(), check(), marks(), hooks());
}

std::string RuleLayout::remove_hooks() const {
  std::string out;
  for (const std::string_view hook : {"prerouting", "output", "postrouting"}) {
    append(out, cat("delete chain inet ", table_, " ", hook, "\n"));
  }
  return out;
}

std::string RuleLayout::replace(const Elements& elements) const {
  nft::ElementLists all;
  for (const auto& [set, members] : elements) {
    for (const auto& [key, value] : members) all.put(set, key, value);
  }
  return cat(nft::remove_table_commands(table_), base(), chain(label_),
             all.commands("add", table_));
}

bool RuleLayout::can_refresh(const NftTable& held) const {
  return nft::keeps_sets(held, layout_version, base());
}

std::string RuleLayout::refresh(const NftTable& held) const {
  const std::string rules = base() + chain(label_);
  return cat("flush table inet ", table_, "\n", rules,
             nft::delete_other_chains(held, rules, table_));
}

std::string RuleLayout::change(const nft::ElementLists& remove,
                               const nft::ElementLists& add) const {
  return remove.commands("delete", table_) + add.commands("add", table_);
}

std::vector<std::string> RuleLayout::differences(const NftTable& held) const {
  return nft::rule_differences(held, label_, base() + chain(label_));
}

}  // namespace fairlead::dataplane::ipvs
