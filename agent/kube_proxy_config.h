// kube-proxy's own configuration file (KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1)
// as a source of our settings. Every field is honoured, or needs nothing done here, or is refused
// by name when it is set to something: nothing is silently ignored.
// Source: Kubernetes pkg/proxy/apis/config, v1alpha1.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "api/json.h"

namespace fairlead::agent {

enum class FieldFate : uint8_t {
  honoured,
  moot,     // accepted: what it asks for holds anyway, or bounds what does not happen here
  refused,  // an error when it is set to more than its zero value
};

struct KubeProxyField {
  std::string_view path;  // "iptables.masqueradeAll"
  FieldFate fate;
  std::string_view note;  // how it is honoured, why it is moot or refused
};

// The whole table, in the order of the API.
std::span<const KubeProxyField> kube_proxy_fields();

// What a flag of kube-proxy is here, such as "--hostname-override": a clause for an error, or ""
// when no field has its name.
std::string kube_proxy_flag(std::string_view flag);

// Applies the text to `config` if it is a KubeProxyConfiguration; false when it is something else
// (also text that does not parse). Errors are "file:line: field: ...".
Result<bool> apply_kube_proxy_config(AgentConfig& config, std::string_view text,
                                     std::string_view file);

// What /configz shows: the settings in kube-proxy's words.
json::value to_kube_proxy_config(const AgentConfig& config, std::string_view mode);

}  // namespace fairlead::agent
