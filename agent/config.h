// What can be set on an agent, and its table of options.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/option.h"
#include "dataplane/capability.h"
#include "dataplane/iptables/runner.h"

namespace fairlead::agent {

enum class ProxyMode { automatic, ebpf, nftables, iptables, ipvs, userspace, none };
std::optional<dataplane::Mode> fixed_mode(ProxyMode mode);  // nothing for automatic and none
Result<void> parse_setting(std::string_view text, ProxyMode& out);
std::string format_setting(ProxyMode value);

// An element of --node-port-addresses: a network, or the node's primary addresses.
struct NodePortRange {
  std::optional<Cidr> network;  // nothing: `primary`
  friend bool operator==(const NodePortRange&, const NodePortRange&) = default;
};
Result<void> parse_setting(std::string_view text, NodePortRange& out);
std::string format_setting(const NodePortRange& value);

// "net.netfilter.nf_conntrack_max=262144"
struct Sysctl {
  std::string name, value;
  friend bool operator==(const Sysctl&, const Sysctl&) = default;
};
Result<void> parse_setting(std::string_view text, Sysctl& out);
std::string format_setting(const Sysctl& value);

// The bit of a packet's mark that asks for masquerade.
struct MarkBit {
  unsigned bit = 14;
  uint32_t mark() const { return uint32_t{1} << bit; }
  friend bool operator==(const MarkBit&, const MarkBit&) = default;
};
Result<void> parse_setting(std::string_view text, MarkBit& out);
std::string format_setting(const MarkBit& value);

struct AgentConfig {
  // Where the cluster's state comes from: exactly one is used, in this order.
  std::string manifests;
  std::string kubeconfig;  // neither: the pod's service account

  std::string node_name;              // "": the host name
  std::vector<Ip> node_ips;           // empty: the Node object's InternalIPs
  std::vector<Cidr> local_pod_cidrs;  // empty: the Node object's podCIDRs

  ProxyMode proxy_mode = ProxyMode::automatic;
  std::string cgroup;
  std::string bpffs = "/sys/fs/bpf";
  std::vector<std::string> interfaces;
  bool tcx = true;
  // Entries of the eBPF mode's maps, see dataplane/ebpf/driver.h.
  unsigned max_services = 65536;
  unsigned max_backends = 262144;
  unsigned max_maglev = 4096;
  unsigned max_conntrack = 262144;  // the table of flows

  std::vector<NodePortRange> node_port_addresses;  // empty: all of node_ips, and localhost
  bool localhost_node_ports = true;
  bool masquerade_all = false;
  std::vector<Cidr> service_cidrs;
  std::vector<Cidr> node_cidrs;
  std::string service_proxy_name;

  MarkBit masquerade_bit;
  bool conntrack_tcp_be_liberal = false;
  dataplane::IptablesVariant iptables_variant = dataplane::IptablesVariant::automatic;
  bool nftables_drop_invalid = false;

  // What userspace mode may hold at a time, and how long it waits: dataplane/userspace/driver.h.
  unsigned userspace_max_captured = 131072;
  unsigned userspace_max_connections = 16384;
  unsigned userspace_max_udp_flows = 16384;
  unsigned userspace_max_clients = 65536;
  unsigned userspace_connect_attempts = 4;
  Duration userspace_connect_timeout = std::chrono::seconds(3);
  Duration userspace_udp_timeout = std::chrono::seconds(60);
  Duration userspace_drain = std::chrono::seconds(2);

  std::string ipvs_scheduler = "rr";
  bool ipvs_strict_arp = false;
  // How long IPVS remembers a connection without packets; 0: as the kernel has it.
  Duration ipvs_tcp_timeout{}, ipvs_tcp_fin_timeout{}, ipvs_udp_timeout{};

  Duration sync_period = std::chrono::seconds(30);  // /healthz fails when one update takes twice it
  Duration verify_interval = std::chrono::seconds(60);  // 0: never by itself
  bool verify_repair = true;
  Duration drain_limit = std::chrono::minutes(5);

  bool dns = true;
  std::string corefile;
  std::vector<Ip> dns_bind;
  unsigned dns_workers = 0;

  bool ingress = true;
  std::vector<SocketAddress> ingress_http{{Ip{}, 80}};
  std::vector<SocketAddress> ingress_https{{Ip{}, 443}};
  unsigned ingress_workers = 0;
  std::string ingress_controller = "fairlead.io/ingress";
  bool ingress_without_class = false;
  std::vector<Cidr> ingress_trusted_proxies;  // whose X-Forwarded-* headers are believed
  std::string access_log;

  SocketAddress healthz_listen{Ip{}, 10256};
  SocketAddress metrics_listen{Ip::v4(0x7f000001), 10249};
  std::string socket = "/run/fairlead/agent.sock";
  std::vector<Sysctl> sysctls;  // set at start
  int oom_score_adj = 0;        // 0: as it is
  LogLevel log_level = LogLevel::info;
};

std::vector<Option<AgentConfig>> agent_options();

}  // namespace fairlead::agent
