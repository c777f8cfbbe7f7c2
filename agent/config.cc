#include "agent/config.h"

#include "dataplane/ebpf/driver.h"
#include "dataplane/ipvs/virtual_service.h"

namespace fairlead::agent {
namespace {

// Of a table in memory: more would not be a wish but a slip.
constexpr int64_t max_entries = 1 << 24;
constexpr int64_t max_workers = 1024;
constexpr std::string_view mode_names = "auto, ebpf, nftables, iptables, ipvs, userspace or none";

Option<AgentConfig> few_node_cidrs(Option<AgentConfig> row) {
  row.set = [set = std::move(row.set)](AgentConfig& config, std::string_view text) -> Result<void> {
    FL_TRY_VOID(set(config, text));
    const size_t count = config.node_cidrs.size(), most = dataplane::ebpf_node_cidrs;
    if (count <= most) return {};
    return fail(cat(count, " networks, expected at most ", most));
  };
  return row;
}

}  // namespace

std::optional<dataplane::Mode> fixed_mode(ProxyMode mode) {
  if (mode == ProxyMode::automatic || mode == ProxyMode::none) return std::nullopt;
  return dataplane::parse_mode(format_setting(mode));
}

std::string format_setting(ProxyMode value) {
  constexpr std::string_view names[] = {"auto", "ebpf",      "nftables", "iptables",
                                        "ipvs", "userspace", "none"};
  return std::string(names[static_cast<size_t>(value)]);
}

Result<void> parse_setting(std::string_view text, ProxyMode& out) {
  for (size_t i = 0; i <= static_cast<size_t>(ProxyMode::none); ++i) {
    const auto mode = static_cast<ProxyMode>(i);
    if (format_setting(mode) != text) continue;
    out = mode;
    return {};
  }
  return fail(cat("'", text, "' is not a proxy mode: ", mode_names));
}

Result<void> parse_setting(std::string_view text, NodePortRange& out) {
  out = {};
  if (text == "primary") return {};
  Cidr network;
  if (!parse_setting(text, network)) {
    return fail(cat("'", text, "' is neither a network such as 10.0.0.0/8 nor 'primary'"));
  }
  out.network = network;
  return {};
}

std::string format_setting(const NodePortRange& value) {
  return value.network ? value.network->to_string() : "primary";
}

// Letters, digits, '_', '-' and single dots between: no way out of /proc/sys.
Result<void> parse_setting(std::string_view text, Sysctl& out) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const bool plain = name.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-.") == name.npos;
  if (equals == text.npos || name.empty() || !plain || name.front() == '.' || name.back() == '.' ||
      name.find("..") != name.npos) {
    return fail(cat("'", text, "' is not of the form net.netfilter.nf_conntrack_max=262144"));
  }
  out = {std::string(name), std::string(text.substr(equals + 1))};
  return {};
}

std::string format_setting(const Sysctl& value) { return cat(value.name, '=', value.value); }

Result<void> parse_setting(std::string_view text, MarkBit& out) {
  const auto bit = parse_int(text, 0, 31);
  if (!bit) return fail(cat("'", text, "' is not a bit of the packet mark: 0 to 31"));
  out.bit = static_cast<unsigned>(*bit);
  return {};
}

std::string format_setting(const MarkBit& value) { return cat(value.bit); }

