// Layout: what one family's rules shall be, as pure functions of the table. Rules are texts as
// iptables-save prints them after "-A CHAIN ". docs/iptables.md shows the way of a packet.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/service_table.h"

namespace fairlead::dataplane::ipt {

enum class Table : uint8_t { mangle, filter, nat };
inline constexpr Table all_tables[] = {Table::mangle, Table::filter, Table::nat};
// Rules are in these. Every packet passes each table that there is, so none is made for a canary
// alone; in mangle there may be those of others, and of earlier versions.
inline constexpr Table our_tables[] = {Table::filter, Table::nat};
std::string_view to_string(Table table);

struct Chain {
  Table table = Table::nat;
  std::string name;
  std::vector<std::string> rules;
  friend bool operator==(const Chain&, const Chain&) = default;
};

// A rule in one of the kernel's own chains that leads to one of ours.
struct Jump {
  Table table = Table::nat;
  std::string chain;  // "PREROUTING"
  std::string rule;
  friend bool operator==(const Jump&, const Jump&) = default;
};

// Chains to which every Service may add rules. The order of those does not matter: each matches an
// address or port that has one owner. After them stands the tail, which does not belong to
// Services.
enum class Shared : uint8_t {
  filter_services,    // KUBE-SERVICES: ClusterIPs that have no endpoint
  external_services,  // KUBE-EXTERNAL-SERVICES: the same for NodePorts and external addresses
  firewall,           // KUBE-PROXY-FIREWALL: sources outside the ranges of a load balancer
  health_checks,      // KUBE-NODEPORTS of filter: health check ports are open
  cluster_ips,        // KUBE-CLUSTER-IPS: what no rule of nat took
  nat_services,       // KUBE-SERVICES
  node_ports,         // KUBE-NODEPORTS of nat
};
inline constexpr size_t shared_count = 7;
inline constexpr Shared all_shared[shared_count] = {
    Shared::filter_services, Shared::external_services, Shared::firewall,  Shared::health_checks,
    Shared::cluster_ips,     Shared::nat_services,      Shared::node_ports};
Table table_of(Shared chain);
std::string_view name_of(Shared chain);
// The chain that a rule called `name` of this table is shared in, leaves too.
std::optional<Shared> shared_chain(Table table, std::string_view name);

struct SharedRule {
  Shared chain = Shared::nat_services;
  std::string rule;
  std::string leaf = {};  // the chain of its tree that has it, instead; see Style::tree
  friend auto operator<=>(const SharedRule&, const SharedRule&) = default;

  Table table() const { return table_of(chain); }
  std::string_view chain_name() const { return leaf.empty() ? name_of(chain) : leaf; }
};

// What shared rules are about; one Service has it at a time. A NodePort is the unspecified address
// (its rule) and each address that it is served on. No protocol: a ClusterIP with port 0, a health
// check port with the unspecified address.
struct FrontendKey {
  Ip ip;
  uint16_t port = 0;
  uint8_t protocol = 0;
  friend auto operator<=>(const FrontendKey&, const FrontendKey&) = default;
};

// NodePorts that share a chain of the tree below KUBE-NODEPORTS. The leaves come first.
struct PortRange {
  int bits = 4;  // so many of a port's lower bits may be anything: 4 (a leaf), 8 or 12
  Protocol protocol = Protocol::tcp;
  uint16_t first = 0;
  friend auto operator<=>(const PortRange&, const PortRange&) = default;

  uint16_t last() const { return static_cast<uint16_t>(first + (1 << bits) - 1); }
};

struct Style {
  bool ipv6 = false;
  uint32_t masquerade_mark = 0x4000;
  bool tcp_be_liberal = false;  // packets that conntrack calls INVALID pass
  // The chains of Services without comments (each costs 256 bytes in legacy tables), and endpoints
  // without a chain of their own where it would hold one rule: the kernel looks at every rule of a
  // table, whatever the change.
  bool brief = false;
  // KUBE-SERVICES of nat leads on by the last byte of the address: to one of 16 chains by its lower
  // four bits, and from there to one of 16 leaves by the others. Any set of ClusterIPs is spread
  // evenly so, whether they were allocated in a row or at random. KUBE-NODEPORTS of nat leads on by
  // ranges of ports: 4,096, 256 and 16 of them, those that some Service has.
  bool tree = false;
  // The guard of 127.0.0.1 stays although no NodePort answers there.
  bool keeps_guard = false;
  friend bool operator==(const Style&, const Style&) = default;
};

class Layout {
 public:
  // `node` must outlive this.
  Layout(const NodeConfig& node, Style style);

