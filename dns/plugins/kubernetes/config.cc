#include "dns/plugins/configure.h"

namespace fairlead::dns {
namespace {

constexpr std::string_view known_options =
    "one of namespaces, pods, endpoint_pod_names, ttl, noendpoints, ignore, fallthrough";

bool is_reverse(const std::string& zone) {
  return zone.ends_with(".in-addr.arpa.") || zone.ends_with(".ip6.arpa.") ||
         zone == "in-addr.arpa." || zone == "ip6.arpa.";
}

Result<void> set_pods(const Directive& directive, const Directive::Line& line,
                      KubernetesConfig& config) {
  const std::string mode = line.words.size() == 2 ? line.words[1] : "";
  if (mode == "disabled") {
    config.pods = PodMode::disabled;
  } else if (mode == "insecure") {
    config.pods = PodMode::insecure;
  } else if (mode == "verified") {
    config.pods = PodMode::verified;
  } else {
    return fail_in(directive, "option 'pods' needs one of disabled, insecure, verified", line.line);
  }
  return {};
}

Result<void> set_option(const Directive& directive, const Directive::Line& line,
                        KubernetesConfig& config) {
  const std::string& name = line.words[0];
  if (name == "pods") return set_pods(directive, line, config);
  if (name == "namespaces") {
    if (line.words.size() < 2) {
      return fail_in(directive, "option 'namespaces' needs at least one name", line.line);
    }
    for (size_t i = 1; i < line.words.size(); ++i) {
      if (line.words[i].empty() || line.words[i].size() > 63) {
        return fail_in(directive, cat("namespace '", line.words[i], "' is not a label"), line.line);
      }
      config.namespaces.push_back(to_lower(line.words[i]));
    }
    return {};
  }
  if (name == "ttl") {
    FL_TRY(const int64_t ttl, number_option(directive, line, 0, 3600));
    config.ttl_s = static_cast<uint32_t>(ttl);
    return {};
  }
  if (name == "fallthrough") {
    config.fallthrough = true;
    FL_TRY(config.fallthrough_zones, zone_words(directive, line.words, 1, line.line));
    return {};
  }
  if (name == "ignore") {
    if (line.words.size() != 2 || line.words[1] != "empty_service") {
      return fail_in(directive, "option 'ignore' needs empty_service", line.line);
    }
    config.ignore_empty_service = true;
    return {};
  }
  if (name == "endpoint_pod_names" || name == "noendpoints") {
    FL_TRY_VOID(no_arguments(directive, line));
    (name == "noendpoints" ? config.endpoints : config.endpoint_pod_names) = name != "noendpoints";
    return {};
  }
  return unknown_option(directive, line, known_options);
}

}  // namespace

Result<void> configure_kubernetes(const Directive& directive, ServerBlock& block) {
  KubernetesConfig config{.at = directive.at};
  FL_TRY(config.zones, zone_words(directive, directive.words, 0));
  if (config.zones.empty()) {
    for (const auto& key : block.keys) config.zones.push_back(key.name);
  }
  if (std::all_of(config.zones.begin(), config.zones.end(), is_reverse)) {
    return fail_in(directive, "only reverse zones, expected the cluster's domain too");
  }
  for (const auto& line : directive.body) FL_TRY_VOID(set_option(directive, line, config));
  block.kubernetes = std::move(config);
  return {};
}

}  // namespace fairlead::dns