namespace {

using C = AgentConfig;

std::vector<Option<C>> node_options() {
  return {
      option("kubeconfig", "FILE", "reach the API server as this file says", &C::kubeconfig),
      option("manifests", "DIR", "serve the manifests in this folder; needs no API server",
             &C::manifests),
      option("node-name", "NAME", "this node's name (empty: the host name)", &C::node_name),
      option("node-ips", "IPS", "addresses that NodePorts are served on (empty: the Node's own)",
             &C::node_ips),
      option("local-pod-cidrs", "CIDRS", "this node's pod networks (empty: as the Node says)",
             &C::local_pod_cidrs),
      option("proxy-mode", "MODE", std::string(mode_names), &C::proxy_mode),
      option("cgroup", "DIR", "cgroup2 folder whose sockets are balanced (empty: the root)",
             &C::cgroup),
      option("bpffs", "DIR", "BPF file system that keeps state over a restart", &C::bpffs),
      option("interfaces", "NAMES", "devices that carry node and pod traffic (empty: all but lo)",
             &C::interfaces),
      option("tcx", "BOOL", "tc programs by tcx where the kernel has it (false: by clsact)",
             &C::tcx),
      within(1, max_entries,
             option("max-services", "N", "addresses and ports of Services that eBPF mode can hold",
                    &C::max_services)),
      within(1, max_entries,
             option("max-backends", "N", "endpoints of all Services that eBPF mode can hold",
                    &C::max_backends)),
      within(1, max_entries,
             option("max-maglev", "N", "Services with Maglev that eBPF mode can hold; 4 KiB each",
                    &C::max_maglev)),
      within(1, max_entries,
             option("max-conntrack", "N",
                    "entries for flows in eBPF mode; a flow takes two to four", &C::max_conntrack)),
      option("node-port-addresses", "CIDRS",
             "networks whose addresses serve NodePorts, or 'primary' (empty: every node IP)",
             &C::node_port_addresses),
      option("localhost-node-ports", "BOOL", "NodePorts on 127.0.0.1, too",
             &C::localhost_node_ports),
      option("masquerade-all", "BOOL", "masquerade all that goes to a ClusterIP",
             &C::masquerade_all),
      few_node_cidrs(
          option("node-cidr", "CIDRS",
                 "networks of all nodes: direct return to NodePorts of other addresses is refused",
                 &C::node_cidrs)),
      option("service-cidr", "CIDRS", "drop what goes to an address here that no Service has",
             &C::service_cidrs),
      option("service-proxy-name", "NAME",
             "serve Services with this service-proxy-name label only (empty: those without)",
             &C::service_proxy_name),
      option("sync-period", "TIME", "/healthz fails when an update waits twice as long",
             &C::sync_period),
      option("verify-interval", "TIME", "read the kernel back this often (0s: never)",
             &C::verify_interval),
      option("verify-repair", "BOOL", "put right what reading back finds", &C::verify_repair),
      option("drain-limit", "TIME", "how long flows of the old mode may take after a switch",
             &C::drain_limit),
  };
}

// Its type is another room's, so that parse_setting() would not be found.
Option<C> iptables_variant() {
  return {"iptables-variant", "NAME",
          "iptables mode: nft, legacy, or auto (the one in which others have left chains)",
          [](C& config, std::string_view text) -> Result<void> {
            const auto variant = dataplane::parse_iptables_variant(text);
            if (!variant) return fail(cat("'", text, "' is no variant: auto, nft and legacy are"));
            config.iptables_variant = *variant;
            return {};
          },
          [](const C& config) { return std::string(to_string(config.iptables_variant)); }};
}

Option<C> ipvs_scheduler() {
  auto row = option("ipvs-scheduler", "NAME",
                    "ipvs mode: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, fo or ovf",
                    &C::ipvs_scheduler);
  row.set = [](C& config, std::string_view text) -> Result<void> {
    FL_TRY_VOID(dataplane::ipvs::check_scheduler(text));
    config.ipvs_scheduler = text;
    return {};
  };
  return row;
}

std::vector<Option<C>> driver_options() {
  return {
      option("iptables-masquerade-bit", "N",
             "bit of the packet mark that asks for masquerade, in iptables, nftables and ipvs mode",
             &C::masquerade_bit),
      option("conntrack-tcp-be-liberal", "BOOL",
             "segments out of the window pass: the sysctl, and no rule of iptables mode drops them",
             &C::conntrack_tcp_be_liberal),
      iptables_variant(),
      option("nftables-drop-invalid", "BOOL",
             "nftables mode: drop forwarded segments that connection tracking finds invalid",
             &C::nftables_drop_invalid),
      ipvs_scheduler(),
      option("ipvs-strict-arp", "BOOL",
             "ipvs mode: devices answer ARP for their own addresses only", &C::ipvs_strict_arp),
      option("ipvs-tcp-timeout", "TIME",
             "ipvs mode: how long a silent TCP connection is remembered (0s: as it is)",
             &C::ipvs_tcp_timeout),
      option("ipvs-tcp-fin-timeout", "TIME",
             "ipvs mode: the same of one that is closing (0s: as it is)", &C::ipvs_tcp_fin_timeout),
      option("ipvs-udp-timeout", "TIME", "ipvs mode: the same of a UDP flow (0s: as it is)",
             &C::ipvs_udp_timeout),
      within(1, max_entries,
             option("userspace-max-captured", "N",
                    "userspace mode: addresses and ports of Services that it can hold",
                    &C::userspace_max_captured)),
      within(1, max_entries,
             option("userspace-max-connections", "N", "userspace mode: TCP connections at a time",
                    &C::userspace_max_connections)),
      within(1, max_entries,
             option("userspace-max-udp-flows", "N",
                    "userspace mode: UDP flows at a time; the one used longest ago makes room",
                    &C::userspace_max_udp_flows)),
      within(1, max_entries,
             option("userspace-max-clients", "N",
                    "userspace mode: clients whose endpoint is remembered for session affinity",
                    &C::userspace_max_clients)),
      within(1, 100,
             option("userspace-connect-attempts", "N",
                    "userspace mode: endpoints that one connection may try",
                    &C::userspace_connect_attempts)),
      option("userspace-connect-timeout", "TIME",
             "userspace mode: how long an endpoint may take to answer",
             &C::userspace_connect_timeout),
      option("userspace-udp-timeout", "TIME",
             "userspace mode: a UDP flow ends when it was silent for so long",
             &C::userspace_udp_timeout),
      option("userspace-drain", "TIME",
             "userspace mode: that connections have to end when the agent stops",
             &C::userspace_drain),
  };
}

std::vector<Option<C>> other_options() {
  return {
      option("dns", "BOOL", "serve cluster DNS", &C::dns),
      option("corefile", "FILE", "DNS configuration (empty: the built-in one)", &C::corefile),
      option("dns-bind", "IPS", "addresses that DNS listens on (empty: all)", &C::dns_bind),
      within(0, max_workers,
             option("dns-workers", "N", "DNS threads (0: one per core)", &C::dns_workers)),
      option("ingress", "BOOL", "serve Ingress objects", &C::ingress),
      option("ingress-http", "ADDRS", "addresses for plain HTTP", &C::ingress_http),
      option("ingress-https", "ADDRS", "addresses for HTTPS", &C::ingress_https),
      within(
          0, max_workers,
          option("ingress-workers", "N", "ingress threads (0: one per core)", &C::ingress_workers)),
      option("ingress-controller", "NAME", "IngressClass controller that is ours",
             &C::ingress_controller),
      option("ingress-without-class", "BOOL", "also serve Ingresses that name no class",
             &C::ingress_without_class),
      option("ingress-trusted-proxies", "CIDRS", "peers whose X-Forwarded headers are believed",
             &C::ingress_trusted_proxies),
      option("access-log", "FILE", "ingress access log ('-': standard output, empty: none)",
             &C::access_log),
      option("healthz-listen", "ADDR", "address of /healthz, /livez and /readyz",
             &C::healthz_listen),
      option("metrics-listen", "ADDR", "address of /metrics and /status", &C::metrics_listen),
      option("socket", "FILE", "unix socket that `fairlead status` asks", &C::socket),
      option("sysctls", "NAME=VALUE", "kernel parameters to set at start", &C::sysctls),
      within(-1000, 1000,
             option("oom-score-adj", "N",
                    "-1000 to 1000: how early the kernel may end the agent (0: as is)",
                    &C::oom_score_adj)),
      option("log-level", "LEVEL", "debug, info, warn or error", &C::log_level),
  };
}

}  // namespace

std::vector<Option<AgentConfig>> agent_options() {
  auto rows = node_options();
  for (auto* const more : {&driver_options, &other_options}) {
    for (auto& row : more()) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace fairlead::agent
