// kube-proxy's configuration file as settings: files as clusters have them, and each field refused
// by name when it cannot be honoured.
#include "agent/kube_proxy_config.h"

#include <gtest/gtest.h>

#include <set>

namespace fairlead::agent {
namespace {

// The ConfigMap kube-proxy of a kubeadm cluster, data config.conf, with a pod network.
constexpr std::string_view kubeadm = R"(apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
)";

// The same, as a node image for containers writes it.
constexpr std::string_view kind_node = R"(apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
iptables:
  minSyncPeriod: 1s
  localhostNodePorts: false
conntrack:
  maxPerCore: 0
featureGates:
  ServiceTrafficDistribution: true
)";

constexpr std::string_view head =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

AgentConfig read(std::string_view text) {
  AgentConfig config;
  const auto done = apply_kube_proxy_config(config, text, "config.conf");
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_TRUE(done && *done);
  return config;
}

std::string error_of(std::string_view fields) {
  AgentConfig config;
  const auto done = apply_kube_proxy_config(config, cat(head, fields), "config.conf");
  return done ? "" : done.error().message;
}

TEST(KubeProxyConfig, KubeadmsDefaultIsOurDefault) {
  const AgentConfig config = read(kubeadm);
  AgentConfig want;
  want.kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf";
  want.local_pod_cidrs = {*Cidr::parse("10.244.0.0/16")};
  for (const auto& row : agent_options()) EXPECT_EQ(row.get(config), row.get(want)) << row.name;
}

TEST(KubeProxyConfig, ANodeImagesFileIsHonoured) {
  const AgentConfig config = read(kind_node);
  EXPECT_EQ(config.proxy_mode, ProxyMode::iptables);
  EXPECT_FALSE(config.localhost_node_ports);
  EXPECT_EQ(config.local_pod_cidrs.size(), 2u);
}

TEST(KubeProxyConfig, FieldsBecomeSettings) {
  struct Case {
    std::string_view fields, option, want;
  };
  const Case cases[] = {
      {"mode: nftables\n", "proxy-mode", "nftables"},
      {"mode: ipvs\n", "proxy-mode", "ipvs"},
      {"hostnameOverride: n1\n", "node-name", "n1"},
      {"bindAddress: 10.0.0.5\n", "node-ips", "10.0.0.5"},
      {"bindAddress: \"::\"\n", "node-ips", ""},
      {"healthzBindAddress: 127.0.0.1:11256\n", "healthz-listen", "127.0.0.1:11256"},
      {"metricsBindAddress: 0.0.0.0\n", "metrics-listen", "0.0.0.0:10249"},
      {"clusterCIDR: 10.1.0.0/16\n", "local-pod-cidrs", "10.1.0.0/16"},
      {"clusterCIDR: 10.1.0.0/16\ndetectLocalMode: NodeCIDR\n", "local-pod-cidrs", ""},
      {"nodePortAddresses: [primary]\n", "node-port-addresses", "primary"},
      {"nodePortAddresses: [10.0.0.0/8, \"fd00::/8\"]\n", "node-port-addresses",
       "10.0.0.0/8,fd00::/8"},
      {"oomScoreAdj: -999\n", "oom-score-adj", "-999"},
      {"iptables: {masqueradeAll: true}\n", "masquerade-all", "true"},
      {"mode: nftables\niptables: {masqueradeAll: true}\n", "masquerade-all", "false"},
      {"mode: nftables\nnftables: {masqueradeAll: true}\n", "masquerade-all", "true"},
      {"mode: nftables\nnftables: {syncPeriod: 1m0s}\n", "sync-period", "60s"},
      {"mode: ipvs\nipvs: {syncPeriod: 45s}\n", "sync-period", "45s"},
      {"ipvs: {scheduler: wlc, strictARP: true, excludeCIDRs: [10.9.0.0/16]}\n", "ipvs-scheduler",
       "wlc"},
      {"ipvs: {strictARP: true}\n", "ipvs-strict-arp", "true"},
      {"ipvs: {tcpTimeout: 15m0s, tcpFinTimeout: 2m}\n", "ipvs-tcp-timeout", "900s"},
      {"ipvs: {tcpTimeout: 15m0s, tcpFinTimeout: 2m}\n", "ipvs-tcp-fin-timeout", "120s"},
      {"mode: iptables\nipvs: {udpTimeout: 90s}\n", "ipvs-udp-timeout", "90s"},
      {"mode: ipvs\niptables: {masqueradeBit: 15}\n", "iptables-masquerade-bit", "15"},
      {"iptables: {masqueradeBit: 0}\n", "iptables-masquerade-bit", "0"},
      {"nftables: {masqueradeBit: 15}\n", "iptables-masquerade-bit", "15"},
      {"mode: iptables\nnftables: {masqueradeBit: 15}\n", "iptables-masquerade-bit", "14"},
      {"mode: nftables\niptables: {masqueradeBit: 3}\nnftables: {masqueradeBit: 31}\n",
       "iptables-masquerade-bit", "31"},
      {"mode: ipvs\niptables: {masqueradeBit: 14}\n", "iptables-masquerade-bit", "14"},
      {"logging: {verbosity: 5}\n", "log-level", "debug"},
      {"conntrack: {tcpEstablishedTimeout: 24h0m0s}\n", "sysctls",
       "net.netfilter.nf_conntrack_tcp_timeout_established=86400"},
      {"conntrack: {tcpBeLiberal: true}\n", "conntrack-tcp-be-liberal", "true"},
      {"conntrack: {maxPerCore: 1, min: 131072}\n", "sysctls",
       "net.netfilter.nf_conntrack_max=131072"},
      {"clientConnection: {qps: 50, burst: 100}\n", "kubeconfig", ""},
      {"featureGates: {TopologyAwareHints: true, Unheard: false}\n", "proxy-mode", "auto"},
  };
  for (const Case& c : cases) {
    const AgentConfig config = read(cat(head, c.fields));
    for (const auto& row : agent_options()) {
      if (row.name == c.option) {
        EXPECT_EQ(row.get(config), c.want) << c.fields;
      }
    }
  }
}

