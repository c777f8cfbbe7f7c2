// Printers of pods, nodes and events.
// Source: Kubernetes 1.32 pkg/printers/internalversion/printers.go (rules of the STATUS column).
#include <algorithm>

#include "base/text.h"
#include "controlplane/table_cells.h"
#include "controlplane/time_text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kRolePrefix = "node-role.kubernetes.io/";

int64_t number_at(const json::value& object, std::string_view key) {
  const json::value* value = find(object, key);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

bool true_at(const json::value& object, std::string_view key) {
  const json::value* value = find(object, key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

bool has_condition(const json::value& object, std::string_view type) {
  for (const json::value& condition : list_at(object, "status", "conditions"))
    if (find_string(condition, "type") == type) return find_string(condition, "status") == "True";
  return false;
}

std::string reason_of_end(const json::value& terminated) {
  if (std::string_view reason = find_string(terminated, "reason"); !reason.empty())
    return std::string(reason);
  if (int64_t signal = number_at(terminated, "signal"); signal != 0) return cat("Signal:", signal);
  return cat("ExitCode:", number_at(terminated, "exitCode"));
}

struct Restarts {
  int64_t count = 0;
  std::string_view last;  // finishedAt of the newest ended run

  void add(const json::value& status) {
    count += number_at(status, "restartCount");
    if (const json::value* ended = find(status, "lastState", "terminated"); ended != nullptr)
      last = std::max(last, find_string(*ended, "finishedAt"));
  }
  std::string text(WallTime now) const {
    if (count == 0 || last.empty()) return cat(count);
    return cat(count, " (", age(last, now), " ago)");
  }
};

// The state of init containers when one of them is not through yet, or "".
std::string init_status(const json::value& pod, Restarts& restarts) {
  const json::array& statuses = list_at(pod, "status", "initContainerStatuses");
  for (size_t i = 0; i < statuses.size(); ++i) {
    restarts.add(statuses[i]);
    const json::value* ended = find(statuses[i], "state", "terminated");
    if (ended != nullptr) {
      if (number_at(*ended, "exitCode") == 0) continue;
      return cat("Init:", reason_of_end(*ended));
    }
    std::string_view waiting = find_string(statuses[i], "state", "waiting", "reason");
    if (!waiting.empty() && waiting != "PodInitializing") return cat("Init:", waiting);
    return cat("Init:", i, "/", list_at(pod, "spec", "initContainers").size());
  }
  return {};
}

// What the containers say about the pod, last one first; `reason` is the answer so far.
std::string container_status(const json::value& pod, std::string reason, Restarts& restarts,
                             int64_t& ready) {
  const json::array& statuses = list_at(pod, "status", "containerStatuses");
  bool running = false;
  restarts = {};
  for (size_t i = statuses.size(); i-- > 0;) {
    const json::value& status = statuses[i];
    restarts.add(status);
    std::string_view waiting = find_string(status, "state", "waiting", "reason");
    if (!waiting.empty()) {
      reason = waiting;
    } else if (const json::value* ended = find(status, "state", "terminated"); ended != nullptr) {
      reason = reason_of_end(*ended);
    } else if (true_at(status, "ready") && find(status, "state", "running") != nullptr) {
      running = true;
      ++ready;
    }
  }
  if (reason == "Completed" && running)
    reason = has_condition(pod, "Ready") ? "Running" : "NotReady";
  return reason;
}

std::string pod_status(const json::value& pod, Restarts& restarts, int64_t& ready) {
  std::string reason(find_string(pod, "status", "reason"));
  bool lost = reason == "NodeLost";
  if (reason.empty()) reason = find_string(pod, "status", "phase");
  for (const json::value& condition : list_at(pod, "status", "conditions"))
    if (find_string(condition, "type") == "PodScheduled" &&
        find_string(condition, "reason") == "SchedulingGated")
      reason = "SchedulingGated";
  std::string initializing = init_status(pod, restarts);
  reason = initializing.empty() ? container_status(pod, std::move(reason), restarts, ready)
                                : initializing;
  if (!find_string(pod, "metadata", "deletionTimestamp").empty())
    return lost ? "Unknown" : "Terminating";
  return reason;
}

std::string readiness_gates(const json::value& pod) {
  const json::array& gates = list_at(pod, "spec", "readinessGates");
  if (gates.empty()) return "<none>";
  int64_t passed = 0;
  for (const json::value& gate : gates)
    passed += has_condition(pod, find_string(gate, "conditionType")) ? 1 : 0;
  return cat(passed, "/", gates.size());
}

std::string node_roles(const json::value& node) {
  std::vector<std::string> roles;
  if (const json::value* labels = find(node, "metadata", "labels");
      labels != nullptr && labels->is_object())
    for (const auto& [key, value] : labels->get_object()) {
      std::string_view label(key.data(), key.size());
      if (label.starts_with(kRolePrefix) && label.size() > kRolePrefix.size())
        roles.emplace_back(label.substr(kRolePrefix.size()));
      else if (label == "kubernetes.io/role" && value.is_string())
        roles.push_back(number_text(&value));
    }
  std::ranges::sort(roles);
  return roles.empty() ? "<none>" : join(roles, ",");
}

std::string node_status(const json::value& node) {
  std::string status = "Unknown";
  for (const json::value& condition : list_at(node, "status", "conditions"))
    if (find_string(condition, "type") == "Ready")
      status = find_string(condition, "status") == "True" ? "Ready" : "NotReady";
  const json::value* off = find(node, "spec", "unschedulable");
  if (off != nullptr && off->is_bool() && off->get_bool()) status += ",SchedulingDisabled";
  return status;
}

std::string node_address(const json::value& node, std::string_view type) {
  for (const json::value& address : list_at(node, "status", "addresses"))
    if (find_string(address, "type") == type) return std::string(find_string(address, "address"));
  return "<none>";
}

std::string node_info(const json::value& node, std::string_view what) {
  return text_or(find_string(node, "status", "nodeInfo", what), "<unknown>");
}

}  // namespace

json::array pod_cells(const json::value& pod, WallTime now) {
  Restarts restarts;
  int64_t ready = 0;
  std::string status = pod_status(pod, restarts, ready);
  std::string_view ip = find_string(pod, "status", "podIP");
  return {find_string(pod, "metadata", "name"),
          cat(ready, "/", list_at(pod, "spec", "containers").size()),
          status,
          restarts.text(now),
          age_of(pod, now),
          text_or(ip, "<none>"),
          text_or(find_string(pod, "spec", "nodeName"), "<none>"),
          text_or(find_string(pod, "status", "nominatedNodeName"), "<none>"),
          readiness_gates(pod)};
}

json::array node_cells(const json::value& node, WallTime now) {
  return {find_string(node, "metadata", "name"),
          node_status(node),
          node_roles(node),
          age_of(node, now),
          node_info(node, "kubeletVersion"),
          node_address(node, "InternalIP"),
          node_address(node, "ExternalIP"),
          node_info(node, "osImage"),
          node_info(node, "kernelVersion"),
          node_info(node, "containerRuntimeVersion")};
}

json::array event_cells(const json::value& event, WallTime now) {
  std::string_view first = find_string(event, "firstTimestamp");
  if (first.empty()) first = find_string(event, "eventTime");
  std::string_view last = find_string(event, "series", "lastObservedTime");
  if (last.empty()) last = find_string(event, "lastTimestamp");
  if (last.empty()) last = first;
  std::string source(find_string(event, "source", "component"));
  if (source.empty()) source = find_string(event, "reportingComponent");
  if (std::string_view host = find_string(event, "source", "host"); !host.empty())
    source += cat(", ", host);
  const json::value* count = find(event, "series", "count");
  if (count == nullptr) count = find(event, "count");
  std::string_view object = find_string(event, "involvedObject", "name");
  return {age(last, now),
          find_string(event, "type"),
          find_string(event, "reason"),
          cat(to_lower(find_string(event, "involvedObject", "kind")), "/", object),
          find_string(event, "involvedObject", "fieldPath"),
          source,
          trim(find_string(event, "message")),
          age(first, now),
          text_or(number_text(count), "1"),
          find_string(event, "metadata", "name")};
}

}  // namespace fairlead::controlplane
