#include "bench/dataplane/peer_rules.h"

#include <cstdio>
#include <string>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::bench {
namespace {

// The remarks of kube-proxy, which iptables compares and copies with the rules.
std::string remark(std::string_view text) { return cat("-m comment --comment \"", text, "\" "); }

// Services without endpoints, source ranges and health check ports would be in these; there are
// none. The canary, which tells kube-proxy of a flush, is in every table.
std::string iptables_filters() {
  const std::string begins = "-m conntrack --ctstate NEW ";
  const std::string firewall =
      cat(begins, remark("kubernetes load balancer firewall"), "-j KUBE-PROXY-FIREWALL\n");
  const std::string external = cat(begins, remark("kubernetes externally-visible service portals"),
                                   "-j KUBE-EXTERNAL-SERVICES\n");
  const std::string services =
      cat(begins, remark("kubernetes service portals"), "-j KUBE-SERVICES\n");
  const std::string health = remark("kubernetes health check service ports");
  const std::string forwarding = remark("kubernetes forwarding rules");
  const std::string known = remark("kubernetes forwarding conntrack rule");
  return cat(
      "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
      "*filter\n"
      ":KUBE-EXTERNAL-SERVICES - [0:0]\n"
      ":KUBE-FORWARD - [0:0]\n"
      ":KUBE-NODEPORTS - [0:0]\n"
      ":KUBE-PROXY-FIREWALL - [0:0]\n"
      ":KUBE-SERVICES - [0:0]\n",
      "-A INPUT ", firewall, "-A INPUT ", health, "-j KUBE-NODEPORTS\n", "-A INPUT ", external,
      "-A FORWARD ", firewall, "-A FORWARD ", forwarding, "-j KUBE-FORWARD\n", "-A FORWARD ",
      services, "-A FORWARD ", external, "-A OUTPUT ", firewall, "-A OUTPUT ", services,
      "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n", "-A KUBE-FORWARD ", forwarding,
      "-m mark --mark 0x4000/0x4000 -j ACCEPT\n", "-A KUBE-FORWARD ", known,
      "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n");
}

}  // namespace

std::string peer_nat_input(std::string_view chains, std::string_view rules) {
  const std::string portals = remark("kubernetes service portals");
  return cat(
      "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n"
      ":KUBE-NODEPORTS - [0:0]\n",
      chains, "-A PREROUTING ", portals, "-j KUBE-SERVICES\n", "-A OUTPUT ", portals,
      "-j KUBE-SERVICES\n", "-A POSTROUTING ", remark("kubernetes postrouting rules"),
      "-j KUBE-POSTROUTING\n"
      "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n"
      "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
      "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n",
      "-A KUBE-POSTROUTING ", remark("kubernetes service traffic requiring SNAT"),
      "-j MASQUERADE --random-fully\n", rules, peer_last_service_rule(), "COMMIT\n");
}

