#include "dataplane/explain.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/compile.h"

namespace fairlead::dataplane {
namespace {

std::string set_text(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                     SourceClass source, std::optional<Mode> mode) {
  Treatment how = treatment(node, rule, frontend, source);
  const bool bound = mode && binds_everybody(*mode, rule, frontend);
  if (bound) how.backends = local_backends(rule);
  const bool direct = how.direct && (!mode || can(*mode, Capability::dsr));
  const bool masquerade = how.masquerade || (mode && !can(*mode, Capability::source_address));
  if (how.backends.empty()) return rule.if_empty == NoBackend::reject ? "reject" : "drop";
  const bool local = bound || (frontend.local_only && (frontend.kind == FrontendKind::cluster_ip ||
                                                       source == SourceClass::outside));
  return cat(local ? "local (" : "all (", how.backends.size(), ")",
             direct       ? ", masquerade here, direct return elsewhere"
             : masquerade ? ", masquerade"
                          : "");
}

FrontendExplanation explain_frontend(const NodeConfig& node, const PortRule& rule,
                                     const Frontend& frontend, std::optional<Mode> mode) {
  return {to_text(frontend), set_text(node, rule, frontend, SourceClass::local_pod, mode),
          set_text(node, rule, frontend, SourceClass::node, mode),
          set_text(node, rule, frontend, SourceClass::outside, mode)};
}

Decision explain_topology(const api::UsableSet& usable, const NodeConfig& node) {
  if (usable.terminating_fallback) {
    return {"topology", "everywhere", "no endpoint is ready, so hints are not looked at"};
  }
  switch (usable.topology) {
    case api::Topology::same_node:
      return {"topology", "this node", "every ready endpoint has node hints, one names this node"};
    case api::Topology::same_zone:
      return {"topology", cat("zone ", node.zone),
              "every ready endpoint has zone hints, one names this zone"};
    case api::Topology::everywhere:
      break;
  }
  const bool hints = std::any_of(usable.cluster.begin(), usable.cluster.end(), [](const auto& one) {
    return !one.endpoint->hint_zones.empty() || !one.endpoint->hint_nodes.empty();
  });
  if (!hints) return {"topology", "everywhere", "no ready endpoint has hints"};
  return {"topology", "everywhere",
          node.zone.empty() ? "this node has no zone, and no hint names it"
                            : "not every ready endpoint has a hint, or none names this zone"};
}

Decision explain_choice(const PortRule& rule, std::optional<Mode> mode) {
  std::string_view why = "the default";
  if (rule.algorithm == Algorithm::maglev) {
    why = "annotation fairlead.io/algorithm: by a hash of the flow";
    if (mode && !can(*mode, Capability::maglev)) {
      why = "annotation fairlead.io/algorithm: the mode lacks Maglev";
    } else if (mode && !fits_maglev(*mode, rule)) {
      why = "annotation fairlead.io/algorithm: too many endpoints for a table of this mode";
    }
  }
  return {"choice", std::string(choice_name(rule, mode)), std::string(why)};
}

Decision explain_affinity(const PortRule& rule) {
  if (rule.affinity_timeout_s == 0) return {"affinity", "none", "sessionAffinity is None"};
  return {"affinity", cat(rule.affinity_timeout_s, " s"),
          "a client address that was here before keeps its endpoint"};
}

std::vector<Decision> explain_rule(const PortRule& rule, const api::UsableSet& usable,
                                   const NodeConfig& node, std::optional<Mode> mode) {
  std::vector<Decision> out = {explain_topology(usable, node), explain_choice(rule, mode),
                               explain_affinity(rule)};
  std::vector<std::string> ranges;
  for (const Cidr& range : rule.source_ranges) ranges.push_back(range.to_string());
  if (!ranges.empty()) {
    out.push_back({"source ranges", join(ranges, ", "), "for its load balancer addresses only"});
  }
  if (rule.forwarding == Forwarding::dsr) {
    out.push_back({"forwarding", "direct server return", "annotation fairlead.io/forwarding"});
  }
  out.push_back({"no backend", rule.if_empty == NoBackend::reject ? "reject" : "drop",
                 rule.if_empty == NoBackend::reject
                     ? "no endpoint anywhere can serve"
                     : "endpoints exist; drop where a policy leaves none of them"});
  return out;
}

}  // namespace

ServiceExplanation explain_service(const api::Snapshot& snapshot, const ServiceTable& table,
                                   const api::ObjectKey& key, std::optional<Mode> mode) {
  ServiceExplanation out;
  out.key = key;
  if (mode) out.mode = to_string(*mode);
  const auto service = snapshot.find<api::Service>(key);
  out.not_served =
      service == nullptr ? "there is no such Service" : why_not_proxied(*service, table.node);
  const auto entry = table.services.find(key);
  if (entry == table.services.end()) return out;
  const auto slices = snapshot.slices_of(key);
  const api::Viewpoint from{table.node.node_name, table.node.zone};
  for (const PortRule& rule : entry->second.ports) {
    PortExplanation& port = out.ports.emplace_back();
    port.name = rule.port_name;
    port.protocol = rule.protocol;
    port.ipv6 = rule.ipv6;
    for (const Frontend& frontend : rule.frontends) {
      port.frontends.push_back(explain_frontend(table.node, rule, frontend, mode));
    }
    const auto usable =
        api::usable_endpoints(slices, rule.port_name, rule.protocol, rule.ipv6, from);
    port.endpoints =
        api::judge_endpoints(slices, rule.port_name, rule.protocol, rule.ipv6, from, usable);
    port.decisions = explain_rule(rule, usable, table.node, mode);
  }
  if (mode) out.lacking = lacking(*mode, key, entry->second);
  return out;
}

std::string_view choice_name(const PortRule& rule, std::optional<Mode> mode) {
  const bool hashed = !mode || (can(*mode, Capability::maglev) && fits_maglev(*mode, rule));
  if (rule.algorithm == Algorithm::maglev && hashed) {
    return "Maglev";
  }
  if (mode == Mode::ipvs) return "by the IPVS scheduler";
  return mode == Mode::userspace ? "round robin" : "random";
}

std::vector<FlowQuery> flows_to(const ServiceTable& table, const api::ObjectKey& key,
                                const Ip& source) {
  std::vector<FlowQuery> out;
  const auto entry = table.services.find(key);
  if (entry == table.services.end()) return out;
  for (const PortRule& rule : entry->second.ports) {
    if (rule.ipv6 == source.is_v4()) continue;
    for (const Frontend& frontend : rule.frontends) {
      Ip ip = frontend.ip;
      if (frontend.kind == FrontendKind::node_port) {
        const auto& ips = node_port_ips(table.node);
        const auto own = std::find_if(ips.begin(), ips.end(),
                                      [&](const Ip& one) { return one.is_v4() != rule.ipv6; });
        if (own == ips.end()) continue;
        ip = *own;
      }
      out.push_back({source, {ip, frontend.port}, rule.protocol});
    }
  }
  return out;
}

}  // namespace fairlead::dataplane
