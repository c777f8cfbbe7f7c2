#include "agent/status.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view state_names[] = {"ok", "starting", "degraded", "off"};

json::array strings(const std::vector<std::string>& values) {
  json::array out;
  for (const auto& value : values) out.emplace_back(value);
  return out;
}

std::vector<std::string> strings(const json::value& value, std::string_view key) {
  std::vector<std::string> out;
  if (const auto* list = find(value, key); list != nullptr && list->is_array()) {
    for (const auto& element : list->get_array()) {
      if (element.is_string()) out.emplace_back(element.get_string());
    }
  }
  return out;
}

int64_t number(const json::value& value, std::string_view first, std::string_view second) {
  const auto* member = find(value, first, second);
  return member != nullptr && member->is_int64() ? member->get_int64() : 0;
}

std::string ago(int64_t ms) {
  if (ms < 0) return "never";
  if (ms < 10'000) return cat(ms, " ms ago");
  if (ms < 120'000) return cat(ms / 1000, " s ago");
  return cat(ms / 60'000, " min ago");
}

void row(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out.append(name.size() < 12 ? 12 - name.size() : 1, ' ');
  out += value;
  out += '\n';
}

// "1 service", "2 services"
std::string many(size_t count, std::string_view what) {
  return cat(count, ' ', what, count == 1 ? "" : "s");
}

std::string verified(const StatusReport& report) {
  const std::string when = ago(report.last_verify_ms_ago);
  if (!report.verify_error.empty()) return cat(when, ", ", report.verify_error);
  if (report.last_verify_ms_ago < 0) return when;
  return cat(when, ", ", many(report.drifts.size(), "drift"));
}

}  // namespace

std::string_view to_string(ComponentState state) { return state_names[static_cast<size_t>(state)]; }

bool is_ready(const StatusReport& report) {
  return std::ranges::none_of(report.components, [](const ComponentStatus& component) {
    return component.state == ComponentState::starting;
  });
}

json::value to_json(const StatusReport& report) {
  json::array components;
  for (const auto& component : report.components) {
    components.push_back({{"name", component.name},
                          {"state", to_string(component.state)},
                          {"detail", component.detail}});
  }
  return {{"version", report.version},
          {"node", report.node},
          {"ready", is_ready(report)},
          {"uptimeSeconds", report.uptime_s},
          {"components", std::move(components)},
          {"feed", {{"source", report.feed_source}, {"ageMs", report.feed_age_ms}}},
          {"proxy",
           {{"mode", report.proxy_mode},
            {"why", report.proxy_why},
            {"services", static_cast<int64_t>(report.services)},
            {"backends", static_cast<int64_t>(report.backends)},
            {"lastApplyMsAgo", report.last_apply_ms_ago},
            {"lastApplyUs", report.last_apply_us},
            {"lastApplyWrites", static_cast<int64_t>(report.last_apply_writes)},
            {"retiring", strings(report.retiring)},
            {"lastVerifyMsAgo", report.last_verify_ms_ago},
            {"drifts", strings(report.drifts)},
            {"verifyError", report.verify_error}}},
          {"listening", strings(report.listening)},
          {"errors", strings(report.errors)}};
}

Result<StatusReport> from_json(const json::value& value) {
  if (!value.is_object() || find(value, "components") == nullptr) {
    return fail("the answer is not an agent's status");
  }
  StatusReport report;
  report.version = find_string(value, "version");
  report.node = find_string(value, "node");
  if (const auto* uptime = find(value, "uptimeSeconds"); uptime && uptime->is_int64()) {
    report.uptime_s = uptime->get_int64();
  }
  if (const auto* list = find(value, "components"); list->is_array()) {
    for (const auto& element : list->get_array()) {
      ComponentStatus component;
      component.name = find_string(element, "name");
      component.detail = find_string(element, "detail");
      const auto* name = std::ranges::find(state_names, find_string(element, "state"));
      if (name == std::end(state_names)) return fail("component with an unknown state");
      component.state = static_cast<ComponentState>(name - state_names);
      report.components.push_back(std::move(component));
    }
  }
  report.feed_source = find_string(value, "feed", "source");
  report.feed_age_ms = number(value, "feed", "ageMs");
  report.proxy_mode = find_string(value, "proxy", "mode");
  report.proxy_why = find_string(value, "proxy", "why");
  report.services = static_cast<size_t>(number(value, "proxy", "services"));
  report.backends = static_cast<size_t>(number(value, "proxy", "backends"));
  report.last_apply_ms_ago = number(value, "proxy", "lastApplyMsAgo");
  report.last_apply_us = number(value, "proxy", "lastApplyUs");
  report.last_apply_writes = static_cast<size_t>(number(value, "proxy", "lastApplyWrites"));
  if (const auto* proxy = find(value, "proxy")) {
    report.retiring = strings(*proxy, "retiring");
    report.drifts = strings(*proxy, "drifts");
  }
  report.last_verify_ms_ago = number(value, "proxy", "lastVerifyMsAgo");
  report.verify_error = find_string(value, "proxy", "verifyError");
  report.listening = strings(value, "listening");
  report.errors = strings(value, "errors");
  return report;
}

std::string to_table(const StatusReport& report) {
  std::string out;
  row(out, "NODE",
      cat(report.node, "  (fairlead ", report.version, ", up ", report.uptime_s, " s, ",
          is_ready(report) ? "ready" : "not ready", ")"));
  row(out, "FEED", cat(report.feed_source, "  last event ", ago(report.feed_age_ms)));
  row(out, "PROXY",
      cat(report.proxy_mode, "  ", many(report.services, "service"), ", ",
          many(report.backends, "backend")));
  row(out, "LAST APPLY",
      report.last_apply_ms_ago < 0
          ? "never"
          : cat(ago(report.last_apply_ms_ago), ", took ", report.last_apply_us, " us, ",
                many(report.last_apply_writes, "write")));
  for (const auto& old : report.retiring) row(out, "RETIRING", old);
  row(out, "VERIFIED", verified(report));
  for (const auto& drift : report.drifts) row(out, "DRIFT", drift);
  out += "\nCOMPONENT   STATE       DETAIL\n";
  for (const auto& component : report.components) {
    std::string state(to_string(component.state));
    state.resize(12, ' ');
    row(out, component.name, state + component.detail);
  }
  if (!report.listening.empty()) row(out, "\nLISTENING", cat(" ", join(report.listening, ", ")));
  out += report.errors.empty() ? "\nno errors\n" : "\nERRORS\n";
  for (const auto& error : report.errors) out += cat("  ", error, '\n');
  return out;
}

}  // namespace fairlead::agent
