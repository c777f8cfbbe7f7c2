#include "agent/kube_proxy_config.h"

#include <algorithm>

#include "agent/kube_proxy_fields.h"
#include "api/yaml.h"
#include "base/text.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view api_version = "kubeproxy.config.k8s.io/v1alpha1";
constexpr std::string_view kind = "KubeProxyConfiguration";
constexpr api::YamlLimits limits{.max_bytes = 256 * 1024, .max_depth = 16, .max_nodes = 10'000};

// Go's zero values, which the API server and kubeadm write for what nobody set.
bool is_unset(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return true;
    case json::kind::bool_:
      return !value.get_bool();
    case json::kind::int64:
      return value.get_int64() == 0;
    case json::kind::string:
      return value.get_string().empty() || value.get_string() == "0" || value.get_string() == "0s";
    case json::kind::array:
      return value.get_array().empty();
    case json::kind::object:
      return std::all_of(value.get_object().begin(), value.get_object().end(),
                         [](const auto& member) { return is_unset(member.value()); });
    default:
      return false;
  }
}

bool is_empty(const json::value& value) {
  return value.is_null() || (value.is_string() && value.get_string().empty());
}

class FieldReader {
 public:
  FieldReader(const api::YamlDocument& document, std::string_view file, AgentConfig& config)
      : document_(document), file_(file), draft_{config} {}

  Result<void> read() {
    FL_TRY_VOID(walk(document_.value, ""));
    if (auto done = finish_kube_proxy_draft(draft_); !done) {
      return fail(cat(file_, ": ", done.error().message));
    }
    return {};
  }

 private:
  Result<void> walk(const json::value& object, const std::string& prefix) {
    for (const auto& [key, value] : object.get_object()) {
      const std::string path = cat(prefix, std::string_view(key.data(), key.size()));
      const auto rows = kube_proxy_rows();
      const auto row = std::find_if(rows.begin(), rows.end(),
                                    [&](const KubeProxyRow& one) { return one.path == path; });
      if (row != rows.end()) {
        FL_TRY_VOID(set(*row, value));
      } else if (is_section(path)) {
        if (value.is_null()) continue;
        if (!value.is_object()) return error(path, "expected a section with fields");
        FL_TRY_VOID(walk(value, path + "."));
      } else {
        return error(path, cat("unknown field", suggestion(path)));
      }
    }
    return {};
  }

  Result<void> set(const KubeProxyRow& row, const json::value& value) {
    const std::string path(row.path);
    if (row.fate == FieldFate::refused && !is_unset(value)) {
      return error(path, cat("is not available: ", row.note));
    }
    if (row.set == nullptr || is_empty(value)) return {};
    if (auto done = row.set(draft_, value); !done) return error(path, done.error().message);
    return {};
  }

  static bool is_section(const std::string& path) {
    const auto rows = kube_proxy_rows();
    return std::any_of(rows.begin(), rows.end(),
                       [&](const KubeProxyRow& row) { return row.path.starts_with(path + "."); });
  }

  static std::string suggestion(const std::string& path) {
    std::vector<std::string_view> names;
    for (const KubeProxyRow& row : kube_proxy_rows()) names.push_back(row.path);
    return nearest_name(path, names);
  }

  std::unexpected<Error> error(const std::string& path, const std::string& message) const {
    return fail(cat(file_, ':', document_.line_of(path), ": ", path, ": ", message));
  }

  const api::YamlDocument& document_;
  std::string_view file_;
  KubeProxyDraft draft_;
};

// --conntrack-tcp-timeout-established is conntrack.tcpEstablishedTimeout: words change their
// places, so names are compared by their letters alone.
std::string letters_of(std::string_view name) {
  std::string letters = to_lower(name);
  std::erase_if(letters, [](char c) { return c < 'a' || c > 'z'; });
  std::sort(letters.begin(), letters.end());
  return letters;
}

std::string_view fate_text(FieldFate fate) {
  switch (fate) {
    case FieldFate::honoured:
      return " is here: ";
    case FieldFate::moot:
      return " is not needed: ";
    case FieldFate::refused:
      return " is not available: ";
  }
  return "";
}

}  // namespace

std::string kube_proxy_flag(std::string_view flag) {
  const std::string letters = letters_of(flag);
  for (const KubeProxyField& field : kube_proxy_fields()) {
    if (letters_of(field.path) != letters) continue;
    return cat(": kube-proxy's ", field.path, fate_text(field.fate), field.note);
  }
  return "";
}

Result<bool> apply_kube_proxy_config(AgentConfig& config, std::string_view text,
                                     std::string_view file) {
  const auto documents = api::parse_yaml(text, file, limits);
  if (!documents || documents->empty()) return false;
  const auto found = std::find_if(
      documents->begin(), documents->end(),
      [](const api::YamlDocument& one) { return find_string(one.value, "kind") == kind; });
  if (found == documents->end()) return false;
  if (documents->size() > 1) {
    return fail(
        cat(file, ": a ", kind, " must stand alone; here are ", documents->size(), " documents"));
  }
  const api::YamlDocument& document = *found;
  if (const auto version = find_string(document.value, "apiVersion"); version != api_version) {
    return fail(cat(file, ':', document.line_of("apiVersion"), ": apiVersion: '", version,
                    "' is not known: ", api_version, " is"));
  }
  FL_TRY_VOID(FieldReader(document, file, config).read());
  return true;
}

json::value to_kube_proxy_config(const AgentConfig& config, std::string_view mode) {
  json::array node_ports;
  for (const auto& range : config.node_port_addresses) {
    node_ports.emplace_back(format_setting(range));
  }
  const json::object section{{"masqueradeBit", config.masquerade_bit.bit},
                             {"masqueradeAll", config.masquerade_all},
                             {"syncPeriod", format_setting(config.sync_period)}};
  json::object iptables = section;
  iptables["localhostNodePorts"] = config.localhost_node_ports;
  json::object ipvs{{"scheduler", config.ipvs_scheduler},
                    {"strictARP", config.ipvs_strict_arp},
                    {"syncPeriod", format_setting(config.sync_period)},
                    {"tcpTimeout", format_setting(config.ipvs_tcp_timeout)},
                    {"tcpFinTimeout", format_setting(config.ipvs_tcp_fin_timeout)},
                    {"udpTimeout", format_setting(config.ipvs_udp_timeout)}};
  return {{"apiVersion", api_version},
          {"kind", kind},
          {"mode", mode},
          {"hostnameOverride", config.node_name},
          {"clientConnection", {{"kubeconfig", config.kubeconfig}}},
          {"healthzBindAddress", config.healthz_listen.to_string()},
          {"metricsBindAddress", config.metrics_listen.to_string()},
          {"clusterCIDR", format_setting(config.local_pod_cidrs)},
          {"nodePortAddresses", std::move(node_ports)},
          {"oomScoreAdj", config.oom_score_adj},
          {"conntrack", {{"tcpBeLiberal", config.conntrack_tcp_be_liberal}}},
          {"iptables", std::move(iptables)},
          {"ipvs", std::move(ipvs)},
          {"nftables", section}};
}

}  // namespace fairlead::agent
