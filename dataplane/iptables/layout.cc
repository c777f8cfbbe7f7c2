#include "dataplane/iptables/layout.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
namespace {

std::string hex(uint32_t value) {
  char digits[8];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  return cat("0x", std::string_view(digits, end));
}

// Who judges a packet that begins a connection. In this order: the last one ends with what befalls
// the rest of the service range, where external addresses may be, too.
constexpr std::pair<std::string_view, std::string_view> external_judge{
    "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"};
constexpr std::pair<std::string_view, std::string_view> firewall_judge{
    "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"};
constexpr std::pair<std::string_view, std::string_view> services_judge{"kubernetes service portals",
                                                                       "KUBE-SERVICES"};

std::string when_new(const std::pair<std::string_view, std::string_view>& judge) {
  return cat("-m conntrack --ctstate NEW ", comment(judge.first), "-j ", judge.second);
}

struct SharedFacts {
  Table table;
  std::string_view name;
};
constexpr SharedFacts shared_facts[shared_count] = {
    {Table::filter, "KUBE-SERVICES"},       {Table::filter, "KUBE-EXTERNAL-SERVICES"},
    {Table::filter, "KUBE-PROXY-FIREWALL"}, {Table::filter, "KUBE-NODEPORTS"},
    {Table::filter, "KUBE-CLUSTER-IPS"},    {Table::nat, "KUBE-SERVICES"},
    {Table::nat, "KUBE-NODEPORTS"}};

}  // namespace

std::string_view to_string(Table table) {
  constexpr std::string_view names[] = {"mangle", "filter", "nat"};
  return names[static_cast<size_t>(table)];
}

std::optional<Shared> shared_chain(Table table, std::string_view name) {
  if (table == Table::nat && is_leaf(name)) return Shared::nat_services;
  if (table == Table::nat && is_port_chain(name)) return Shared::node_ports;
  for (const Shared chain : all_shared) {
    if (table_of(chain) == table && name_of(chain) == name) return chain;
  }
  return std::nullopt;
}

Table table_of(Shared chain) { return shared_facts[static_cast<size_t>(chain)].table; }
std::string_view name_of(Shared chain) { return shared_facts[static_cast<size_t>(chain)].name; }

std::string host(const Ip& ip) { return cat(ip.to_string(), ip.is_v4() ? "/32" : "/128"); }
std::string from(const Cidr& cidr) {
  return cidr.bits == 0 ? "" : cat("-s ", cidr.to_string(), " ");
}
std::string to(const Cidr& cidr) { return cidr.bits == 0 ? "" : cat("-d ", cidr.to_string(), " "); }
std::string comment(std::string_view text) {
  return text.empty() ? "" : cat("-m comment --comment \"", text, "\" ");
}
std::string port_match(Protocol protocol, uint16_t port, std::string_view remark) {
  const std::string_view word = protocol_word(protocol);
  return cat("-p ", word, " ", comment(remark), "-m ", word, " --dport ", port, " ");
}

std::string canary_rule() { return comment("says that nobody flushed") + "-j RETURN"; }

