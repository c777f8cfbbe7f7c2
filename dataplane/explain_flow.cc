// The decisions of resolve(), one after the other. resolve() itself gives the outcome, so that the
// words here cannot disagree with what the drivers do.
#include <algorithm>

#include "base/text.h"
#include "dataplane/explain.h"

namespace fairlead::dataplane {
namespace {

const Cidr* covering(const std::vector<Cidr>& cidrs, const Ip& ip) {
  const auto found =
      std::find_if(cidrs.begin(), cidrs.end(), [&](const Cidr& cidr) { return cidr.contains(ip); });
  return found == cidrs.end() ? nullptr : &*found;
}

const PortRule* rule_of(const ServiceTable& table, const FlowResult& result, Protocol protocol,
                        bool ipv6) {
  const auto entry = table.services.find(result.service);
  if (entry == table.services.end()) return nullptr;
  for (const PortRule& rule : entry->second.ports) {
    if (rule.port_name != result.port_name || rule.protocol != protocol || rule.ipv6 != ipv6) {
      continue;
    }
    if (std::find(rule.frontends.begin(), rule.frontends.end(), result.frontend) !=
        rule.frontends.end()) {
      return &rule;
    }
  }
  return nullptr;
}

Decision explain_source(const NodeConfig& node, const Ip& source) {
  switch (classify_source(node, source)) {
    case SourceClass::node:
      return {"source", "this node",
              source.is_loopback() ? "a loopback address" : "one of the node's addresses"};
    case SourceClass::local_pod:
      return {"source", "local pod",
              cat("inside ", covering(node.local_pod_cidrs, source)->to_string())};
    case SourceClass::outside:
      break;
  }
  return {"source", "outside",
          knows_local_pods(node, !source.is_v4())
              ? "neither the node's address nor in its pod networks"
              : "no pod network of this family is known, so local pods cannot be told apart"};
}

Decision explain_ranges(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                        const Ip& source) {
  if (frontend.kind != FrontendKind::load_balancer) {
    return {"source ranges", "not looked at", "they guard load balancer addresses only"};
  }
  if (rule.source_ranges.empty()) return {"source ranges", "allowed", "there are none"};
  if (const Cidr* range = covering(rule.source_ranges, source)) {
    return {"source ranges", "allowed", cat("inside ", range->to_string())};
  }
  return may_dial(node, rule, frontend, source)
             ? Decision{"source ranges", "allowed", "the node dials its own load balancer"}
             : Decision{"source ranges", "refused", "inside none of them"};
}

// What the mode would need to serve this flow as `result` says, and has not.
std::optional<Capability> missing_for(Mode mode, const FlowQuery& query, const FlowResult& result) {
  const auto lacks = [&](Capability one) { return !can(mode, one); };
  const bool nobody = result.service.name.empty();
  if (nobody && result.outcome == FlowOutcome::drop && lacks(Capability::unallocated_ips)) {
    return Capability::unallocated_ips;
  }
  if (!nobody && query.protocol == Protocol::sctp && lacks(Capability::sctp)) {
    return Capability::sctp;
  }
  if (!nobody && query.destination.ip.is_loopback() && lacks(Capability::localhost_node_ports)) {
    return Capability::localhost_node_ports;
  }
  return std::nullopt;
}

// Everybody gets what outsiders get.
void bind_everybody(const NodeConfig& node, const PortRule& rule, const Ip& source,
                    FlowResult& result) {
  const Treatment how = treatment(node, rule, result.frontend, classify_source(node, source));
  result.candidates.clear();
  for (const Backend& one : local_backends(rule)) {
    result.candidates.push_back({one, how.masquerade || one.ip == source});
  }
}

Decision explain_policy(const PortRule& rule, const Frontend& frontend, SourceClass source,
                        std::optional<Mode> mode) {
  if (frontend.kind == FrontendKind::cluster_ip) {
    return frontend.local_only ? Decision{"policy", "Local", "internalTrafficPolicy"}
                               : Decision{"policy", "Cluster", "internalTrafficPolicy"};
  }
  if (!frontend.local_only) return {"policy", "Cluster", "externalTrafficPolicy"};
  if (source == SourceClass::outside) return {"policy", "Local", "externalTrafficPolicy"};
  if (mode && binds_everybody(*mode, rule, frontend)) {
    return {"policy", "Local", without(*mode, Capability::policy_by_source)};
  }
  return {"policy", "Cluster",
          cat("externalTrafficPolicy is Local, but does not bind ",
              source == SourceClass::node ? "the node itself" : "local pods")};
}

size_t count_of(const FlowResult& result, bool FlowCandidate::* what) {
  return static_cast<size_t>(std::count_if(result.candidates.begin(), result.candidates.end(),
                                           [&](const FlowCandidate& one) { return one.*what; }));
}

Decision explain_external(const Frontend& frontend, bool masquerade) {
  if (!masquerade) return {"masquerade", "no", "policy Local keeps the client's address"};
  return {"masquerade", "yes",
          frontend.local_only ? "the node itself dials from its own address"
                              : "policy Cluster: the answer must come back through this node"};
}

// REQUIRES: the mode keeps addresses.
Decision explain_masquerade(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                            SourceClass source, const FlowResult& result) {
  const size_t all = result.candidates.size();
  const size_t direct = count_of(result, &FlowCandidate::direct);
  const size_t count = count_of(result, &FlowCandidate::masquerade);
  if (direct != 0) {
    return {"masquerade", direct == all ? "no" : "not on other nodes",
            "direct return: the answer does not pass this node"};
  }
  if (count != 0 && count != all) {
    return {"masquerade", "only to itself", "an endpoint that dials itself must see the node"};
  }
  const bool yes = count != 0;
  if (yes && !treatment(node, rule, frontend, source).masquerade) {
    return {"masquerade", "yes", "the endpoint dials itself"};
  }
  if (frontend.kind != FrontendKind::cluster_ip) return explain_external(frontend, yes);
  if (yes) {
    return {"masquerade", "yes",
            node.masquerade_all ? "masquerade-all is set" : "the source is no local pod"};
  }
  return {"masquerade", "no",
          source == SourceClass::local_pod ? "the source is a local pod"
                                           : "no pod network of this family is known"};
}

std::string many(size_t count) {
  return count == 1 ? "the only endpoint" : cat(count, " endpoints");
}

void explain_choice(FlowExplanation& out, const PortRule& rule, std::optional<Mode> mode) {
  if (rule.affinity_timeout_s != 0) {
    out.decisions.push_back({"affinity", cat(rule.affinity_timeout_s, " s"),
                             "an endpoint that this client had before comes first"});
  }
  const std::string_view how = choice_name(rule, mode);
  out.decisions.push_back({"choice", std::string(how),
                           cat("among ", many(out.candidates.size()),
                               how == "Maglev" ? ", by a hash of the flow" : "")});
}

void explain_nobody(FlowExplanation& out, const ServiceTable& table, const FlowQuery& query) {
  const Ip& ip = query.destination.ip;
  Decision& none = out.decisions.emplace_back("frontend", "none", "");
  if (out.outcome == FlowOutcome::reject) {
    none.why = "the address is a ClusterIP that has no such port";
  } else if (out.outcome == FlowOutcome::drop) {
    none.why = cat("no Service has this address of the service range ",
                   covering(table.node.service_cidrs, ip)->to_string());
  } else {
    none.why = "no Service has this address, port and protocol";
  }
}

std::string_view outcome_reason(const FlowExplanation& out, const PortRule& rule) {
  const bool refused = std::any_of(out.decisions.begin(), out.decisions.end(),
                                   [](const Decision& one) { return one.verdict == "refused"; });
  if (refused) return "the source ranges do not let it in";
  return rule.if_empty == NoBackend::reject ? "no endpoint anywhere can serve"
                                            : "endpoints exist, but not for this policy";
}

void explain_service_flow(FlowExplanation& out, const ServiceTable& table, const FlowQuery& query,
                          const FlowResult& result, const PortRule& rule,
                          std::optional<Mode> mode) {
  const NodeConfig& node = table.node;
  const SourceClass source = classify_source(node, query.source);
  out.service = port_label(result.service, result.port_name);
  out.decisions.push_back({"frontend", to_text(result.frontend), cat("of ", out.service)});
  out.decisions.push_back(explain_source(node, query.source));
  out.decisions.push_back(explain_ranges(node, rule, result.frontend, query.source));
  if (out.decisions.back().verdict == "refused") return;
  out.decisions.push_back(explain_policy(rule, result.frontend, source, mode));
  if (result.outcome != FlowOutcome::forward) return;
  explain_choice(out, rule, mode);
  if (mode && !can(*mode, Capability::source_address)) {
    out.decisions.push_back({"masquerade", "yes", cat("always in ", to_string(*mode), " mode")});
    return;
  }
  out.decisions.push_back(explain_masquerade(node, rule, result.frontend, source, result));
}

}  // namespace

FlowExplanation explain_flow(const ServiceTable& table, const FlowQuery& query,
                             std::optional<Mode> mode) {
  const SocketAddress& to = query.destination;
  FlowResult result = resolve(table, query.source, to.ip, to.port, query.protocol);
  const auto missing = mode ? missing_for(*mode, query, result) : std::nullopt;
  if (missing) result = {};
  const PortRule* rule = rule_of(table, result, query.protocol, !to.ip.is_v4());
  if (mode && rule != nullptr && result.outcome == FlowOutcome::forward &&
      binds_everybody(*mode, *rule, result.frontend)) {
    bind_everybody(table.node, *rule, query.source, result);
  }
  if (mode) result = served_by(*mode, std::move(result));
  FlowExplanation out;
  out.flow = cat(query.source.to_string(), " -> ", to.to_string(), "/", to_string(query.protocol));
  out.outcome = result.outcome;
  out.candidates = result.candidates;
  if (rule == nullptr) {
    explain_nobody(out, table, query);
    if (missing) out.decisions.back().why = without(*mode, *missing);
    out.decisions.push_back({"outcome", to_text(result), ""});
    return out;
  }
  explain_service_flow(out, table, query, result, *rule, mode);
  out.decisions.push_back(
      {"outcome", to_text(result),
       result.outcome == FlowOutcome::forward ? "" : std::string(outcome_reason(out, *rule))});
  return out;
}

Result<std::pair<SocketAddress, Protocol>> parse_destination(std::string_view text) {
  const size_t slash = text.find('/');
  const auto protocol = slash == text.npos ? Protocol::tcp : parse_protocol(text.substr(slash + 1));
  if (!protocol) {
    return fail(cat("'", text, "': expected ADDRESS:PORT/PROTOCOL with TCP, UDP or SCTP"));
  }
  FL_TRY(const SocketAddress address, SocketAddress::parse(text.substr(0, slash)));
  if (address.port == 0 || address.ip.is_unspecified()) {
    return fail(cat("'", text, "': expected ADDRESS:PORT/PROTOCOL, such as 10.96.0.1:80/TCP"));
  }
  return std::pair(address, *protocol);
}

}  // namespace fairlead::dataplane