TEST(KubeProxyConfig, WhatCannotBeHonouredIsRefusedByNameAndLine) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"enableProfiling: true\n",
       "config.conf:3: enableProfiling: is not available: there is no profiler to serve"},
      {"mode: kernelspace\n",
       "config.conf:3: mode: 'kernelspace' is not available: iptables, ipvs and nftables are"},
      {"iptables:\n  masqueradeBit: 32\n",
       "config.conf:4: iptables.masqueradeBit: expected a number of 0 to 31"},
      {"iptables: {masqueradeBit: 15}\nnftables: {masqueradeBit: 14}\n",
       "config.conf: iptables.masqueradeBit and nftables.masqueradeBit differ: mode must say "
       "which"},
      {"detectLocalMode: BridgeInterface\n",
       "config.conf:3: detectLocalMode: 'BridgeInterface' is not available: local pods are told "
       "apart by ClusterCIDR or NodeCIDR"},
      {"detectLocalMode: ClusterCIDR\n",
       "config.conf: detectLocalMode: ClusterCIDR needs clusterCIDR"},
      {"ipvs: {tcpTimeout: 900}\n", "config.conf:3: ipvs.tcpTimeout: expected text"},
      {"ipvs: {udpTimeout: -1s}\n",
       "config.conf:3: ipvs.udpTimeout: '-1s' is not a duration such as 500ms, 30s or 1m30s"},
      {"winkernel:\n  enableDSR: true\n",
       "config.conf:3: winkernel: is not available: it is for Windows"},
      {"logging: {format: json}\n",
       "config.conf:3: logging.format: 'json' is not available: text is"},
      {"featureGates: {ServiceTrafficDistribution: false}\n",
       "config.conf:3: featureGates: the gate ServiceTrafficDistribution cannot be switched off"},
      {"featureGates: {Unheard: true}\n",
       "config.conf:3: featureGates: the gate Unheard is not known here"},
      {"iptables:\n  masqueradeAl: true\n",
       "config.conf:4: iptables.masqueradeAl: unknown field: did you mean "
       "'iptables.masqueradeAll'?"},
      {"iptables: [1]\n", "config.conf:3: iptables: expected a section with fields"},
      {"iptables: {masqueradeAll: 1}\n",
       "config.conf:3: iptables.masqueradeAll: expected true or false"},
      {"oomScoreAdj: 2000\n", "config.conf:3: oomScoreAdj: expected a number of -1000 to 1000"},
      {"clusterCIDR: 10.0.0.0\n",
       "config.conf:3: clusterCIDR: '10.0.0.0' is not a network such as 10.96.0.0/12"},
      {"iptables: {syncPeriod: often}\n",
       "config.conf:3: iptables.syncPeriod: 'often' is not a duration such as 500ms, 30s or "
       "1m30s"},
  };
  for (const auto& [fields, want] : cases) EXPECT_EQ(error_of(fields), want);
}

TEST(KubeProxyConfig, OtherFilesAreLeftToOthers) {
  AgentConfig config;
  for (const char* text : {"", "proxy-mode: ebpf\n", "kind: Service\n", "- a\n", "a: [\n", "3"}) {
    const auto done = apply_kube_proxy_config(config, text, "f");
    ASSERT_TRUE(done) << text;
    EXPECT_FALSE(*done) << text;
  }
  const auto other =
      apply_kube_proxy_config(config, "kind: KubeProxyConfiguration\napiVersion: v9\n", "f");
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("f:2: apiVersion"), std::string::npos);
}