std::string peer_last_service_rule() {
  return cat("-A KUBE-SERVICES ",
             remark("kubernetes service nodeports; NOTE: this must be the last rule in this chain"),
             "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
}

namespace {

// One service port with one backend, as a number to name chains by.
struct Peer {
  std::string number, cluster_ip, backend_ip, backend_port;
};

std::vector<Peer> peers_of(const dataplane::ServiceTable& table) {
  std::vector<Peer> out;
  for (const auto& [key, entry] : table.services) {
    for (const dataplane::PortRule& rule : entry.ports) {
      if (rule.protocol != Protocol::tcp) continue;
      CHECK(rule.frontends[0].kind == dataplane::FrontendKind::cluster_ip);
      CHECK(rule.frontends[0].port == 80 && rule.backends.size() == 1);
      out.push_back({cat(out.size()), rule.frontends[0].ip.to_string(),
                     rule.backends[0].ip.to_string(), cat(rule.backends[0].port)});
    }
  }
  return out;
}

std::string iptables_rules(const std::vector<Peer>& peers, const std::string& pods) {
  std::string chains, rules, services;
  for (const Peer& peer : peers) {
    const std::string svc = "KUBE-SVC-" + peer.number, sep = "KUBE-SEP-" + peer.number;
    chains += cat(":", svc, " - [0:0]\n:", sep, " - [0:0]\n");
    const std::string name = remark(cat("default/s", peer.number, ":http"));
    const std::string match =
        cat("-d ", peer.cluster_ip, "/32 -p tcp ", name, "-m tcp --dport 80 -j ");
    services += cat("-A KUBE-SERVICES ", match, svc, "\n");
    rules += cat("-A ", svc, " ! -s ", pods, " ", match, "KUBE-MARK-MASQ\n");
    rules += cat("-A ", svc, " ", name, "-j ", sep, "\n");
    rules += cat("-A ", sep, " -s ", peer.backend_ip, "/32 ", name, "-j KUBE-MARK-MASQ\n");
    rules += cat("-A ", sep, " -p tcp ", name, "-m tcp -j DNAT --to-destination ", peer.backend_ip,
                 ":", peer.backend_port, "\n");
  }
  return cat(iptables_filters(), peer_nat_input(chains, services + rules));
}

std::string nftables_rules(const std::vector<Peer>& peers, const std::string& pods,
                           const std::string& node) {
  std::string out = cat(
      "table ip peer {\n"
      "  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      "  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      "  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      "  map service-nodeports { type inet_proto . inet_service : verdict; }\n"
      "  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }\n"
      "  set cluster-ips { type ipv4_addr; }\n"
      "  set nodeport-ips { type ipv4_addr; elements = { ",
      node,
      " } }\n"
      "  chain endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }\n"
      "  chain nodeports-check {\n"
      "    ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }\n"
      "  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }\n"
      "  chain cluster-ips-check { ip daddr @cluster-ips reject; }\n"
      "  chain filter-prerouting { type filter hook prerouting priority -110;\n"
      "    ct state new jump firewall-check; }\n"
      "  chain filter-output-before { type filter hook output priority -110;\n"
      "    ct state new jump firewall-check; }\n"
      "  chain filter-input { type filter hook input priority 0;\n"
      "    ct state new jump nodeports-check; ct state new jump endpoints-check; }\n"
      "  chain filter-forward { type filter hook forward priority 0;\n"
      "    ct state new jump endpoints-check; ct state new jump cluster-ips-check; }\n"
      "  chain filter-output { type filter hook output priority 0;\n"
      "    ct state new jump endpoints-check; ct state new jump cluster-ips-check; }\n"
      "  chain mark-for-masquerade { meta mark set meta mark or 0x4000; }\n"
      "  chain services { ip daddr . meta l4proto . th dport vmap @service-ips;\n"
      "    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports; }\n"
      "  chain prerouting { type nat hook prerouting priority -100; jump services; }\n"
      "  chain output { type nat hook output priority -100; jump services; }\n"
      "  chain postrouting { type nat hook postrouting priority 100;\n"
      "    meta mark & 0x4000 != 0 meta mark set meta mark xor 0x4000 masquerade fully-random; "
      "}\n");
  std::string elements, addresses;
  for (const Peer& peer : peers) {
    const std::string svc = "service-" + peer.number, sep = "endpoint-" + peer.number;
    out += cat("  chain ", sep, " { ip saddr ", peer.backend_ip,
               " jump mark-for-masquerade; meta l4proto tcp dnat to ", peer.backend_ip, ":",
               peer.backend_port, "; }\n");
    out += cat("  chain ", svc, " { ip daddr ", peer.cluster_ip, " tcp dport 80 ip saddr != ", pods,
               " jump mark-for-masquerade; numgen random mod 1 vmap { 0 : goto ", sep, " }; }\n");
    elements += cat(elements.empty() ? "" : ", ", peer.cluster_ip, " . tcp . 80 : goto ", svc);
    addresses += cat(addresses.empty() ? "" : ", ", peer.cluster_ip);
  }
  return cat(out, "}\nadd element ip peer service-ips { ", elements,
             " }\nadd element ip peer cluster-ips { ", addresses, " }\n");
}

std::string ipvs_services(const std::vector<Peer>& peers) {
  std::string out;
  for (const Peer& peer : peers) {
    out += cat("-A -t ", peer.cluster_ip, ":80 -s rr\n-a -t ", peer.cluster_ip, ":80 -r ",
               peer.backend_ip, ":", peer.backend_port, " -m\n");
  }
  return out;
}

std::string dummy_addresses(const std::vector<Peer>& peers) {
  std::string out = "link add peer0 type dummy\n";
  for (const Peer& peer : peers) out += cat("addr add ", peer.cluster_ip, "/32 dev peer0\n");
  return out;
}

void feed(const char* command, const std::string& input) {
  FILE* pipe = ::popen(command, "w");
  CHECK(pipe != nullptr);
  CHECK(::fwrite(input.data(), 1, input.size(), pipe) == input.size());
  const int status = ::pclose(pipe);
  if (status != 0) fprintf(stderr, "bench: %s: status %d\n", command, status);
  CHECK(status == 0);
}

}  // namespace

void load_peer_rules(std::string_view tool, const dataplane::ServiceTable& table) {
  const std::vector<Peer> peers = peers_of(table);
  const std::string pods = table.node.local_pod_cidrs.at(0).to_string();
  const std::string node = table.node.node_ips.at(0).to_string();
  if (tool == "iptables_nft") return feed("iptables-nft-restore", iptables_rules(peers, pods));
  if (tool == "iptables_legacy") {
    return feed("iptables-legacy-restore", iptables_rules(peers, pods));
  }
  if (tool == "nftables") return feed("nft -f -", nftables_rules(peers, pods, node));
  CHECK(tool == "ipvs");
  feed("ip -batch -", dummy_addresses(peers));
  feed("ipvsadm -R", ipvs_services(peers));
}

}  // namespace fairlead::bench
