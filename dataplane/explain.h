// Why a Service behaves as it does on this node: every decision between the objects and the kernel,
// as a value. Pure; the words are the same in every proxy mode.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/endpoints.h"
#include "api/json.h"
#include "api/snapshot.h"
#include "dataplane/capability.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane {

struct FlowQuery {
  Ip source;
  SocketAddress destination;
  Protocol protocol = Protocol::tcp;
};

// Parses "10.96.0.1:80/TCP". Without a protocol it is TCP.
Result<std::pair<SocketAddress, Protocol>> parse_destination(std::string_view text);

// One decision on the way of a flow: "source", "local pod", "inside 10.1.0.0/24".
struct Decision {
  std::string step, verdict, why;
  friend bool operator==(const Decision&, const Decision&) = default;
};

struct FlowExplanation {
  std::string flow;  // "10.1.0.9 -> 10.96.0.1:80/TCP"
  std::string service;
  std::vector<Decision> decisions;  // in the order in which they are taken
  FlowOutcome outcome = FlowOutcome::pass;
  std::vector<FlowCandidate> candidates;
  std::string mode = {};                 // these two are the caller's to fill in
  std::vector<std::string> kernel = {};  // Driver::kernel_entries() of the service
};

// What a frontend does, by class of source.
struct FrontendExplanation {
  std::string frontend;                       // "node-port 30080 local-only"
  std::string local_pod, this_node, outside;  // "cluster (2), masquerade"
};

struct PortExplanation {
  std::string name;
  Protocol protocol = Protocol::tcp;
  bool ipv6 = false;
  std::vector<FrontendExplanation> frontends;
  std::vector<api::JudgedEndpoint> endpoints;
  std::vector<Decision> decisions;  // topology, choice, affinity, ranges, forwarding, no backend
};

struct ServiceExplanation {
  api::ObjectKey key;
  std::string mode;
  std::string not_served;  // why nothing is programmed; "": it is
  std::vector<PortExplanation> ports;
  std::vector<FlowExplanation> flows;
  std::vector<std::string> lacking;  // what the mode cannot do of what is asked
  std::vector<std::string> kernel;   // Driver::kernel_entries()
};

// REQUIRES: table == compile(snapshot, table.node). `mode` and `kernel` of the result are the
// caller's to fill in; with a mode given, `lacking` is.
ServiceExplanation explain_service(const api::Snapshot& snapshot, const ServiceTable& table,
                                   const api::ObjectKey& key, std::optional<Mode> mode = {});

// The way of one flow: resolve() with its reasons, and, with a mode given, what that mode does
// instead where it lacks something. `mode` and `kernel` of the result are the caller's to fill in.
FlowExplanation explain_flow(const ServiceTable& table, const FlowQuery& query,
                             std::optional<Mode> mode = {});

// Flows from `source` to every address and port of the service, NodePorts on the node's first
// address of the family.
std::vector<FlowQuery> flows_to(const ServiceTable& table, const api::ObjectKey& key,
                                const Ip& source);

// How a new flow's endpoint is chosen in this mode: "random", "Maglev", "round robin", "by the IPVS
// scheduler". Without a mode: as the Service asks.
std::string_view choice_name(const PortRule& rule, std::optional<Mode> mode);

std::string to_table(const ServiceExplanation& explanation);
std::string to_table(const FlowExplanation& explanation);
json::value to_json(const ServiceExplanation& explanation);
json::value to_json(const FlowExplanation& explanation);

}  // namespace fairlead::dataplane
