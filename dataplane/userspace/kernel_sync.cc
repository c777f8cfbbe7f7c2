#include "dataplane/userspace/kernel_sync.h"

#include <utility>

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr std::string_view capture_owner = "bpftool";
constexpr std::string_view route_owner = "another user of ip route";

// VIPs among these, each.
template <class Visit>
void each_vip(const std::set<CaptureKey>& keys, Visit visit) {
  for (auto at = keys.lower_bound(Vip{}); at != keys.end(); ++at) {
    const auto* vip = std::get_if<Vip>(&*at);
    if (vip == nullptr) return;
    visit(vip->ip);
  }
}

// The order in which entries are written. Who is admitted, and who is who, is known before it is
// asked for, and as long as it is.
enum class Turn { first, flows, last };
Turn turn_of(const CaptureKey& key, bool wanted) {
  if (std::holds_alternative<FlowKey>(key)) return Turn::flows;
  return wanted ? Turn::first : Turn::last;
}

}  // namespace

std::string route_text(const Ip& ip, const std::optional<Ip>& source) {
  return cat("local ", ip.to_string(), source ? cat(" src ", source->to_string()) : "");
}

std::string to_text(const CaptureEntries& entries, const RouteSources& routes) {
  std::string out;
  for (const auto& [key, value] : entries) out += cat(to_text(key, value), "\n");
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
  FL_TRY(CaptureState state, capture_.read());
  FL_TRY(held_routes_, routes_.list());
  attached_ = state.attached;
  held_ = std::move(state.entries);
  return {};
}

std::optional<KernelSync::WantedRoute> KernelSync::route_for(const Wanted& wanted,
                                                             const Ip& ip) const {
  if (!wanted.vips().contains(ip) && !lingering_.contains(ip)) return std::nullopt;
  if (addresses_.contains(ip)) return std::nullopt;
  return WantedRoute{ip.is_v4() ? source4_ : source6_};
}

std::set<Ip> KernelSync::wanted_routes(const Wanted& wanted) const {
  std::set<Ip> out = lingering_;
  for (const auto& [ip, count] : wanted.vips()) out.insert(ip);
  std::erase_if(out, [&](const Ip& ip) { return !route_for(wanted, ip); });
  return out;
}

void KernelSync::linger(const Wanted& wanted, const std::set<Ip>& in_use) {
  for (const Ip& ip : std::exchange(lingering_, {})) pending_.insert(Vip{ip});
  for (const Ip& ip : in_use) {
    if (held_routes_.contains(ip) && !wanted.vips().contains(ip)) lingering_.insert(ip);
  }
}

std::optional<CaptureValue> KernelSync::value_for(const Wanted& wanted,
                                                  const CaptureKey& key) const {
  if (const auto* vip = std::get_if<Vip>(&key)) {
    // A route that could not be removed keeps its guard.
    const bool local = route_for(wanted, vip->ip) || held_routes_.contains(vip->ip);
    return local ? std::optional<CaptureValue>(CaptureValue{}) : std::nullopt;
  }
  const auto found = wanted.entries().find(key);
  return found == wanted.entries().end() ? std::nullopt : std::optional(found->second);
}

bool KernelSync::note(const CaptureKey& key, const Result<void>& result, ApplyReport& report) {
  if (result) {
    ++report.writes;
  } else {
    report.errors.push_back(result.error().message);
    pending_.insert(key);
  }
  return result.has_value();
}

void KernelSync::drop_route(const Wanted& wanted, const Ip& ip, ApplyReport& report) {
  const auto held = held_routes_.find(ip);
  if (held == held_routes_.end()) return;
  const auto want = route_for(wanted, ip);
  if (want && want->source == held->second) return;
  if (note(Vip{ip}, routes_.remove(ip), report)) held_routes_.erase(held);
}

void KernelSync::write_entry(const CaptureKey& key, const std::optional<CaptureValue>& want,
                             ApplyReport& report) {
  const auto held = held_.find(key);
  if (!want) {
    if (held != held_.end() && note(key, capture_.erase(key), report)) held_.erase(held);
    return;
  }
  if (held != held_.end() && held->second == *want) return;
  if (note(key, capture_.set(key, *want), report)) held_.insert_or_assign(key, *want);
}

void KernelSync::add_route(const Wanted& wanted, const Ip& ip, ApplyReport& report) {
  const auto want = route_for(wanted, ip);
  if (!want || held_routes_.contains(ip)) return;
  if (!held_.contains(Vip{ip})) return;  // never an address here whose ports are not guarded
  if (note(Vip{ip}, routes_.add(ip, want->source), report)) held_routes_.emplace(ip, want->source);
}

// An address is local only while its ports are captured and guarded.
void KernelSync::write(const Wanted& wanted, std::set<CaptureKey> keys, ApplyReport& report) {
  keys.merge(std::exchange(pending_, {}));
  each_vip(keys, [&](const Ip& ip) { drop_route(wanted, ip, report); });
  for (const Turn turn : {Turn::first, Turn::flows, Turn::last}) {
    for (const CaptureKey& key : keys) {
      const auto want = value_for(wanted, key);
      if (turn_of(key, want.has_value()) == turn) write_entry(key, want, report);
    }
  }
  each_vip(keys, [&](const Ip& ip) { add_route(wanted, ip, report); });
}

void KernelSync::write_all(const Wanted& wanted, ApplyReport& report) {
  std::set<CaptureKey> keys;
  for (const auto& [key, value] : held_) keys.insert(key);
  for (const auto& [key, value] : wanted.entries()) keys.insert(key);
  for (const auto& [ip, source] : held_routes_) keys.insert(Vip{ip});
  for (const auto& [ip, count] : wanted.vips()) keys.insert(Vip{ip});
  write(wanted, std::move(keys), report);
}

std::vector<Drift> KernelSync::differences(const Wanted& wanted) const {
  CaptureEntries want = wanted.entries();
  for (const Ip& ip : wanted_routes(wanted)) want.emplace(Vip{ip}, CaptureValue{});
  std::vector<Drift> drifts;
  const auto add = [&](std::string what) {
    drifts.push_back({std::move(what), std::string(capture_owner), false});
  };
  for (const auto& [key, value] : want) {
    const auto found = held_.find(key);
    if (found == held_.end()) {
      add(cat(to_text(key), " is missing"));
    } else if (found->second != value) {
      add(cat(to_text(key, found->second), ", not as in ", to_text(key, value)));
    }
  }
  for (const auto& [key, value] : held_) {
    if (!want.contains(key)) add(cat(to_text(key), " belongs to no Service"));
  }
  add_route_differences(wanted, drifts);
  return drifts;
}

void KernelSync::add_route_differences(const Wanted& wanted, std::vector<Drift>& drifts) const {
  const auto add = [&](const Ip& ip, const std::optional<Ip>& source, std::string_view how) {
    drifts.push_back({cat("route ", route_text(ip, source), how), std::string(route_owner), false});
  };
  for (const Ip& ip : wanted_routes(wanted)) {
    const auto route = route_for(wanted, ip);
    const auto found = held_routes_.find(ip);
    if (found == held_routes_.end()) {
      add(ip, route->source, " is missing");
    } else if (found->second != route->source) {
      add(ip, found->second, " has another source");
    }
  }
  for (const auto& [ip, source] : held_routes_) {
    if (!route_for(wanted, ip)) add(ip, source, " belongs to no Service");
  }
}

}  // namespace fairlead::dataplane::userspace
