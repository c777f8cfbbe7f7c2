#include "dataplane/userspace/kernel_sync.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr std::string_view route_owner = "another user of ip route";

}  // namespace

std::string to_text(CaptureAction action) {
  switch (action) {
    case CaptureAction::tcp:
      return "tcp";
    case CaptureAction::udp:
      return "udp";
    case CaptureAction::refuse:
      return "refuse";
  }
  return "unknown";
}

std::string route_text(const Ip& ip, const std::optional<Ip>& source) {
  return cat("local ", ip.to_string(), source ? cat(" src ", source->to_string()) : "");
}

std::string to_text(const CaptureState& capture, const RouteSources& routes) {
  std::string out;
  for (const auto& [key, action] : capture.captured) {
    out += cat("captured ", key.to_string(), " -> ", to_text(action), "\n");
  }
  for (const Ip& ip : capture.vips) out += cat("vip ", ip.to_string(), "\n");
  for (const auto& [ip, source] : routes) out += cat(route_text(ip, source), "\n");
  return out;
}

Result<void> KernelSync::read_addresses(const NodeConfig& node) {
  FL_TRY(addresses_, routes_.addresses());
  const auto first = [&](bool v4) -> std::optional<Ip> {
    for (const Ip& ip : node.node_ips) {
      if (ip.is_v4() == v4 && addresses_.contains(ip)) return ip;
    }
    return std::nullopt;
  };
  source4_ = first(true);
  source6_ = first(false);
  return {};
}

Result<void> KernelSync::read_kernel() {
  FL_TRY(const CaptureState state, capture_.read());
  FL_TRY(held_routes_, routes_.list());
  held_keys_.clear();
  held_keys_.insert(state.captured.begin(), state.captured.end());
  held_vips_ = state.vips;
  return {};
}

std::optional<KernelSync::WantedRoute> KernelSync::route_for(const Wanted& wanted,
                                                             const Ip& ip) const {
  if (!wanted.vips().contains(ip) || addresses_.contains(ip)) return std::nullopt;
  return WantedRoute{ip.is_v4() ? source4_ : source6_};
}

bool KernelSync::note(const Result<void>& result, ApplyReport& report) {
  if (result) {
    ++report.writes;
  } else {
    report.errors.push_back(result.error().message);
  }
  return result.has_value();
}

void KernelSync::drop_route(const Wanted& wanted, const Ip& ip, ApplyReport& report) {
  const auto held = held_routes_.find(ip);
  if (held == held_routes_.end()) return;
  const auto want = route_for(wanted, ip);
  if (want && want->source == held->second) return;
  if (note(routes_.remove(ip), report)) {
    held_routes_.erase(held);
  } else {
    pending_vips_.insert(ip);
  }
}

void KernelSync::write_key(const Wanted& wanted, const FlowKey& key, ApplyReport& report) {
  const auto want = wanted.captured().find(key);
  const auto held = held_keys_.find(key);
  if (want == wanted.captured().end()) {
    if (held == held_keys_.end()) return;
    if (note(capture_.erase(key), report)) {
      held_keys_.erase(held);
    } else {
      pending_keys_.insert(key);
    }
    return;
  }
  if (held != held_keys_.end() && held->second == want->second) return;
  if (note(capture_.set(key, want->second), report)) {
    held_keys_.insert_or_assign(key, want->second);
  } else {
    pending_keys_.insert(key);
  }
}

void KernelSync::write_vip(const Wanted& wanted, const Ip& ip, ApplyReport& report) {
  const bool want = route_for(wanted, ip).has_value();
  if (want == held_vips_.contains(ip)) return;
  if (!note(want ? capture_.add_vip(ip) : capture_.erase_vip(ip), report)) {
    pending_vips_.insert(ip);
  } else if (want) {
    held_vips_.insert(ip);
  } else {
    held_vips_.erase(ip);
  }
}

void KernelSync::add_route(const Wanted& wanted, const Ip& ip, ApplyReport& report) {
  const auto want = route_for(wanted, ip);
  if (!want || held_routes_.contains(ip)) return;
  if (!held_vips_.contains(ip)) return;  // never an address here whose ports are not guarded
  if (note(routes_.add(ip, want->source), report)) {
    held_routes_.emplace(ip, want->source);
  } else {
    pending_vips_.insert(ip);
  }
}

// An address is local only while its ports are captured and guarded.
void KernelSync::write(const Wanted& wanted, const std::set<FlowKey>& keys,
                       const std::set<Ip>& vips, ApplyReport& report) {
  std::set<FlowKey> all_keys = std::exchange(pending_keys_, {});
  std::set<Ip> all_vips = std::exchange(pending_vips_, {});
  all_keys.insert(keys.begin(), keys.end());
  all_vips.insert(vips.begin(), vips.end());
  for (const Ip& ip : all_vips) drop_route(wanted, ip, report);
  for (const FlowKey& key : all_keys) write_key(wanted, key, report);
  for (const Ip& ip : all_vips) write_vip(wanted, ip, report);
  for (const Ip& ip : all_vips) add_route(wanted, ip, report);
}

void KernelSync::write_all(const Wanted& wanted, ApplyReport& report) {
  std::set<FlowKey> keys;
  for (const auto& [key, action] : held_keys_) keys.insert(key);
  for (const auto& [key, action] : wanted.captured()) keys.insert(key);
  std::set<Ip> vips = held_vips_;
  for (const auto& [ip, source] : held_routes_) vips.insert(ip);
  for (const auto& [ip, count] : wanted.vips()) vips.insert(ip);
  write(wanted, keys, vips, report);
}

std::vector<Drift> KernelSync::differences(const Wanted& wanted) const {
  std::vector<Drift> drifts;
  const auto add = [&](std::string what, std::string_view owner = {}) {
    drifts.push_back({std::move(what), std::string(owner), false});
  };
  const std::map<FlowKey, CaptureAction> want(wanted.captured().begin(), wanted.captured().end());
  const std::map<FlowKey, CaptureAction> held(held_keys_.begin(), held_keys_.end());
  for (const auto& [key, action] : want) {
    const auto found = held.find(key);
    if (found == held.end()) {
      add(cat("captured ", key.to_string(), " is missing"));
    } else if (found->second != action) {
      add(cat("captured ", key.to_string(), " is ", to_text(found->second), ", not ",
              to_text(action)));
    }
  }
  for (const auto& [key, action] : held) {
    if (!want.contains(key)) add(cat("captured ", key.to_string(), " belongs to no Service"));
  }
  for (const auto& [ip, count] : wanted.vips()) {
    const auto route = route_for(wanted, ip);
    if (!route) continue;
    if (!held_vips_.contains(ip)) add(cat("vip ", ip.to_string(), " is missing"));
    const auto found = held_routes_.find(ip);
    if (found == held_routes_.end()) {
      add(cat("route ", route_text(ip, route->source), " is missing"), route_owner);
    } else if (found->second != route->source) {
      add(cat("route ", route_text(ip, found->second), " has another source"), route_owner);
    }
  }
  for (const Ip& ip : held_vips_) {
    if (!route_for(wanted, ip)) add(cat("vip ", ip.to_string(), " belongs to no Service"));
  }
  for (const auto& [ip, source] : held_routes_) {
    if (!route_for(wanted, ip)) {
      add(cat("route ", route_text(ip, source), " belongs to no Service"), route_owner);
    }
  }
  return drifts;
}

}  // namespace fairlead::dataplane::userspace
