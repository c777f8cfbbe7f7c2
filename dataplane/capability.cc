#include "dataplane/capability.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/maglev.h"

namespace fairlead::dataplane {
namespace {

constexpr std::array<std::string_view, 5> names = {"ebpf", "nftables", "iptables", "ipvs",
                                                   "userspace"};

using enum Capability;

//                                            ebpf  nft   ipt   ipvs  userspace
constexpr CapabilityRow rows[] = {
    {sctp, "SCTP", {false, true, true, true, false}, "these ports are not served"},
    {localhost_node_ports,
     "NodePorts on 127.0.0.1",
     {true, false, true, false, true},
     "they answer on the node's own addresses"},
    {session_affinity, "session affinity", {true, true, true, true, true}},
    {source_ranges, "source ranges", {true, true, true, true, true}},
    {source_address,
     "client addresses",
     {true, true, true, true, false},
     "backends see the node's address"},
    {policy_by_source,
     "policy Local by source",
     {true, true, true, false, true},
     "pods and the node get local endpoints too"},
    {silent_drop,
     "silent drops",
     {false, true, true, true, true},
     "connections that are to be dropped fail at once"},
    {undefined_ports, "undefined ports rejected", {true, true, true, true, true}},
    {unallocated_ips,
     "unallocated service addresses dropped",
     {true, true, true, true, false},
     "their packets leave the node as they are"},
    {maglev, "Maglev", {true, false, false, true, false}, "backends are chosen as without it"},
    {dsr, "direct server return", {true, false, false, false, false}, "answers come back by NAT"},
    {live_flows,
     "flows outlive the agent",
     {true, true, true, true, false},
     "connections end with the process"},
};

void need(std::vector<std::string>& out, Mode mode, Capability capability,
          const std::string& label) {
  if (!can(mode, capability)) out.push_back(cat(label, ": ", without(mode, capability)));
}

}  // namespace

std::string_view to_string(Mode mode) { return names[static_cast<size_t>(mode)]; }

std::optional<Mode> parse_mode(std::string_view text) {
  for (const Mode mode : all_modes) {
    if (to_string(mode) == text) return mode;
  }
  return std::nullopt;
}

std::span<const CapabilityRow> capability_rows() { return rows; }

bool can(Mode mode, Capability capability) {
  for (const CapabilityRow& row : rows) {
    if (row.capability == capability) return row.has[static_cast<size_t>(mode)];
  }
  CHECK(false);
}

std::string without(Mode mode, Capability capability) {
  const auto row = std::find_if(std::begin(rows), std::end(rows), [&](const CapabilityRow& one) {
    return one.capability == capability;
  });
  return cat("no ", row->name, " in ", to_string(mode), " mode; ", row->instead);
}

bool binds_everybody(Mode mode, const PortRule& rule, const Frontend& frontend) {
  return frontend.local_only && frontend.kind != FrontendKind::cluster_ip &&
         !can(mode, policy_by_source) && !local_backends(rule).empty();
}

FlowResult served_by(Mode mode, FlowResult result) {
  for (FlowCandidate& candidate : result.candidates) {
    candidate.masquerade |= !can(mode, source_address) || (candidate.direct && !can(mode, dsr));
    candidate.direct &= can(mode, dsr);
  }
  return result;
}

bool fits_maglev(Mode mode, const PortRule& rule) {
  return rule.algorithm != Algorithm::maglev || mode != Mode::ebpf ||
         cluster_backends(rule).size() <= ebpf_maglev_places;
}

std::vector<std::string> lacking(Mode mode, const api::ObjectKey& key, const ServiceEntry& entry) {
  std::vector<std::string> out;
  for (const PortRule& rule : entry.ports) {
    const std::string label = port_label(key, rule.port_name);
    if (rule.protocol == Protocol::sctp) need(out, mode, sctp, label);
    if (rule.affinity_timeout_s != 0) need(out, mode, session_affinity, label);
    if (!rule.source_ranges.empty()) need(out, mode, source_ranges, label);
    if (rule.algorithm == Algorithm::maglev) need(out, mode, maglev, label);
    if (!fits_maglev(mode, rule)) {
      out.push_back(cat(label, ": Maglev in ebpf mode is for ", ebpf_maglev_places,
                        " backends at most; one of ", cluster_backends(rule).size(),
                        " is chosen at random"));
    }
    if (rule.forwarding == Forwarding::dsr) need(out, mode, dsr, label);
    const bool local_policy =
        std::any_of(rule.frontends.begin(), rule.frontends.end(), [](const Frontend& frontend) {
          return frontend.local_only && frontend.kind != FrontendKind::cluster_ip;
        });
    if (local_policy) need(out, mode, policy_by_source, label);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());  // both families say the same
  return out;
}

}  // namespace fairlead::dataplane
