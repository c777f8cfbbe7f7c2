#include "agent/kube_proxy_fields.h"

#include <algorithm>
#include <array>
#include <thread>

#include "dataplane/ipvs/virtual_service.h"

namespace fairlead::agent {
namespace {

using Draft = KubeProxyDraft;
using enum FieldFate;

Result<std::string> text_of(const json::value& value) {
  if (!value.is_string()) return fail("expected text");
  return std::string(value.get_string());
}

Result<bool> bool_of(const json::value& value) {
  if (!value.is_bool()) return fail("expected true or false");
  return value.get_bool();
}

Result<int64_t> number_of(const json::value& value, int64_t low, int64_t high) {
  std::optional<int64_t> number;
  if (value.is_int64()) number = parse_int(cat(value.get_int64()), low, high);
  if (value.is_string()) number = parse_int(std::string_view(value.get_string()), low, high);
  if (!number) return fail(cat("expected a number of ", low, " to ", high));
  return *number;
}

Result<Duration> duration_of(const json::value& value) {
  if (value.is_int64() && value.get_int64() == 0) return Duration{};
  FL_TRY(const std::string text, text_of(value));
  Duration out{};
  FL_TRY_VOID(parse_setting(text, out));
  return out;
}

// A comma-separated text or a list of texts.
template <class T>
Result<void> set_list(const json::value& value, std::vector<T>& out) {
  std::string joined;
  if (value.is_array()) {
    for (const json::value& element : value.get_array()) {
      FL_TRY(const std::string text, text_of(element));
      joined += text + ",";
    }
  } else {
    FL_TRY(joined, text_of(value));
  }
  return parse_setting(joined, out);
}

// "0.0.0.0:10256"; without a port the default one stays.
Result<void> set_address(const json::value& value, SocketAddress& out) {
  FL_TRY(const std::string text, text_of(value));
  if (const auto ip = Ip::parse(text)) {
    out.ip = *ip;
    return {};
  }
  FL_TRY(out, SocketAddress::parse(text));
  return {};
}

Result<void> set_bind_address(Draft& draft, const json::value& value) {
  FL_TRY(const std::string text, text_of(value));
  const auto ip = Ip::parse(text);
  if (!ip) return fail(cat("'", text, "' is not an IP address"));
  if (!ip->is_unspecified() && *ip != Ip::v4(0)) draft.config.node_ips = {*ip};
  return {};
}

Result<void> set_feature_gates(Draft&, const json::value& value) {
  // Those whose behaviour is what fairlead does.
  constexpr std::string_view always_on[] = {"AllAlpha",
                                            "AllBeta",
                                            "EndpointSliceProxying",
                                            "IPv6DualStack",
                                            "KubeProxyDrainingTerminatingNodes",
                                            "LoadBalancerIPMode",
                                            "MinimizeIPTablesRestore",
                                            "NFTablesProxyMode",
                                            "PreferSameTrafficDistribution",
                                            "ProxyTerminatingEndpoints",
                                            "ServiceInternalTrafficPolicy",
                                            "ServiceTrafficDistribution",
                                            "SupportIPVSProxyMode",
                                            "TopologyAwareHints"};
  if (!value.is_object()) return fail("expected lines of the form 'Gate: true'");
  for (const auto& [gate, on] : value.get_object()) {
    const std::string_view name(gate.data(), gate.size());
    if (!on.is_bool()) return fail(cat(name, ": expected true or false"));
    const bool known =
        std::find(std::begin(always_on), std::end(always_on), name) != std::end(always_on);
    const bool all = name.starts_with("All");
    if (known && (on.get_bool() || all)) continue;
    if (!known && !on.get_bool()) continue;
    return fail(cat("the gate ", name, known ? " cannot be switched off" : " is not known here"));
  }
  return {};
}

Result<void> set_verbosity(Draft& draft, const json::value& value) {
  FL_TRY(const int64_t verbosity, number_of(value, 0, 100));
  if (verbosity >= 4) draft.config.log_level = LogLevel::debug;
  return {};
}

Result<void> set_log_format(Draft&, const json::value& value) {
  FL_TRY(const std::string format, text_of(value));
  if (format != "text") return fail(cat("'", format, "' is not available: text is"));
  return {};
}

Result<void> set_mode(Draft& draft, const json::value& value) {
  FL_TRY(draft.mode, text_of(value));
  const bool linux_mode =
      draft.mode == "iptables" || draft.mode == "ipvs" || draft.mode == "nftables";
  if (!linux_mode) {
    return fail(cat("'", draft.mode, "' is not available: iptables, ipvs and nftables are"));
  }
  return parse_setting(draft.mode, draft.config.proxy_mode);
}

Result<void> set_detect_local_mode(Draft& draft, const json::value& value) {
  FL_TRY(draft.detect_local_mode, text_of(value));
  if (draft.detect_local_mode == "ClusterCIDR" || draft.detect_local_mode == "NodeCIDR") return {};
  return fail(cat("'", draft.detect_local_mode,
                  "' is not available: local pods are told apart by ClusterCIDR or NodeCIDR"));
}

Result<MarkBit> mark_bit_of(const json::value& value) {
  FL_TRY(const int64_t bit, number_of(value, 0, 31));
  return MarkBit{static_cast<unsigned>(bit)};
}

Result<void> set_oom_score(Draft& draft, const json::value& value) {
  FL_TRY(const int64_t score, number_of(value, -1000, 1000));
  draft.config.oom_score_adj = static_cast<int>(score);
  return {};
}

Result<void> set_scheduler(Draft& draft, const json::value& value) {
  FL_TRY(const std::string name, text_of(value));
  FL_TRY_VOID(dataplane::ipvs::check_scheduler(name));
  draft.config.ipvs_scheduler = name;
  return {};
}

Result<void> set_sysctl(Draft& draft, const char* name, const json::value& value) {
  FL_TRY(const Duration time, duration_of(value));
  const int64_t seconds = std::chrono::ceil<std::chrono::seconds>(time).count();
  if (seconds > 0) {
    draft.config.sysctls.push_back({cat("net.netfilter.nf_conntrack_", name), cat(seconds)});
  }
  return {};
}

#define FL_SET(expression) \
  [](Draft& draft, const json::value& value) -> Result<void> { return expression; }
#define FL_ASSIGN(member, read)                                \
  [](Draft& draft, const json::value& value) -> Result<void> { \
    FL_TRY(draft.member, read);                                \
    return {};                                                 \
  }

// A socket that is balanced when it connects has no interface yet.
constexpr std::string_view by_address = "local pods are told apart by address in every mode";
constexpr std::string_view windows_only = "it is for Windows";
constexpr std::string_view at_once = "changes are applied at once, and together when many come";

const KubeProxyRow rows[] = {
    {{"apiVersion", honoured, "must be kubeproxy.config.k8s.io/v1alpha1"},
     FL_SET((void(draft), void(value), Result<void>()))},
    {{"kind", honoured, "must be KubeProxyConfiguration"},
     FL_SET((void(draft), void(value), Result<void>()))},
    {{"bindAddress", honoured, "an address of its own becomes --node-ips"}, set_bind_address},
    {{"healthzBindAddress", honoured, "--healthz-listen"},
     FL_SET(set_address(value, draft.config.healthz_listen))},
    {{"metricsBindAddress", honoured, "--metrics-listen"},
     FL_SET(set_address(value, draft.config.metrics_listen))},
    {{"bindAddressHardFail", moot, "an address that cannot be bound always ends the start"},
     nullptr},
    {{"enableProfiling", refused, "there is no profiler to serve"}, nullptr},
    {{"showHiddenMetricsForVersion", refused, "no metric is hidden"}, nullptr},
    {{"hostnameOverride", honoured, "--node-name"}, FL_ASSIGN(config.node_name, text_of(value))},
    {{"featureGates", honoured, "gates whose behaviour is built in may be on"}, set_feature_gates},
    {{"clientConnection.kubeconfig", honoured, "--kubeconfig"},
     FL_ASSIGN(config.kubeconfig, text_of(value))},
    {{"clientConnection.acceptContentTypes", moot, "the encoding on the wire changes nothing"},
     nullptr},
    {{"clientConnection.contentType", moot, "the encoding on the wire changes nothing"}, nullptr},
    {{"clientConnection.qps", moot, "a handful of watches is all that is asked for"}, nullptr},
    {{"clientConnection.burst", moot, "a handful of watches is all that is asked for"}, nullptr},
    {{"logging.format", honoured, "text"}, set_log_format},
    {{"logging.verbosity", honoured, "4 and more is --log-level debug"}, set_verbosity},
    {{"logging.flushFrequency", moot, "every line is written at once"}, nullptr},
    {{"logging.vmodule", refused, "log levels are for the whole program"}, nullptr},
    {{"logging.options", refused, "lines go to standard error, unbuffered"}, nullptr},
    {{"mode", honoured, "--proxy-mode; empty: auto"}, set_mode},
    {{"detectLocalMode", honoured, "ClusterCIDR: clusterCIDR; NodeCIDR: the Node's podCIDRs"},
     set_detect_local_mode},
    {{"detectLocal.bridgeInterface", refused, by_address}, nullptr},
    {{"detectLocal.interfaceNamePrefix", refused, by_address}, nullptr},
    {{"clusterCIDR", honoured, "--local-pod-cidrs, as detectLocalMode says"},
     FL_SET(set_list(value, draft.cluster_cidrs))},
    {{"nodePortAddresses", honoured, "--node-port-addresses"},
     FL_SET(set_list(value, draft.config.node_port_addresses))},
    {{"oomScoreAdj", honoured, "--oom-score-adj"}, set_oom_score},
    {{"configSyncPeriod", moot, "watches say what changes; there is no relisting by the clock"},
     nullptr},
    {{"portRange", refused, "NodePorts are the API server's to choose"}, nullptr},
    {{"windowsRunAsService", refused, windows_only}, nullptr},
    {{"iptables.masqueradeBit", honoured, "--iptables-masquerade-bit, unless mode is nftables"},
     FL_ASSIGN(iptables_masquerade_bit, mark_bit_of(value))},
    {{"iptables.masqueradeAll", honoured, "--masquerade-all, unless mode is nftables"},
     FL_ASSIGN(iptables_masquerade_all, bool_of(value))},
    {{"iptables.localhostNodePorts", honoured, "--localhost-node-ports"},
     FL_ASSIGN(config.localhost_node_ports, bool_of(value))},
    {{"iptables.syncPeriod", honoured, "--sync-period, unless mode is another"},
     FL_ASSIGN(iptables_sync, duration_of(value))},
    {{"iptables.minSyncPeriod", moot, at_once}, nullptr},
    {{"ipvs.syncPeriod", honoured, "--sync-period, when mode is ipvs"},
     FL_ASSIGN(ipvs_sync, duration_of(value))},
    {{"ipvs.minSyncPeriod", moot, at_once}, nullptr},
    {{"ipvs.scheduler", honoured, "--ipvs-scheduler"}, set_scheduler},
    {{"ipvs.excludeCIDRs", moot, "virtual servers of others are never touched"}, nullptr},
    {{"ipvs.strictARP", honoured, "--ipvs-strict-arp"},
     FL_ASSIGN(config.ipvs_strict_arp, bool_of(value))},
    {{"ipvs.tcpTimeout", honoured, "--ipvs-tcp-timeout"},
     FL_ASSIGN(config.ipvs_tcp_timeout, duration_of(value))},
    {{"ipvs.tcpFinTimeout", honoured, "--ipvs-tcp-fin-timeout"},
     FL_ASSIGN(config.ipvs_tcp_fin_timeout, duration_of(value))},
    {{"ipvs.udpTimeout", honoured, "--ipvs-udp-timeout"},
     FL_ASSIGN(config.ipvs_udp_timeout, duration_of(value))},
    {{"nftables.masqueradeBit", honoured, "--iptables-masquerade-bit, when mode is nftables"},
     FL_ASSIGN(nftables_masquerade_bit, mark_bit_of(value))},
    {{"nftables.masqueradeAll", honoured, "--masquerade-all, unless mode is iptables or ipvs"},
     FL_ASSIGN(nftables_masquerade_all, bool_of(value))},
    {{"nftables.syncPeriod", honoured, "--sync-period, when mode is nftables"},
     FL_ASSIGN(nftables_sync, duration_of(value))},
    {{"nftables.minSyncPeriod", moot, at_once}, nullptr},
    {{"conntrack.maxPerCore", honoured, "sysctl nf_conntrack_max, times the cores"},
     [](Draft& draft, const json::value& value) -> Result<void> {
       FL_TRY(const int64_t number, number_of(value, 0, 1 << 24));
       draft.conntrack_max_per_core = static_cast<uint32_t>(number);
       return {};
     }},
    {{"conntrack.min", honoured, "sysctl nf_conntrack_max, at least"},
     [](Draft& draft, const json::value& value) -> Result<void> {
       FL_TRY(const int64_t number, number_of(value, 0, 1 << 30));
       draft.conntrack_min = static_cast<uint32_t>(number);
       return {};
     }},
    {{"conntrack.tcpEstablishedTimeout", honoured, "sysctl nf_conntrack_tcp_timeout_established"},
     FL_SET(set_sysctl(draft, "tcp_timeout_established", value))},
    {{"conntrack.tcpCloseWaitTimeout", honoured, "sysctl nf_conntrack_tcp_timeout_close_wait"},
     FL_SET(set_sysctl(draft, "tcp_timeout_close_wait", value))},
    {{"conntrack.tcpBeLiberal", honoured, "--conntrack-tcp-be-liberal"},
     FL_ASSIGN(config.conntrack_tcp_be_liberal, bool_of(value))},
    {{"conntrack.udpTimeout", honoured, "sysctl nf_conntrack_udp_timeout"},
     FL_SET(set_sysctl(draft, "udp_timeout", value))},
    {{"conntrack.udpStreamTimeout", honoured, "sysctl nf_conntrack_udp_timeout_stream"},
     FL_SET(set_sysctl(draft, "udp_timeout_stream", value))},
    {{"winkernel", refused, windows_only}, nullptr},
};

#undef FL_SET
#undef FL_ASSIGN

}  // namespace

std::span<const KubeProxyRow> kube_proxy_rows() { return rows; }

std::span<const KubeProxyField> kube_proxy_fields() {
  static const auto fields = [] {
    std::array<KubeProxyField, std::size(rows)> out;
    std::copy(std::begin(rows), std::end(rows), out.begin());
    return out;
  }();
  return fields;
}

namespace {

Result<void> choose_masquerade_bit(KubeProxyDraft& draft) {
  const auto& iptables = draft.iptables_masquerade_bit;
  const auto& nftables = draft.nftables_masquerade_bit;
  const bool any = draft.mode.empty();
  if (any && iptables && nftables && *iptables != *nftables) {
    return fail("iptables.masqueradeBit and nftables.masqueradeBit differ: mode must say which");
  }
  const auto& chosen = draft.mode == "nftables" || (any && !iptables) ? nftables : iptables;
  if (!chosen) return {};
  draft.config.masquerade_bit = *chosen;
  return {};
}

// One of the two alone has kube-proxy's default for the other; 0 per core leaves the kernel's
// limit as it is, whatever the minimum.
void set_conntrack_max(KubeProxyDraft& draft) {
  if (!draft.conntrack_max_per_core && !draft.conntrack_min) return;
  const uint64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t per_core = draft.conntrack_max_per_core.value_or(32768);
  if (per_core == 0) return;
  const uint64_t entries =
      std::max<uint64_t>(per_core * cores, draft.conntrack_min.value_or(131072));
  draft.config.sysctls.push_back({"net.netfilter.nf_conntrack_max", cat(entries)});
}

}  // namespace

// kube-proxy reads the section of the mode that it runs in; without a mode, whatever is said
// counts.
Result<void> finish_kube_proxy_draft(KubeProxyDraft& draft) {
  AgentConfig& config = draft.config;
  const bool any = draft.mode.empty(), nftables = draft.mode == "nftables";
  config.masquerade_all = ((any || !nftables) && draft.iptables_masquerade_all) ||
                          ((any || nftables) && draft.nftables_masquerade_all);
  FL_TRY_VOID(choose_masquerade_bit(draft));
  Duration period = draft.iptables_sync;
  if (draft.mode == "ipvs") period = draft.ipvs_sync;
  if (nftables) period = draft.nftables_sync;
  if (period > Duration{}) config.sync_period = period;

  const bool by_cluster = draft.detect_local_mode == "ClusterCIDR";
  if (by_cluster && draft.cluster_cidrs.empty()) {
    return fail("detectLocalMode: ClusterCIDR needs clusterCIDR");
  }
  if (by_cluster || draft.detect_local_mode.empty()) config.local_pod_cidrs = draft.cluster_cidrs;

  set_conntrack_max(draft);
  return {};
}

}  // namespace fairlead::agent
