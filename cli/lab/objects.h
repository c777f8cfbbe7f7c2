// The Kubernetes objects that a lab registers: its nodes and pods, the DNS Service, and the demo
// Service and Ingress that the printed commands use.
#pragma once

#include <vector>

#include "api/json.h"
#include "cli/lab/plan.h"

namespace fairlead::cli {

// Whole documents, with status, in an order in which they can be applied.
std::vector<json::value> lab_objects(const LabPlan& plan);

inline constexpr std::string_view lab_label = "fairlead.io/lab";  // on every Node and Pod of a lab
inline constexpr uint16_t echo_http_port = 8080;
inline constexpr uint16_t echo_udp_port = 9090;
inline constexpr uint16_t demo_node_port = 30080;

}  // namespace fairlead::cli
