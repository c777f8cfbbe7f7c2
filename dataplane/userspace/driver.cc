#include "dataplane/userspace/driver.h"

#include <algorithm>
#include <thread>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/userspace/forwarder.h"
#include "dataplane/userspace/handover.h"
#include "dataplane/userspace/kernel_sync.h"
#include "dataplane/userspace/wanted.h"

namespace fairlead::dataplane {
namespace {

constexpr Duration drain_poll = std::chrono::milliseconds(10);

// VIPs that no Service has any more are among these.
bool loses_vips(const userspace::Wanted& wanted, const std::set<userspace::CaptureKey>& touched) {
  return std::any_of(touched.begin(), touched.end(), [&](const userspace::CaptureKey& key) {
    const auto* vip = std::get_if<userspace::Vip>(&key);
    return vip != nullptr && !wanted.vips().contains(vip->ip);
  });
}

class UserspaceDriver final : public Driver {
 public:
  UserspaceDriver(const UserspaceOptions& options, const Log& log, Registry& registry,
                  UserspaceDoors doors)
      : options_(options),
        log_(log.named("userspace")),
        handover_(std::move(doors.rules), std::move(doors.conntrack)),
        doors_(std::move(doors)),
        metrics_(registry),
        kernel_(*doors_.capture, *doors_.routes) {}
  ~UserspaceDriver() override {
    if (!forwarder_) return;
    stay();
    drain();
    forwarder_.reset();
    // Nobody guards the ports of a VIP any more: servers of the node would be reached through it.
    if (const auto removed = give_up_addresses(); !removed) log_.warn(removed.error().message);
  }

