// How each field of a KubeProxyConfiguration lands in the settings, for agent/kube_proxy_config.cc.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/kube_proxy_config.h"

namespace fairlead::agent {

// What the fields say, before those that depend on each other are put together.
struct KubeProxyDraft {
  AgentConfig& config;
  std::string mode, detect_local_mode;
  std::vector<Cidr> cluster_cidrs;
  bool iptables_masquerade_all = false, nftables_masquerade_all = false;
  std::optional<MarkBit> iptables_masquerade_bit, nftables_masquerade_bit;
  Duration iptables_sync{}, ipvs_sync{}, nftables_sync{};
  std::optional<uint32_t> conntrack_max_per_core, conntrack_min;
};

struct KubeProxyRow : KubeProxyField {
  // Null for moot and refused fields. Not called for null and "".
  Result<void> (*set)(KubeProxyDraft& draft, const json::value& value);
};

std::span<const KubeProxyRow> kube_proxy_rows();

// Puts together what depends on more than one field.
Result<void> finish_kube_proxy_draft(KubeProxyDraft& draft);

}  // namespace fairlead::agent
