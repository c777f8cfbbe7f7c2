// A packet walked through a ServiceTable: what every driver must do with a new flow. Golden files,
// the real-packet tests and `explain` share it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/service_table.h"

namespace fairlead::dataplane {

// "default/web:http", or "default/web" for the port without a name.
std::string port_label(const api::ObjectKey& service, std::string_view port_name);

// Where a flow starts, as far as the traffic policies care.
enum class SourceClass : uint8_t {
  node,       // one of NodeConfig::node_ips, or loopback
  local_pod,  // inside NodeConfig::local_pod_cidrs
  outside,    // everything else; also local pods when no CIDR of the family is known
};
SourceClass classify_source(const NodeConfig& node, const Ip& source);

enum class FlowOutcome : uint8_t {
  pass,     // no service: the packet goes on untouched
  forward,  // to one of the candidates: each as likely as the others, or as Maglev says
  reject,
  drop,
};

struct FlowCandidate {
  Backend backend;
  bool masquerade = false;
  bool direct = false;  // with the client's address, and the answer does not pass this node
  friend bool operator==(const FlowCandidate&, const FlowCandidate&) = default;
};

struct FlowResult {
  FlowOutcome outcome = FlowOutcome::pass;
  api::ObjectKey service;  // empty: pass, or nobody has this port or address (reject, drop)
  std::string port_name;
  Frontend frontend;
  std::vector<FlowCandidate> candidates;  // empty unless the outcome is forward
  friend bool operator==(const FlowResult&, const FlowResult&) = default;
};

// The first new packet of a flow. An undefined port of a ClusterIP is rejected, an address inside
// NodeConfig::service_cidrs that no Service has is dropped. When two services claim one address and
// port (externalIPs can), the service that sorts first has it. Linear in the table: for people and
// tests, not for packets.
FlowResult resolve(const ServiceTable& table, const Ip& source, const Ip& destination,
                   uint16_t port, Protocol protocol);

// "forward default/web:http to 10.0.0.1:80 (masquerade), 10.0.0.2:80 (direct return)": one line.
std::string to_text(const FlowResult& result);

// What one frontend does with one class of source: the table of the traffic policies, in one place.
struct Treatment {
  std::span<const Backend> backends;  // into the rule
  bool masquerade = false;            // hairpin aside
  bool direct = false;                // instead, for backends of other nodes: direct server return
};
Treatment treatment(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
                    SourceClass source);

// Whether the source ranges of the rule let this source dial the frontend.
bool may_dial(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
              const Ip& source);

// Whether `node` can tell local pods of a family from other sources.
bool knows_local_pods(const NodeConfig& node, bool ipv6);

}  // namespace fairlead::dataplane
