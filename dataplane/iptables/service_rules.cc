// The nat chains of a Service: KUBE-SVC-, KUBE-SVL-, KUBE-EXT-, KUBE-FW-, KUBE-SEP-.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/iptables/layout.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
namespace {

// 1/parts as iptables-save prints it: the match keeps 31 bits.
std::string probability(size_t parts) {
  const double exact = 2147483648.0 / static_cast<double>(parts);
  char text[32];
  std::snprintf(text, sizeof text, "%.11f", std::round(exact) / 2147483648.0);
  return text;
}

bool is_external(const Frontend& frontend) { return frontend.kind != FrontendKind::cluster_ip; }

}  // namespace

bool has_backends(const PortRule& rule, const Frontend& frontend) {
  const bool all = !cluster_backends(rule).empty(), local = !local_backends(rule).empty();
  if (!frontend.local_only) return all;
  return is_external(frontend) ? all || local : local;
}

bool lacks_backends(const PortRule& rule, const Frontend& frontend) {
  const bool all = cluster_backends(rule).empty(), local = local_backends(rule).empty();
  if (!frontend.local_only) return all;
  return is_external(frontend) ? all || local : local;
}

struct Layout::PortChains {
  const Layout& layout;
  const PortRule& rule;
  std::string label;
  std::vector<Chain>& out;

  std::string name(ChainKind kind) const { return chain_name(kind, label, rule.protocol); }
  std::string remark(std::string_view text) const {
    return layout.style_.brief ? "" : comment(text);
  }
  std::string recent(const std::string& list, std::string_view what) const {
    return cat("-m recent ", what, " --name ", list, " --mask ",
               layout.style_.ipv6 ? "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" : "255.255.255.255",
               " --rsource ");
  }

  // Whether more than its address is to be said of the endpoint.
  bool has_chain(const Backend& backend) const {
    return !layout.style_.brief || rule.affinity_timeout_s != 0 || layout.may_dial_itself(backend);
  }
  std::string translation(const std::string& address) const {
    return cat("-j DNAT --to-destination ", address);
  }

  void add_all();
  void add_endpoint(const Backend& backend) const;
  void add_choice(ChainKind kind, std::span<const Backend> backends) const;
  void add_external(const Frontend& frontend) const;
  void add_firewall() const;
  void add_masquerade(Chain& chain, const Frontend& frontend) const;
};

void Layout::PortChains::add_endpoint(const Backend& backend) const {
  const SocketAddress address{backend.ip, backend.port};
  const std::string text = address.to_string();
  Chain& chain =
      out.emplace_back(Chain{Table::nat, endpoint_chain_name(label, rule.protocol, text), {}});
  const std::string_view word = protocol_word(rule.protocol);
  chain.rules.push_back(cat("-s ", host(backend.ip), " ", remark(label), "-j KUBE-MARK-MASQ"));
  // The match of the protocol says nothing here, and the kernel looks it up for every rule.
  chain.rules.push_back(cat("-p ", word, " ", remark(label),
                            rule.affinity_timeout_s == 0 ? "" : recent(chain.name, "--set"),
                            layout.style_.brief ? "" : cat("-m ", word, " "), translation(text)));
}

// ClusterIPs only: what comes from outside the local pods gets the node's address.
void Layout::PortChains::add_masquerade(Chain& chain, const Frontend& frontend) const {
  const std::string match = cat("-d ", host(frontend.ip), " ",
                                port_match(rule.protocol, frontend.port,
                                           layout.style_.brief ? "" : cat(label, " cluster IP")));
  if (layout.node_.masquerade_all) {
    chain.rules.push_back(cat(match, "-j KUBE-MARK-MASQ"));
  } else if (layout.pods_.size() > 1 || !layout.nodes_in_pods_.empty()) {
    chain.rules.push_back(cat(match, "-j KUBE-MARK-OUTSIDE"));
  } else if (layout.pods_.size() == 1) {
    chain.rules.push_back(cat("! ", from(layout.pods_.front()), match, "-j KUBE-MARK-MASQ"));
  }
}

void Layout::PortChains::add_choice(ChainKind kind, std::span<const Backend> backends) const {
  Chain chain{Table::nat, name(kind), {}};
  for (const Frontend& frontend : rule.frontends) {
    const bool is_mine = frontend.kind == FrontendKind::cluster_ip &&
                         frontend.local_only == (kind == ChainKind::local);
    if (is_mine) add_masquerade(chain, frontend);
  }
  const std::string protocol = cat("-p ", protocol_word(rule.protocol), " ");
  std::vector<std::string> choices;
  for (const Backend& backend : backends) {
    const size_t left = backends.size() - choices.size();
    const std::string choice =
        left == 1 ? "" : cat("-m statistic --mode random --probability ", probability(left), " ");
    const std::string text = SocketAddress{backend.ip, backend.port}.to_string();
    if (!has_chain(backend)) {
      choices.push_back(cat(protocol, choice, translation(text)));
      continue;
    }
    const std::string next = endpoint_chain_name(label, rule.protocol, text);
    const std::string words = remark(cat(label, " -> ", text));
    choices.push_back(cat(words, choice, "-j ", next));
    if (rule.affinity_timeout_s == 0) continue;
    const std::string what = cat("--rcheck --seconds ", rule.affinity_timeout_s, " --reap");
    chain.rules.push_back(cat(words, recent(next, what), "-j ", next));
  }
  chain.rules.insert(chain.rules.end(), choices.begin(), choices.end());
  out.push_back(std::move(chain));
}