  std::string_view mode() const override { return "userspace"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> prepare_retire(std::string_view successor) override;
  void stay() override;
  Result<void> retire() override;
  bool drained() const override { return !forwarder_ || forwarder_->flows() == 0; }

 private:
  Result<void> open_routes();
  Result<void> give_up_addresses();
  void restore(ApplyReport& report);
  Result<std::vector<Drift>> differences();
  void keep_addresses_in_use();
  void drain();
  bool serves(const SocketAddress& to) const {
    return wanted_.entries().contains(userspace::FlowKey{to, Protocol::tcp});
  }
  userspace::CarriedConnections carried() const {
    return forwarder_ ? forwarder_->connections() : userspace::CarriedConnections();
  }
  void forget_ended(const userspace::RouteSources& left = {});
  Result<void> attach() {
    return doors_.capture->attach(forwarder_->tcp_listener(), forwarder_->udp_socket());
  }

  const UserspaceOptions options_;
  const Log log_;
  userspace::Handover handover_;
  const UserspaceDoors doors_;  // but for what the handover has
  userspace::ForwardingMetrics metrics_;
  bool routes_open_ = false;
  bool retired_ = false;
  bool cleaned_ = false;  // it had been started, and the next apply() starts it again

  std::shared_ptr<const NodeConfig> node_;  // of the last apply()
  userspace::Wanted wanted_;
  std::shared_ptr<const userspace::RoutingTable> table_ =
      std::make_shared<const userspace::RoutingTable>();
  userspace::KernelSync kernel_;
  bool unread_ = false;  // a full apply() that could not read the kernel is owed
  std::unique_ptr<userspace::Forwarder> forwarder_;  // ends before the sockets' capture does
};

Result<void> UserspaceDriver::open_routes() {
  if (!routes_open_) FL_TRY_VOID(doors_.routes->open());
  routes_open_ = true;
  return {};
}

// Nothing leads here any more, and the tracker knows nothing of what did.
Result<void> UserspaceDriver::give_up_addresses() {
  FL_TRY_VOID(open_routes());
  FL_TRY(const auto routes, doors_.routes->list());
  Result<void> result;
  if (!routes.empty() || !wanted_.entries().empty()) forget_ended(routes);
  for (const auto& [ip, source] : routes) {
    if (auto removed = doors_.routes->remove(ip); !removed) result = std::move(removed);
  }
  return result;
}

void UserspaceDriver::keep_addresses_in_use() {
  std::set<Ip> in_use;
  for (const userspace::ConnectionSide& one : forwarder_->connections().clients) {
    in_use.insert(one.dialled.ip);
  }
  kernel_.linger(wanted_, in_use);
}

// New connections wait meanwhile: their clients try again, and meet the next run.
void UserspaceDriver::drain() {
  if (!retired_) {
    if (const auto deferred = doors_.capture->defer(); !deferred) {
      log_.warn(deferred.error().message);
    }
  }
  const RealClock clock;
  const MonoTime limit = clock.now() + options_.drain;
  size_t left = forwarder_->connections().clients.size();
  for (; left != 0 && clock.now() < limit; left = forwarder_->open_connections()) {
    std::this_thread::sleep_for(drain_poll);
  }
  if (left != 0) log_.warn("connections end with the program", {{"connections", left}});
}

// What an earlier run served is where its routes are `left`.
void UserspaceDriver::forget_ended(const userspace::RouteSources& left) {
  const auto served = [&](const SocketAddress& to) { return left.contains(to.ip) || serves(to); };
  if (const auto done = handover_.forget_ended(served, [&] { return carried(); }); !done) {
    log_.warn(cat("ended connections stay tracked: ", done.error().message));
  } else if (*done > 0) {
    log_.info("ended connections are forgotten", {{"connections", *done}});
  }
}

Result<void> UserspaceDriver::start() {
  FL_TRY_VOID(handover_.end());
  FL_TRY_VOID(open_routes());
  FL_TRY(const auto left, doors_.routes->list());
  if (!left.empty()) {
    log_.info("removing the local addresses of an earlier run", {{"routes", left.size()}});
    FL_TRY_VOID(give_up_addresses());
  }
  FL_TRY(forwarder_, userspace::Forwarder::start(options_.limits, *doors_.clock, metrics_, log_));
  if (auto attached = attach(); !attached) {
    forwarder_.reset();
    return attached;
  }
  retired_ = false;
  return {};
}

ApplyReport UserspaceDriver::apply(const ServiceTable& table,
                                   const std::set<api::ObjectKey>& changed, bool full) {
  ApplyReport report;
  if (retired_) return report;
  if (!forwarder_) {
    const Result<void> started =
        cleaned_ ? start() : Result<void>(fail("userspace mode has not been started"));
    if (!started) {
      report.errors.push_back(started.error().message);
      return report;
    }
  }
  if (!node_ || *node_ != table.node) {
    node_ = std::make_shared<const NodeConfig>(table.node);
    full = true;
  }
  full = full || unread_;
  report.services_changed = full ? table.services.size() : changed.size();
  // The forwarding thread knows a route before the kernel sends it flows.
  const auto touched = wanted_.update(table, changed, full);
  table_ = std::make_shared<const userspace::RoutingTable>(table_->with(node_, touched.routes));
  forwarder_->publish(table_);
  if (!full) {
    if (kernel_.lingers() || loses_vips(wanted_, touched.entries)) keep_addresses_in_use();
    kernel_.write(wanted_, touched.entries, report);
    return report;
  }
  unread_ = true;
  ApplyReport written = retry();
  written.services_changed = report.services_changed;
  return written;
}

ApplyReport UserspaceDriver::retry() {
  ApplyReport report;
  if (retired_ || !forwarder_ || !node_) return report;
  if (!unread_ && !kernel_.pending()) return report;
  auto read = kernel_.read_addresses(*node_);
  if (read && !unread_) {
    kernel_.write(wanted_, {}, report);
    return report;
  }
  if (read) read = kernel_.read_kernel();
  if (!read) {
    report.errors.push_back(cat("cannot read the kernel: ", read.error().message));
    return report;
  }
  restore(report);
  unread_ = !kernel_.attached() && !report.ok();
  return report;
}

// Everything, as the kernel has just been read.
void UserspaceDriver::restore(ApplyReport& report) {
  if (!kernel_.attached()) {
    if (const auto attached = attach(); !attached)
      report.errors.push_back(attached.error().message);
  }
  keep_addresses_in_use();
  kernel_.write_all(wanted_, report);
}

std::string UserspaceDriver::dump() const {
  const auto state = doors_.capture->read();
  auto routes = routes_open_ ? doors_.routes->list() : Result<userspace::RouteSources>();
  if (!state) return cat("error: ", state.error().message, "\n");
  if (!routes) return cat("error: ", routes.error().message, "\n");
  return to_text(state->entries, *routes);
}

Result<void> UserspaceDriver::cleanup() {
  doors_.capture->detach();
  cleaned_ = cleaned_ || forwarder_ != nullptr;
  forwarder_.reset();
  node_.reset();  // the next apply() begins anew, also when something stays now
  retired_ = false;
  const auto ended = handover_.end();
  auto removed = give_up_addresses();
  const auto state = doors_.capture->read();
  if (!state) return std::unexpected(state.error());
  for (const auto& [key, value] : state->entries) FL_TRY_VOID(doors_.capture->erase(key));
  return removed ? ended : removed;
}

Result<std::vector<Drift>> UserspaceDriver::differences() {
  FL_TRY_VOID(kernel_.read_addresses(*node_));
  FL_TRY_VOID(kernel_.read_kernel());
  auto drifts = kernel_.differences(wanted_);
  if (!kernel_.attached()) {
    drifts.insert(drifts.begin(), {"the sk_lookup program is not attached", "bpftool", false});
  }
  return drifts;
}

Result<std::vector<Drift>> UserspaceDriver::verify(bool repair) {
  if (!forwarder_ || !node_) return fail("userspace mode has no table yet");
  if (retired_) return std::vector<Drift>();
  ApplyReport report;
  if (repair && kernel_.lingers()) {
    keep_addresses_in_use();
    kernel_.write(wanted_, {}, report);
  }
  FL_TRY(auto drifts, differences());
  if (!repair || drifts.empty()) return drifts;
  restore(report);
  FL_TRY(const auto left, differences());
  for (Drift& drift : drifts) {
    drift.repaired = std::find(left.begin(), left.end(), drift) == left.end();
  }
  return drifts;
}

std::vector<std::string> UserspaceDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> lines;
  const auto state = doors_.capture->read();
  if (!state) return {cat("error: ", state.error().message)};
  for (const userspace::CaptureKey& key : wanted_.keys_of(service)) {
    const auto held = state->entries.find(key);
    if (held == state->entries.end()) continue;
    lines.push_back(cat("sk_lookup ", to_text(key, held->second)));
  }
  if (!routes_open_) return lines;
  const auto routes = doors_.routes->list();
  if (!routes) return lines;
  for (const Ip& ip : wanted_.vips_of(service)) {
    const auto route = routes->find(ip);
    if (route == routes->end()) continue;
    lines.push_back(cat("local ", ip.to_string(), " dev lo table local proto ",
                        static_cast<int>(userspace::route_protocol),
                        route->second ? cat(" src ", route->second->to_string()) : ""));
  }
  return lines;
}

// eBPF mode translates in programs of its own, which begin with the first packet of a connection.
Result<void> UserspaceDriver::prepare_retire(std::string_view successor) {
  if (!forwarder_ || retired_ || successor == to_string(Mode::ebpf)) return {};
  FL_TRY(const auto begun, handover_.begin([&](const SocketAddress& to) { return serves(to); },
                                           [&] { return carried(); }));
  if (begun.adopted + begun.forgotten != 0) {
    log_.info("open connections are tracked now",
              {{"connections", begun.adopted}, {"forgotten", begun.forgotten}});
  }
  return {};
}

void UserspaceDriver::stay() {
  if (const auto ended = handover_.end(); !ended) log_.warn(ended.error().message);
}

// Connections need their VIP to stay local: the routes go with cleanup().
Result<void> UserspaceDriver::retire() {
  doors_.capture->detach();
  retired_ = true;
  forget_ended();  // those that ended while they were taken up
  return handover_.end();
}

}  // namespace

std::unique_ptr<Driver> make_userspace_driver(const UserspaceOptions& options, const Log& log,
                                              Registry& registry) {
  return make_userspace_driver(
      options, log, registry,
      {userspace::make_kernel_capture(options.max_captured), userspace::make_kernel_routes(),
       std::make_unique<const RealClock>(), make_nft_runner(), net::make_conntrack()});
}

std::unique_ptr<Driver> make_userspace_driver(const UserspaceOptions& options, const Log& log,
                                              Registry& registry, UserspaceDoors doors) {
  return std::make_unique<UserspaceDriver>(options, log, registry, std::move(doors));
}

}  // namespace fairlead::dataplane