TEST(KubeProxyConfig, EveryFieldOfTheTableHasANoteAndANameOfItsOwn) {
  std::set<std::string_view> paths;
  for (const KubeProxyField& field : kube_proxy_fields()) {
    EXPECT_TRUE(paths.insert(field.path).second) << field.path;
    EXPECT_FALSE(field.note.empty()) << field.path;
  }
  EXPECT_GT(paths.size(), 50u);
}

// kube-proxy --help, release 1.33: the flags whose names are not ours.
TEST(KubeProxyConfig, FlagsOfKubeProxyAreFoundByTheNamesOfTheirFields) {
  struct Case {
    std::string_view flag, field;  // "": it has none
  };
  const Case cases[] = {
      {"--bind-address", "bindAddress is here: "},
      {"--bind-address-hard-fail", "bindAddressHardFail is not needed: "},
      {"--cluster-cidr", "clusterCIDR is here: --local-pod-cidrs"},
      {"--config-sync-period", "configSyncPeriod is not needed: "},
      {"--conntrack-max-per-core", "conntrack.maxPerCore is here: sysctl nf_conntrack_max"},
      {"--conntrack-min", "conntrack.min is here: sysctl nf_conntrack_max"},
      {"--conntrack-tcp-timeout-close-wait", "conntrack.tcpCloseWaitTimeout is here: sysctl "},
      {"--conntrack-tcp-timeout-established", "conntrack.tcpEstablishedTimeout is here: sysctl "},
      {"--conntrack-udp-timeout", "conntrack.udpTimeout is here: sysctl "},
      {"--conntrack-udp-timeout-stream", "conntrack.udpStreamTimeout is here: sysctl "},
      {"--detect-local-mode", "detectLocalMode is here: "},
      {"--feature-gates", "featureGates is here: "},
      {"--healthz-bind-address", "healthzBindAddress is here: --healthz-listen"},
      {"--hostname-override", "hostnameOverride is here: --node-name"},
      {"--iptables-localhost-nodeports", "iptables.localhostNodePorts is here: "},
      {"--iptables-min-sync-period", "iptables.minSyncPeriod is not needed: "},
      {"--iptables-sync-period", "iptables.syncPeriod is here: --sync-period"},
      {"--ipvs-exclude-cidrs", "ipvs.excludeCIDRs is not needed: "},
      {"--ipvs-sync-period", "ipvs.syncPeriod is here: --sync-period"},
      {"--logging-format", "logging.format is here: "},
      {"--metrics-bind-address", "metricsBindAddress is here: --metrics-listen"},
      {"--nodeport-addresses", "nodePortAddresses is here: --node-port-addresses"},
      {"--show-hidden-metrics-for-version", "showHiddenMetricsForVersion is not available: "},
      {"--master", ""},
      {"--write-config-to", ""},
      {"-v", ""},
      {"--", ""},
      {"", ""},
  };
  for (const auto& [flag, field] : cases) {
    const std::string said = kube_proxy_flag(flag);
    const std::string expected = field.empty() ? "" : cat(": kube-proxy's ", field);
    EXPECT_EQ(said.substr(0, expected.size()), expected) << flag;
    EXPECT_EQ(said.empty(), field.empty()) << flag << said;
  }
}

TEST(KubeProxyConfig, ConfigzIsAFileThatCanBeReadAgain) {
  AgentConfig config = read(kind_node);
  const std::string text = json::serialize(to_kube_proxy_config(config, "iptables"));
  const AgentConfig again = read(text);
  EXPECT_EQ(again.proxy_mode, ProxyMode::iptables);
  EXPECT_EQ(again.local_pod_cidrs, config.local_pod_cidrs);
  EXPECT_EQ(again.localhost_node_ports, config.localhost_node_ports);
  config = read(cat(head,
                    "mode: ipvs\nipvs: {scheduler: wlc, strictARP: true, tcpTimeout: 61s, "
                    "udpTimeout: 1m30s}\n"));
  const AgentConfig ipvs = read(json::serialize(to_kube_proxy_config(config, "ipvs")));
  EXPECT_EQ(ipvs.ipvs_scheduler, "wlc");
  EXPECT_TRUE(ipvs.ipvs_strict_arp);
  EXPECT_EQ(ipvs.ipvs_tcp_timeout, std::chrono::seconds(61));
  EXPECT_EQ(ipvs.ipvs_tcp_fin_timeout, Duration{});
  EXPECT_EQ(ipvs.ipvs_udp_timeout, std::chrono::seconds(90));
}

}  // namespace
}  // namespace fairlead::agent
