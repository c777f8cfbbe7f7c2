#include "dataplane/userspace/driver.h"

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/userspace/forwarder.h"
#include "dataplane/userspace/handover.h"
#include "dataplane/userspace/kernel_sync.h"
#include "dataplane/userspace/wanted.h"

namespace fairlead::dataplane {
namespace {

using userspace::FlowKey;

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
    if (const auto removed = remove_routes(); !removed) log_.warn(removed.error().message);
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
  Result<void> remove_routes();
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

Result<void> UserspaceDriver::remove_routes() {
  FL_TRY_VOID(open_routes());
  FL_TRY(const auto routes, doors_.routes->list());
  Result<void> result;
  for (const auto& [ip, source] : routes) {
    if (auto removed = doors_.routes->remove(ip); !removed) result = std::move(removed);
  }
  return result;
}

Result<void> UserspaceDriver::start() {
  FL_TRY_VOID(handover_.end());
  FL_TRY_VOID(open_routes());
  FL_TRY(const auto left, doors_.routes->list());
  if (!left.empty()) {
    log_.info("removing the local addresses of an earlier run", {{"routes", left.size()}});
    FL_TRY_VOID(remove_routes());
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
    report.errors.push_back("userspace mode has not been started");
    return report;
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
    kernel_.write(wanted_, touched.keys, touched.vips, report);
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
    kernel_.write(wanted_, {}, {}, report);
    return report;
  }
  if (read) read = kernel_.read_kernel();
  if (!read) {
    report.errors.push_back(cat("cannot read the kernel: ", read.error().message));
    return report;
  }
  unread_ = false;
  kernel_.write_all(wanted_, report);
  return report;
}

std::string UserspaceDriver::dump() const {
  const auto state = doors_.capture->read();
  auto routes = routes_open_ ? doors_.routes->list() : Result<userspace::RouteSources>();
  if (!state) return cat("error: ", state.error().message, "\n");
  if (!routes) return cat("error: ", routes.error().message, "\n");
  return to_text(*state, *routes);
}

Result<void> UserspaceDriver::cleanup() {
  doors_.capture->detach();
  forwarder_.reset();
  const auto ended = handover_.end();
  auto removed = remove_routes();
  const auto state = doors_.capture->read();
  if (!state) return std::unexpected(state.error());
  for (const auto& [key, action] : state->captured) FL_TRY_VOID(doors_.capture->erase(key));
  for (const Ip& ip : state->vips) FL_TRY_VOID(doors_.capture->erase_vip(ip));
  node_.reset();
  retired_ = false;
  return removed ? ended : removed;
}

Result<std::vector<Drift>> UserspaceDriver::verify(bool repair) {
  if (!forwarder_ || !node_) return fail("userspace mode has no table yet");
  FL_TRY_VOID(kernel_.read_addresses(*node_));
  FL_TRY_VOID(kernel_.read_kernel());
  auto drifts = kernel_.differences(wanted_);
  FL_TRY(const auto state, doors_.capture->read());
  if (!state.attached && !retired_) {
    drifts.insert(drifts.begin(), {"the sk_lookup program is not attached", "bpftool", false});
    if (repair) drifts.front().repaired = attach().has_value();
  }
  if (!repair || drifts.empty()) return drifts;
  ApplyReport report;
  kernel_.write_all(wanted_, report);
  std::set<std::string> left;
  for (const Drift& drift : kernel_.differences(wanted_)) left.insert(drift.what);
  for (Drift& drift : drifts) {
    if (drift.what.starts_with("the sk_lookup")) continue;
    drift.repaired = !left.contains(drift.what);
  }
  return drifts;
}

std::vector<std::string> UserspaceDriver::kernel_entries(const api::ObjectKey& service) const {
  std::vector<std::string> lines;
  const auto state = doors_.capture->read();
  if (!state) return {cat("error: ", state.error().message)};
  for (const FlowKey& key : wanted_.keys_of(service)) {
    const auto held = state->captured.find(key);
    if (held == state->captured.end()) continue;
    lines.push_back(cat("sk_lookup captured ", key.to_string(), " -> ", to_text(held->second)));
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
  const auto tracked = handover_.track();
  FL_TRY(const size_t adopted, handover_.adopt(forwarder_->connections()));
  if (adopted != 0) log_.info("open connections are tracked now", {{"connections", adopted}});
  return tracked;
}

void UserspaceDriver::stay() {
  if (const auto ended = handover_.end(); !ended) log_.warn(ended.error().message);
}

// Connections need their VIP to stay local: the routes go with cleanup().
Result<void> UserspaceDriver::retire() {
  doors_.capture->detach();
  retired_ = true;
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
