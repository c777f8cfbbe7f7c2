// What each proxy mode can do: the one table behind `status`, the documentation and the tests.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/flow.h"

namespace fairlead::dataplane {

enum class Mode : uint8_t { ebpf, nftables, iptables, ipvs, userspace };
inline constexpr std::array<Mode, 5> all_modes = {Mode::ebpf, Mode::nftables, Mode::iptables,
                                                  Mode::ipvs, Mode::userspace};

std::string_view to_string(Mode mode);
std::optional<Mode> parse_mode(std::string_view text);

enum class Capability : uint8_t {
  sctp,
  localhost_node_ports,  // NodePorts on 127.0.0.1
  session_affinity,
  source_ranges,
  source_address,    // clients that need not be masqueraded keep their address
  policy_by_source,  // Local: pods and the node get all endpoints where outsiders get local ones
  silent_drop,       // a connection that is to be dropped gets no answer at all
  undefined_ports,   // a port that no Service defines on a ClusterIP is rejected
  unallocated_ips,   // an address of the service range that no Service has is dropped
  maglev,
  dsr,
  live_flows,  // connections survive a restart of the agent, and its death
};

struct CapabilityRow {
  Capability capability;
  std::string_view name;          // "session affinity"
  std::array<bool, 5> has;        // by Mode
  std::string_view instead = {};  // what happens in the modes that lack it
};

std::span<const CapabilityRow> capability_rows();
bool can(Mode mode, Capability capability);

// "no SCTP in ebpf mode; these ports are not served". REQUIRES: the mode lacks it.
std::string without(Mode mode, Capability capability);

// Whether policy Local of this frontend also binds pods and the node, which are not told apart.
bool binds_everybody(Mode mode, const PortRule& rule, const Frontend& frontend);

// What a mode makes of resolve()'s result: it masquerades where it can do no better.
FlowResult served_by(Mode mode, FlowResult result);

// False: the rule asks for Maglev, and has more backends than this mode's tables have places.
bool fits_maglev(Mode mode, const PortRule& rule);

// What these Services ask for and the mode lacks, a line each: "default/dns:sctp: no SCTP in eBPF
// mode; ...". Empty for a Service that is served in full.
std::vector<std::string> lacking(Mode mode, const api::ObjectKey& key, const ServiceEntry& entry);

}  // namespace fairlead::dataplane