Layout::Layout(const NodeConfig& node, Style style)
    : node_(node),
      style_(style),
      pods_(of_family(node.local_pod_cidrs)),
      service_cidrs_(of_family(node.service_cidrs)) {
  const auto mine = [&](const std::vector<Ip>& ips) {
    std::vector<Ip> out;
    for (const Ip& ip : ips) {
      if (ip.is_v4() != style_.ipv6) out.push_back(ip);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  };
  node_ips_ = mine(node.node_ips);
  served_ = mine(node_port_ips(node));
  std::vector<Ip> own = node_ips_;
  own.push_back(*Ip::parse(style_.ipv6 ? "::1" : "127.0.0.1"));
  for (const Cidr& pods : pods_) {
    for (const Ip& ip : own) {
      if (pods.contains(ip)) nodes_in_pods_.push_back(ip);
    }
  }
}

std::vector<Cidr> Layout::of_family(const std::vector<Cidr>& cidrs) const {
  std::vector<Cidr> out;
  for (const Cidr& cidr : cidrs) {
    if (cidr.base.is_v4() != style_.ipv6) out.push_back(cidr);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

bool Layout::is_served(const Ip& ip) const {
  return std::binary_search(served_.begin(), served_.end(), ip);
}

// Whether a packet of the backend itself may come back to it with its own source, so that answers
// would not pass this node (hairpin). One that is not here is a stranger when it dials: it gets the
// node's address before its turn comes, or the policy Local keeps it among backends that are here.
bool Layout::may_dial_itself(const Backend& backend) const {
  if (backend.local || (pods_.empty() && !node_.masquerade_all)) return true;
  return std::any_of(pods_.begin(), pods_.end(),
                     [&](const Cidr& cidr) { return cidr.contains(backend.ip); });
}

// "0.0.0.5/0.0.0.15": addresses whose last byte has this value in the bits of the mask.
std::string Layout::low_bits(int value, int mask) const {
  const auto text = [&](int byte) {
    Ip ip = style_.ipv6 ? Ip{} : Ip::v4(0);
    ip.bytes[15] = static_cast<uint8_t>(byte);
    return ip.to_string();
  };
  return cat("-d ", text(value), "/", text(mask), " ");
}

std::vector<Chain> Layout::branches() const {
  std::vector<Chain> out;
  for (int low = 0; style_.tree && low < 16; ++low) {
    Chain& chain = out.emplace_back(Chain{Table::nat, branch_name(low), {}});
    for (int high = 0; high < 16; ++high) {
      const int byte = high << 4 | low;
      chain.rules.push_back(cat(low_bits(high << 4, 0xf0), "-j ", leaf_name(byte)));
    }
  }
  return out;
}

std::vector<PortRange> Layout::port_ranges(const FrontendKey& frontend) const {
  std::vector<PortRange> out;
  const bool node_port = frontend.ip.is_unspecified() && frontend.protocol != 0;
  for (int bits = 4; style_.tree && node_port && bits <= 12; bits += 4) {
    out.push_back({bits, static_cast<Protocol>(frontend.protocol),
                   static_cast<uint16_t>(frontend.port >> bits << bits)});
  }
  return out;
}

std::string Layout::chain_of(const PortRange& range) {
  return port_chain_name(range.protocol, range.first, range.bits);
}

SharedRule Layout::way_to(const PortRange& range) {
  const std::string_view word = protocol_word(range.protocol);
  return {Shared::node_ports,
          cat("-p ", word, " -m ", word, " --dport ", range.first, ":", range.last(), " -j ",
              chain_of(range)),
          range.bits == 12 ? "" : port_chain_name(range.protocol, range.first, range.bits + 4)};
}

bool Layout::in_service_cidrs(const Ip& ip) const {
  return std::any_of(service_cidrs_.begin(), service_cidrs_.end(),
                     [&](const Cidr& cidr) { return cidr.contains(ip); });
}

// TCP gets a reset: a socket of the node itself, which is in use while its own SYN is refused,
// takes no notice of an ICMP error and would try again after a second.
std::string Layout::reject(Protocol protocol) const {
  if (protocol == Protocol::tcp) return "-j REJECT --reject-with tcp-reset";
  return style_.ipv6 ? "-j REJECT --reject-with icmp6-port-unreachable"
                     : "-j REJECT --reject-with icmp-port-unreachable";
}

std::vector<Chain> Layout::base_chains() const {
  const std::string mark = hex(style_.masquerade_mark);
  const std::string marked = cat("--mark ", mark, "/", mark, " ");
  std::vector<Chain> out;
  // Never reached: a rule in it tells a flush from a table that stands.
  for (const Table table : our_tables) {
    out.push_back({table, std::string(canary_name), {canary_rule()}});
  }
  if (guards_localhost()) {
    // route_localnet lets neighbours reach 127.0.0.1 (CVE-2020-8558): not past this.
    out.push_back(
        {Table::filter,
         std::string(localnet_name),
         {cat("! -s 127.0.0.0/8 -d 127.0.0.0/8 ", comment("block incoming localnet connections"),
              "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP")}});
  }
  out.push_back({Table::filter,
                 "KUBE-REJECT",
                 {cat("-p tcp ", reject(Protocol::tcp)), reject(Protocol::udp)}});
  out.push_back({Table::nat, "KUBE-MARK-MASQ", {cat("-j MARK --set-xmark ", mark, "/", mark)}});
  if (pods_.size() > 1 || !nodes_in_pods_.empty()) {
    Chain& outside = out.emplace_back(Chain{Table::nat, "KUBE-MARK-OUTSIDE", {}});
    for (const Ip& ip : nodes_in_pods_) {
      outside.rules.push_back(cat("-s ", host(ip), " -j KUBE-MARK-MASQ"));
    }
    for (const Cidr& pods : pods_) outside.rules.push_back(cat(from(pods), "-j RETURN"));
    outside.rules.push_back("-j KUBE-MARK-MASQ");
  }
  // The mark goes before the packet leaves: on a tunnel it would stay on the outer packet.
  out.push_back({Table::nat,
                 "KUBE-POSTROUTING",
                 {cat("-m mark ! ", marked, "-j RETURN"), cat("-j MARK --set-xmark ", mark, "/0x0"),
                  cat(comment("kubernetes service traffic requiring SNAT"),
                      "-j MASQUERADE --random-fully")}});
  return out;
}

Chain Layout::forward_chain() const {
  const std::string mark = hex(style_.masquerade_mark);
  Chain forward{Table::filter, "KUBE-FORWARD", {}};
  // Linux lets them through un-NATed, and the peer answers with a reset (kubernetes#74839).
  if (!style_.tcp_be_liberal) forward.rules.push_back("-m conntrack --ctstate INVALID -j DROP");
  // Nearly all packets end here. Those that begin a connection are judged first, and accepted when
  // they are marked to be masqueraded.
  forward.rules.push_back(cat(comment("kubernetes forwarding conntrack rule"),
                              "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
  for (const auto& judge : {external_judge, firewall_judge, services_judge}) {
    forward.rules.push_back(when_new(judge));
  }
  forward.rules.push_back(cat(comment("kubernetes forwarding rules"), "-m mark --mark ", mark, "/",
                              mark, " -j ACCEPT"));
  return forward;
}

std::vector<Jump> Layout::jumps() const {
  const std::string portals = cat(comment("kubernetes service portals"), "-j KUBE-SERVICES");
  using enum Table;
  std::vector<Jump> out = {
      {filter, "INPUT", cat(comment("kubernetes health check service ports"), "-j KUBE-NODEPORTS")},
      {filter, "INPUT", when_new(external_judge)},
      {filter, "INPUT", when_new(firewall_judge)},
      {filter, "FORWARD", cat(comment("kubernetes forwarding rules"), "-j KUBE-FORWARD")},
      {filter, "OUTPUT", when_new(external_judge)},
      {filter, "OUTPUT", when_new(firewall_judge)},
      {filter, "OUTPUT", when_new(services_judge)},
      {nat, "PREROUTING", portals},
      {nat, "OUTPUT", portals},
      {nat, "POSTROUTING", cat(comment("kubernetes postrouting rules"), "-j KUBE-POSTROUTING")},
  };
  if (guards_localhost()) {
    out.push_back({filter, "INPUT", cat("-j ", localnet_name)});
    out.push_back({filter, "OUTPUT", cat("-j ", localnet_name)});
  }
  return out;
}

std::vector<std::string> Layout::tail(Shared chain, const std::vector<Cidr>& cluster_ips) const {
  std::vector<std::string> out;
  const auto guard = [&](const Cidr& cidr) {
    out.push_back(cat(to(cidr), comment("no such port of a ClusterIP"), "-j KUBE-CLUSTER-IPS"));
  };
  switch (chain) {
    case Shared::filter_services:
      for (const Cidr& cidr : service_cidrs_) guard(cidr);
      for (const Cidr& cidr : cluster_ips) guard(cidr);
      break;
    case Shared::cluster_ips:
      for (const Cidr& cidr : service_cidrs_) {
        out.push_back(cat(to(cidr), comment("no Service has this address"), "-j DROP"));
      }
      break;
    case Shared::nat_services: {
      for (int low = 0; style_.tree && low < 16; ++low) {
        out.push_back(cat(low_bits(low, 0x0f), "-j ", branch_name(low)));
      }
      const std::string node_ports =
          cat(comment("kubernetes service nodeports; NOTE: this must be the last rule in this "
                      "chain"),
              "-j KUBE-NODEPORTS");
      for (const Ip& ip : served_) out.push_back(cat("-d ", host(ip), " ", node_ports));
      if (!style_.ipv6 && node_.localhost_node_ports) {
        out.push_back(cat("-d 127.0.0.0/8 ", node_ports));
      }
      break;
    }
    default:
      break;
  }
  return out;
}

}  // namespace fairlead::dataplane::ipt
