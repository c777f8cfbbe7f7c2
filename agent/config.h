// What can be set on an agent, and its table of options.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/option.h"
#include "dataplane/capability.h"

namespace fairlead::agent {

enum class ProxyMode { automatic, ebpf, nftables, iptables, ipvs, userspace, none };
std::optional<dataplane::Mode> fixed_mode(ProxyMode mode);  // nothing for automatic and none
Result<void> parse_setting(std::string_view text, ProxyMode& out);
std::string format_setting(ProxyMode value);

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
  LogLevel log_level = LogLevel::info;
};

std::vector<Option<AgentConfig>> agent_options();

}  // namespace fairlead::agent
