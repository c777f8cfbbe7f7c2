// What an agent says of itself: made on the feed loop, sent as JSON, shown by `fairlead status`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/json.h"

namespace fairlead::agent {

enum class ComponentState { ok, starting, degraded, off };
std::string_view to_string(ComponentState state);

struct ComponentStatus {
  std::string name;  // feed, proxy, dns, ingress
  ComponentState state = ComponentState::off;
  std::string detail;
};

struct StatusReport {
  std::string version;
  std::string node;
  int64_t uptime_s = 0;
  std::vector<ComponentStatus> components;
  std::string feed_source;
  int64_t feed_age_ms = -1;  // since the last word from the source; -1: none yet
  std::string proxy_mode, proxy_why;
  size_t services = 0, backends = 0;
  int64_t last_apply_ms_ago = -1;  // -1: nothing was applied yet
  int64_t last_apply_us = 0;
  size_t last_apply_writes = 0;
  std::vector<std::string> retiring;  // modes that were switched away from and still carry flows
  int64_t last_verify_ms_ago = -1;    // -1: the kernel was not read back yet
  std::vector<std::string> drifts;    // what the last reading back found
  std::string verify_error;           // why it could not be read
  std::vector<std::string> listening;
  std::vector<std::string> errors;  // "feed: ...", "ingress: Ingress default/web: ..."
};

bool is_ready(const StatusReport& report);  // every component is ok, degraded or off
json::value to_json(const StatusReport& report);
std::string to_table(const StatusReport& report);
Result<StatusReport> from_json(const json::value& value);

}  // namespace fairlead::agent