  bool ipv6() const { return style_.ipv6; }
  const Style& style() const { return style_; }
  std::vector<Chain> base_chains() const;  // canaries too
  Chain forward_chain() const;             // leads to shared ones
  std::vector<Jump> jumps() const;         // those of one chain in the order of the packet's way
  std::vector<Chain> branches() const;     // of KUBE-SERVICES: what leads to its leaves
  // The chains that a NodePort needs on its way, and what leads to one of them. None for other
  // frontends and without the tree.
  std::vector<PortRange> port_ranges(const FrontendKey& frontend) const;
  static std::string chain_of(const PortRange& range);
  static SharedRule way_to(const PortRange& range);

  // The nat chains of a Service, each once.
  std::vector<Chain> service_chains(const api::ObjectKey& key, const ServiceEntry& entry) const;

  // What the Service wants to have.
  std::vector<FrontendKey> frontends(const ServiceEntry& entry) const;
  // The rules for one of those, when the Service has it.
  std::vector<SharedRule> shared_rules(const api::ObjectKey& key, const ServiceEntry& entry,
                                       const FrontendKey& frontend) const;
  // `cluster_ips`: the prefixes outside NodeConfig::service_cidrs that all ClusterIPs are in.
  std::vector<std::string> tail(Shared chain, const std::vector<Cidr>& cluster_ips) const;

  bool in_service_cidrs(const Ip& ip) const;

 private:
  struct PortChains;  // service_rules.cc: makes the chains of one PortRule
  std::vector<Cidr> of_family(const std::vector<Cidr>& cidrs) const;
  bool is_served(const Ip& ip) const;
  bool guards_localhost() const {
    return !style_.ipv6 && (node_.localhost_node_ports || style_.keeps_guard);
  }
  bool may_dial_itself(const Backend& backend) const;
  std::string low_bits(int value, int mask) const;
  std::string reject(Protocol protocol) const;
  std::string verdict(const PortRule& rule) const;
  std::vector<SharedRule> node_port_rules(const api::ObjectKey& key, const PortRule& rule,
                                          const Frontend& frontend) const;
  std::vector<SharedRule> address_rules(const api::ObjectKey& key, const PortRule& rule,
                                        const Frontend& frontend, const Ip& ip) const;
  std::vector<std::string> sources(const PortRule& rule, const Ip& address) const;

  const NodeConfig& node_;
  Style style_;
  std::vector<Cidr> pods_;  // of the family, like those below
  std::vector<Ip> node_ips_;
  std::vector<Ip> served_;         // NodePorts answer there
  std::vector<Ip> nodes_in_pods_;  // node addresses and localhost, inside pods_
  std::vector<Cidr> service_cidrs_;
};

inline constexpr std::string_view canary_name = "KUBE-PROXY-CANARY";
inline constexpr std::string_view localnet_name = "KUBE-PROXY-LOCALNET";

// The one rule of KUBE-PROXY-CANARY: it also tells our chains from kube-proxy's.
std::string canary_rule();

// Pieces of rules.
std::string host(const Ip& ip);              // "10.0.0.1/32"
std::string from(const Cidr& cidr);          // "-s 10.0.0.0/8 ", "" for all
std::string to(const Cidr& cidr);            // "-d 10.0.0.0/8 ", "" for all
std::string comment(std::string_view text);  // "-m comment --comment \"text\" "
std::string port_match(Protocol protocol, uint16_t port, std::string_view remark);

// Whether a frontend of this rule lacks backends for some source; has_any: or has them for some.
bool lacks_backends(const PortRule& rule, const Frontend& frontend);
bool has_backends(const PortRule& rule, const Frontend& frontend);

}  // namespace fairlead::dataplane::ipt