// Section "Traffic policies" of docs/iptables.md has the table.
void Layout::PortChains::add_external(const Frontend& frontend) const {
  Chain chain{Table::nat, name(ChainKind::external), {}};
  const std::string all = name(ChainKind::cluster);
  if (!frontend.local_only) {
    chain.rules.push_back(
        cat(remark(cat("masquerade traffic for ", label, " external destinations")),
            "-j KUBE-MARK-MASQ"));
    chain.rules.push_back(cat("-j ", all));
    out.push_back(std::move(chain));
    return;
  }
  if (!cluster_backends(rule).empty()) {
    for (const Ip& ip : layout.nodes_in_pods_) {
      chain.rules.push_back(cat("-s ", host(ip), " -j KUBE-MARK-MASQ"));
    }
    for (const Cidr& pods : layout.pods_) {
      chain.rules.push_back(cat(from(pods),
                                remark(cat("pod traffic for ", label, " external destinations")),
                                "-j ", all));
    }
    chain.rules.push_back(
        cat(remark(cat("masquerade LOCAL traffic for ", label, " external destinations")),
            "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ"));
    chain.rules.push_back(
        cat(remark(cat("route LOCAL traffic for ", label, " external destinations")),
            "-m addrtype --src-type LOCAL -j ", all));
  }
  if (!local_backends(rule).empty()) chain.rules.push_back(cat("-j ", name(ChainKind::local)));
  out.push_back(std::move(chain));
}

void Layout::PortChains::add_firewall() const {
  Chain chain{Table::nat, name(ChainKind::firewall), {}};
  const std::string next =
      cat(remark(cat(label, " loadbalancer IP")), "-j ", name(ChainKind::external));
  for (const Frontend& frontend : rule.frontends) {
    if (frontend.kind != FrontendKind::load_balancer) continue;
    for (const std::string& source : layout.sources(rule, frontend.ip)) {
      const std::string text = cat(source, next);
      // Only the node's own rule names the address: the others are the same for all of them.
      if (std::find(chain.rules.begin(), chain.rules.end(), text) == chain.rules.end()) {
        chain.rules.push_back(text);
      }
    }
  }
  chain.rules.push_back(cat("-m comment --comment \"other traffic to ", label,
                            " will be dropped by KUBE-PROXY-FIREWALL\""));
  out.push_back(std::move(chain));
}

void Layout::PortChains::add_all() {
  bool uses_all = false, uses_local = false;
  const Frontend* external = nullptr;
  for (const Frontend& frontend : rule.frontends) {
    uses_all |= is_external(frontend) || !frontend.local_only;
    uses_local |= frontend.local_only;
    if (is_external(frontend) && external == nullptr) external = &frontend;
  }
  const auto all = cluster_backends(rule), local = local_backends(rule);
  for (size_t i = 0; i < rule.backends.size(); ++i) {
    const bool used = (uses_all && i >= rule.cluster_first) || (uses_local && i < local.size());
    if (used && has_chain(rule.backends[i])) add_endpoint(rule.backends[i]);
  }
  if (uses_all && !all.empty()) add_choice(ChainKind::cluster, all);
  if (uses_local && !local.empty()) add_choice(ChainKind::local, local);
  if (external == nullptr || !has_backends(rule, *external)) return;
  add_external(*external);
  const bool balanced = std::any_of(
      rule.frontends.begin(), rule.frontends.end(),
      [](const Frontend& frontend) { return frontend.kind == FrontendKind::load_balancer; });
  if (balanced && !rule.source_ranges.empty()) add_firewall();
}

// The matches of who may dial `address`: see may_dial().
std::vector<std::string> Layout::sources(const PortRule& rule, const Ip& address) const {
  std::vector<std::string> out;
  bool with_node = false;
  for (const Cidr& range : rule.source_ranges) {
    out.push_back(from(range));
    with_node |= std::any_of(node_ips_.begin(), node_ips_.end(),
                             [&](const Ip& ip) { return range.contains(ip); });
  }
  // The node's own packets to an address that it holds have it as their source, too.
  if (with_node) out.push_back(cat("-s ", host(address), " -d ", host(address), " "));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<Chain> Layout::service_chains(const api::ObjectKey& key,
                                          const ServiceEntry& entry) const {
  std::vector<Chain> out;
  for (const PortRule& rule : entry.ports) {
    if (rule.ipv6 == style_.ipv6)
      PortChains{*this, rule, port_label(key, rule.port_name), out}.add_all();
  }
  // By name; of two endpoints or ports of one name (validation refuses them) the first.
  std::stable_sort(out.begin(), out.end(),
                   [](const Chain& a, const Chain& b) { return a.name < b.name; });
  out.erase(std::unique(out.begin(), out.end(),
                        [](const Chain& a, const Chain& b) { return a.name == b.name; }),
            out.end());
  return out;
}

}  // namespace fairlead::dataplane::ipt
