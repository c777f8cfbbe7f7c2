#include "dataplane/nftables/layout.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/nftables/comparison.h"

namespace fairlead::dataplane::nft {
namespace {

// Raised with every change of what base_commands() or chain_commands() say, so that a table of
// another version is replaced and not taken over.
constexpr int layout_version = 6;

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

std::string frontend_expression(bool ipv6) {
  return cat(ip_word(ipv6), " daddr . meta l4proto . th dport");
}

// Constants cannot be part of a concatenated key; a random number below one, plus an offset, can.
std::string constant(uint64_t number) { return cat("numgen random mod 1 offset ", number); }

// The key of the affinity maps for the packet at hand.
std::string client_expression(const ChainKey& key) {
  const std::string id =
      cat(constant(key.affinity.id >> 32), " . ", constant(key.affinity.id & 0xffffffff), " . ");
  if (!key.ipv6) return id + "ip saddr";
  return cat(id, "jhash ip6 saddr mod 4294967295 seed 0x1 . ",
             "jhash ip6 saddr mod 4294967295 seed 0x2");
}

std::string interval_text(const Ip& first, const Ip& last) {
  return first == last ? first.to_string() : cat(first.to_string(), "-", last.to_string());
}

Ip last_of(const Cidr& cidr) {
  Ip ip = cidr.base;
  const size_t skip = ip.is_v4() ? 96 : 0;
  for (size_t bit = cidr.bits + skip; bit < 128; ++bit) {
    ip.bytes[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
  }
  return ip;
}

Ip before(Ip ip) {
  for (size_t i = 16; i-- > 0;) {
    if (ip.bytes[i]-- != 0) break;
  }
  return ip;
}

Ip after(Ip ip) {
  for (size_t i = 16; i-- > 0;) {
    if (++ip.bytes[i] != 0) break;
  }
  return ip;
}

using Interval = std::pair<Ip, Ip>;  // the first and the last address

void cut_out(const Ip& ip, std::vector<Interval>& intervals) {
  for (size_t i = 0; i < intervals.size(); ++i) {
    const Interval old = intervals[i];
    if (ip < old.first || old.second < ip) continue;
    intervals.erase(intervals.begin() + static_cast<ptrdiff_t>(i));
    if (old.first != ip) intervals.emplace_back(old.first, before(ip));
    if (old.second != ip) intervals.emplace_back(after(ip), old.second);
    return;
  }
}

}  // namespace

Layout::Layout(LayoutOptions options, const NodeConfig& node)
    : options_(std::move(options)),
      masquerade_all_(node.masquerade_all),
      knows_pods_{knows_local_pods(node, false), knows_local_pods(node, true)} {
  add_intervals("local_pods", node.local_pod_cidrs, node.node_ips);
  add_intervals("service-cidrs", node.service_cidrs);
}

// Merged as the kernel's sets are (auto-merge), so that reading back gives the same.
void Layout::add_intervals(const std::string& set, const std::vector<Cidr>& cidrs,
                           const std::vector<Ip>& without) {
  std::vector<Cidr> sorted = cidrs;
  std::sort(sorted.begin(), sorted.end());
  for (const bool ipv6 : {false, true}) {
    std::vector<Interval> merged;
    for (const Cidr& cidr : sorted) {
      if (cidr.base.is_v4() == ipv6) continue;
      const Ip last = last_of(cidr);
      if (!merged.empty() &&
          (cidr.base <= merged.back().second || before(cidr.base) == merged.back().second)) {
        merged.back().second = std::max(merged.back().second, last);
      } else {
        merged.emplace_back(cidr.base, last);
      }
    }
    for (const Ip& ip : without) {
      if (ip.is_v4() != ipv6) cut_out(ip, merged);
    }
    std::set<std::string>& elements = fixed_[cat(set, family_digit(ipv6))];
    for (const auto& [first, last] : merged) elements.insert(interval_text(first, last));
  }
}

std::string Layout::command(std::string_view words, std::string_view name,
                            std::string_view rest) const {
  return cat(words, " inet ", options_.table, " ", name, " ", rest, "\n");
}

std::string Layout::label() const {
  // NodePort rows are written for each node address, so these need no new table.
  return layout_label(layout_version,
                      cat(base_commands(), masquerade_all_ ? "masquerade all" : ""));
}

std::string Layout::replace_commands() const {
  return cat(remove_table_commands(table()), base_commands(), command("add chain", label(), ""));
}

// A packet that entered the old rules looks things up in the sets of now: were the table made anew,
// it could miss the map of Services and still find its address in a set whose addresses are
// rejected.
std::string Layout::refresh_commands() const {
  std::string out = cat("flush table inet ", table(), "\n");
  for (const auto& [set, elements] : fixed_) append(out, command("flush set", set, ""));
  return cat(out, base_commands(), command("add chain", label(), ""));
}

bool Layout::can_refresh(const NftTable& held) const {
  return keeps_sets(held, layout_version, base_commands());
}

std::string Layout::retire_commands() const {
  std::string out = cat(remove_table_commands(table()), "add table inet ", table(), "\n");
  append(out, command("add chain", "prerouting", "{ type nat hook prerouting priority -100; }"));
  append(out, command("add chain", "input", "{ type nat hook input priority 100; }"));
  append(out, command("add chain", "output", "{ type nat hook output priority -100; }"));
  append(out, command("add chain", "postrouting", "{ type nat hook postrouting priority 100; }"));
  // Without a rule that asks for it the kernel would stop tracking connections.
  append(out, command("add rule", "postrouting", "ct state new return"));
  return out;
}

// A condition with its trailing space; "" when no pod CIDR of the family is known.
std::string Layout::not_local_pod(bool ipv6) const {
  if (!knows_pods_[ipv6]) return "";
  return cat(ip_word(ipv6), " saddr != @local_pods", family_digit(ipv6), " ");
}

std::string Layout::services_rules(const std::string& chain, bool with_outside) const {
  std::string out;
  for (const bool ipv6 : {false, true}) {
    const char digit = family_digit(ipv6);
    const std::string front = frontend_expression(ipv6);
    if (with_outside) {
      append(out,
             command("add rule", chain, cat(not_local_pod(ipv6), front, " vmap @outside", digit)));
    }
    append(out, command("add rule", chain, cat(front, " vmap @services", digit)));
  }
  for (const bool ipv6 : {false, true}) {
    const std::string destination = cat(ip_word(ipv6), " daddr @");
    append(out, command("add rule", chain,
                        cat(destination, cluster_ips_set(ipv6), " goto no-endpoint")));
    const std::string cidrs = cat("service-cidrs", family_digit(ipv6));
    if (!fixed_.at(cidrs).empty()) {
      append(out, command("add rule", chain, cat(destination, cidrs, " drop")));
    }
  }
  return out;
}

std::string Layout::set_commands(bool ipv6) const {
  std::string out;
  const char digit = family_digit(ipv6);
  const std::string front = frontend_expression(ipv6);
  const std::string_view ip = ip_word(ipv6);
  for (const std::string_view name : {"services", "outside", "remember", "remember-outside"}) {
    append(out, command("add map", cat(name, digit), cat("{ typeof ", front, " : verdict; }")));
  }
  for (const Protocol protocol : all_protocols) {
    const std::string_view word = protocol_word(protocol);
    append(out, command("add map", backends_map(protocol, ipv6),
                        cat("{ typeof ", ip, " daddr . ", word, " dport . numgen random mod 2 : ",
                            ip, " daddr . ", word, " dport; }")));
  }
  append(out,
         command("add set", hairpin_set(ipv6), cat("{ typeof ", ip, " saddr . ", ip, " daddr; }")));
  append(out, command("add set", cluster_ips_set(ipv6), cat("{ typeof ", ip, " daddr; }")));
  append(out, command("add set", ranges_set(ipv6),
                      cat("{ typeof ", front, " . ", ip, " saddr; flags interval; }")));
  const std::string number = "numgen random mod 2 . numgen random mod 2 . ";
  const std::string client = ipv6 ? "numgen random mod 2 . numgen random mod 2" : "ip saddr";
  for (const bool port : {false, true}) {
    append(out,
           command("add map", cat(port ? "affinity-ports" : "affinity-ips", digit),
                   cat("{ typeof ", number, client, " : ", port ? "th dport" : cat(ip, " daddr"),
                       "; flags dynamic,timeout; size ", max_affinities, "; }")));
  }
  for (const std::string_view name : {"local_pods", "service-cidrs"}) {
    const std::string set = cat(name, digit);
    append(out,
           command("add set", set,
                   cat("{ type ", ipv6 ? "ipv6" : "ipv4", "_addr; flags interval; auto-merge; }")));
    for (const std::string& interval : fixed_.at(set)) {
      append(out, command("add element", set, cat("{ ", interval, " }")));
    }
  }
  return out;
}

// Rows of the ordinary map and those of `outside` are told apart as prerouting and output do.
std::string Layout::remember_rules() const {
  std::string out = command("add chain", "remember", "");
  for (const bool ipv6 : {false, true}) {
    for (const bool outside : {true, false}) {
      for (const Protocol protocol : all_protocols) {
        append(out, command("add rule", "remember",
                            cat("meta l4proto ", protocol_word(protocol), " ",
                                outside ? cat("fib saddr type != local ", not_local_pod(ipv6)) : "",
                                "ct original ", ip_word(ipv6),
                                " daddr . meta l4proto . ct original proto-dst vmap @remember",
                                outside ? "-outside" : "", family_digit(ipv6))));
      }
    }
  }
  return out;
}

std::string Layout::postrouting_rules() const {
  // A backend on this node is met at input, any other at postrouting.
  std::string out = remember_rules();
  append(out, command("add chain", "input", "{ type nat hook input priority 100; }"));
  append(out, command("add rule", "input", "ct status dnat jump remember"));
  append(out, command("add chain", "postrouting", "{ type nat hook postrouting priority 100; }"));
  append(out, command("add rule", "postrouting", "ct status dnat jump remember"));
  // The mark goes before the packet leaves: on a tunnel it would stay on the outer packet.
  const std::string mark = hex(options_.masquerade_mark);
  const std::string unmark =
      cat("meta mark set meta mark and ", hex(~options_.masquerade_mark), " ");
  for (const bool ipv6 : {false, true}) {
    const std::string_view ip = ip_word(ipv6);
    append(out, command("add rule", "postrouting",
                        cat("ct status dnat ", ip, " saddr . ", ip, " daddr @", hairpin_set(ipv6),
                            " ", unmark, "masquerade fully-random")));
  }
  append(out, command("add rule", "postrouting", cat("meta mark and ", mark, " == 0 return")));
  append(out, command("add rule", "postrouting", cat("meta mark set meta mark xor ", mark)));
  append(out, command("add rule", "postrouting", "masquerade fully-random"));
  return out;
}

std::string Layout::base_commands() const {
  std::string out = cat("add table inet ", table(), "\n");
  for (const bool ipv6 : {false, true}) append(out, set_commands(ipv6));
  append(out, command("add chain", "no-endpoint", ""));
  append(out, command("add rule", "no-endpoint", "meta l4proto tcp reject with tcp reset"));
  append(out, command("add rule", "no-endpoint", "reject with icmpx type port-unreachable"));
  append(out, command("add chain", "policy-drop", ""));
  append(out, command("add rule", "policy-drop", "drop"));
  append(out, command("add chain", "prerouting", "{ type nat hook prerouting priority -100; }"));
  append(out, services_rules("prerouting", true));
  append(out, command("add chain", "output", "{ type nat hook output priority -100; }"));
  append(out, services_rules("output", false));
  append(out, postrouting_rules());
  if (options_.drop_invalid) {
    append(out, command("add chain", "forward", "{ type filter hook forward priority 0; }"));
    append(out, command("add rule", "forward", "meta l4proto tcp ct state invalid drop"));
  }
  return out;
}

// The client's backend, if one is remembered. What is left of half a memory goes.
std::string Layout::sticky_rules(const ChainKey& key) const {
  const std::string_view ip = ip_word(key.ipv6), word = protocol_word(key.protocol);
  const std::string client = client_expression(key), name = chain_name(key);
  const std::string ips = cat("@affinity-ips", family_digit(key.ipv6));
  const std::string ports = cat("@affinity-ports", family_digit(key.ipv6));
  return cat(command("add rule", name,
                     cat("meta l4proto ", word, " dnat ", ip, " to ", client, " map ", ips, " : ",
                         client, " map ", ports)),
             command("add rule", name,
                     cat("meta l4proto ", word, " delete ", ips, " { ", client, " : ", ip,
                         " daddr } delete ", ports, " { ", client, " : ", word, " dport }")));
}

std::string Layout::chain_commands(const ChainKey& key) const {
  if (is_fixed(key)) return {};
  const std::string_view ip = ip_word(key.ipv6), word = protocol_word(key.protocol);
  const char digit = family_digit(key.ipv6);
  const std::string name = chain_name(key);
  const auto rule = [&](std::string_view text) { return command("add rule", name, text); };
  std::string out = command("add chain", name, "");
  if (key.remember) {
    const std::string element =
        cat("{ ", client_expression(key), " timeout ", key.affinity.timeout_s, "s : ");
    return out +
           rule(cat("meta l4proto ", word, " update @affinity-ips", digit, " ", element, ip,
                    " daddr } update @affinity-ports", digit, " ", element, word, " dport }"));
  }
  if (key.guarded) {
    append(out, rule(cat(source_expression(key.ipv6), " != @", ranges_set(key.ipv6), " drop")));
  }
  const std::string set_mark = cat("meta mark set meta mark or ", hex(options_.masquerade_mark));
  const std::string not_pod = not_local_pod(key.ipv6);
  switch (key.action) {
    case Action::internal:
      if (masquerade_all_ || !not_pod.empty()) {
        append(out, rule(cat(masquerade_all_ ? "" : not_pod, set_mark)));
      }
      break;
    case Action::external:
      append(out, rule(set_mark));
      break;
    case Action::node_only:
      append(out, rule(cat("fib saddr type local ", set_mark)));
      break;
    case Action::outside:
    case Action::policy_drop:
      break;
    case Action::no_endpoint:
      return out + rule("goto no-endpoint");
  }
  if (key.affinity.timeout_s != 0) append(out, sticky_rules(key));
  const uint32_t base = key.action == Action::outside ? outside_slot_base : 0;
  const auto choose = [&](uint32_t slots) {
    return rule(cat("dnat ", ip, " to ", ip, " daddr . ", word, " dport . numgen random mod ",
                    slots, base == 0 ? "" : cat(" offset ", base), " map @",
                    backends_map(key.protocol, key.ipv6)));
  };
  append(out, choose(key.count));
  // A packet may have found this chain before a transaction and look its slot up after it, when the
  // Service has fewer: the first slot is always there.
  if (key.count > 1) append(out, choose(1));
  return out;
}

std::string services_map(const RowKey& key) {
  return cat(key.outside ? "outside" : "services", family_digit(!key.ip.is_v4()));
}
std::string remember_map(const RowKey& key) {
  return cat(key.outside ? "remember-outside" : "remember", family_digit(!key.ip.is_v4()));
}
std::string backends_map(Protocol protocol, bool ipv6) {
  return cat(protocol_word(protocol), "-backends", family_digit(ipv6));
}
std::string ranges_set(bool ipv6) { return cat("ranges", family_digit(ipv6)); }
std::string hairpin_set(bool ipv6) { return cat("hairpin", family_digit(ipv6)); }
std::string cluster_ips_set(bool ipv6) { return cat("cluster-ips", family_digit(ipv6)); }

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

std::string ranges_key(const RowKey& key, const Cidr& range) {
  return cat(services_key(key), " . ", range.to_string());
}

std::string hairpin_key(const Ip& ip) {
  const std::string text = ip.to_string();
  return cat(text, " . ", text);
}

std::string affinity_prefix(const Affinity& affinity) {
  return cat(affinity.id >> 32, " . ", affinity.id & 0xffffffff);
}

}  // namespace fairlead::dataplane::nft
