#include "dataplane/ebpf/driver.h"

#include <cstring>
#include <optional>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "dataplane/ebpf/conntrack.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/ended_flows.h"
#include "dataplane/ebpf/link_filters.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/pins.h"
#include "dataplane/ebpf/service_sync.h"
#include "dataplane/ebpf/stale_udp.h"
#include "dataplane/ebpf/tracked_flows.h"
#include "dataplane/ebpf/verify.h"
#include "net/conntrack.h"

namespace fairlead::dataplane {
namespace {

constexpr Duration counters_every = std::chrono::seconds(5);
constexpr Duration conntrack_every = std::chrono::seconds(60);
constexpr Duration stale_after = std::chrono::milliseconds(50);  // a roll-out changes much at once

class EbpfDriver final : public Driver {
 public:
  EbpfDriver(EbpfOptions options, net::EventLoop& loop, const Log& log, Registry& registry)
      : options_(std::move(options)),
        loop_(loop),
        log_(log.named("ebpf")),
        registry_(registry),
        metrics_(registry),
        pins_(options_.bpffs) {}

  std::string_view mode() const override { return "ebpf"; }
  Result<void> start() override;
  ApplyReport apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                    bool full) override;
  ApplyReport retry() override;
  std::string dump() const override;
  Result<void> cleanup() override;
  Result<std::vector<Drift>> verify(bool repair) override;
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override;
  Result<void> prepare_retire(std::string_view successor) override;
  Result<void> retire() override;
  bool drained() const override;

 private:
  void take_over_from_tracker(const ServiceTable& table);
  Result<std::string> cgroup() const;
  Result<void> verify_attachments(bool repair, std::vector<Drift>& drifts);
  void close_stale_sockets();
  Result<void> attach();
  Result<void> attach_links();
  void replace_older(ApplyReport& report);
  void finish(ApplyReport& report);
  void update_counters();
  void sweep(bool hurry);
  void age_conntrack();
  void refresh_marks();
  void set_gauges();
  void set_map_gauges(ebpf::MapId map, size_t entries);

  EbpfOptions options_;
  net::EventLoop& loop_;
  Log log_;
  Registry& registry_;
  ebpf::CounterMetrics metrics_;
  ebpf::Pins pins_;
  EbpfSupport support_;
  const std::unique_ptr<net::Conntrack> tracker_ = net::make_conntrack();
  ebpf::EndedFlows ended_flows_{*tracker_, loop_, log_};

  std::unique_ptr<ebpf::Object> object_;
  std::optional<ebpf::KernelMaps> kernel_maps_;
  std::optional<ebpf::Marks> marks_;
  std::optional<ebpf::MarkingMaps> maps_;
  std::optional<ebpf::ServiceSync> services_;
  std::optional<ebpf::NodeSync> node_;
  std::optional<ebpf::LinkFilters> links_;
  bool attached_ = false;
  bool served_ = false;         // a full table has been applied
  NodeConfig node_config_;      // of the last apply()
  size_t members_removed_ = 0;  // when stale sockets were looked for
  ebpf::SweepPace pace_;
  net::Timer counters_timer_, conntrack_timer_, stale_timer_;
};

Result<void> EbpfDriver::start() {
  support_ = probe_ebpf();
  FL_TRY_VOID(can_serve(support_));
  for (const std::string& note : support_.notes) log_.warn(note);
  FL_TRY_VOID(pins_.open());
  FL_TRY(object_, ebpf::Object::load(pins_, options_, support_));
  kernel_maps_.emplace(object_->map_fds());
  marks_.emplace(object_->marks());
  maps_.emplace(*kernel_maps_, *marks_);
  services_.emplace(*maps_);
  FL_TRY_VOID(services_->load());
  ebpf::NodeFacts facts = ebpf::read_node_facts();
  facts.tc = options_.attach_tc && support_.tc && options_.interfaces.empty();
  node_.emplace(*maps_, services_->addresses(), facts);
  FL_TRY_VOID(node_->load());
  metrics_.start(ebpf::read_counters(object_->map_fd("counters")));
  log_.info("maps are open",
            {{"frontends", services_->frontend_count()}, {"backends", services_->backend_count()}});
  // The programs of another layout read other maps: they stay until ours are filled.
  if (pins_.has_older()) {
    log_.info("another layout's programs stay until the first full table");
  } else {
    FL_TRY_VOID(attach());
  }
  age_conntrack();
  update_counters();
  return {};
}

Result<std::string> EbpfDriver::cgroup() const {
  return options_.cgroup.empty() ? ebpf::cgroup2_root() : options_.cgroup;
}

Result<void> EbpfDriver::attach() {
  FL_TRY(const std::string folder, cgroup());
  FL_TRY_VOID(ebpf::attach_socket_programs(*object_, pins_, folder));
  marks_->suspend();  // the programs before these may begin flows without marking them
  FL_TRY_VOID(attach_links());
  const Result<size_t> moved = object_->resize_flows();
  if (!moved) log_.warn(moved.error().message);
  *kernel_maps_ = ebpf::KernelMaps(object_->map_fds());
  refresh_marks();
  attached_ = true;
  pins_.remove_older();
  return {};
}

Result<void> EbpfDriver::attach_links() {
  if (!options_.attach_tc || !support_.tc) return ebpf::remove_link_filters(pins_);
  const auto kind = options_.tcx && support_.tcx ? ebpf::TcKind::tcx : ebpf::TcKind::clsact;
  links_.emplace(options_.interfaces, kind, object_->program_fd("tc_ingress"),
                 object_->program_fd("tc_egress"), pins_, log_);
  return links_->start(loop_);
}

ApplyReport EbpfDriver::apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed,
                              bool full) {
  if (!services_) return {.errors = {"the eBPF driver was not started"}};
  ApplyReport node_report;
  // What no service has is dropped only when all services are there.
  node_config_ = table.node;
  if (!served_) node_config_.service_cidrs.clear();
  node_->apply(node_config_, node_report);
  if (full && !served_) take_over_from_tracker(table);
  ApplyReport report = services_->apply(table, changed, full);
  served_ |= full;
  if (served_ && node_config_ != table.node) {
    node_config_ = table.node;
    node_->apply(node_config_, node_report);
  }
  report.writes += node_report.writes;
  report.errors.insert(report.errors.end(), node_report.errors.begin(), node_report.errors.end());
  if (full && report.ok()) replace_older(report);
  finish(report);
  return report;
}

ApplyReport EbpfDriver::retry() {
  if (!services_) return {.errors = {"the eBPF driver was not started"}};
  ApplyReport report = services_->retry();
  node_->retry(report);
  if (links_) links_->retry();
  // What fails again may fail for ever, and the older programs hear of no change at all.
  if (served_) replace_older(report);
  finish(report);
  return report;
}

void EbpfDriver::replace_older(ApplyReport& report) {
  if (attached_) return;
  if (auto attached = attach(); !attached) report.errors.push_back(attached.error().message);
}

void EbpfDriver::finish(ApplyReport& report) {
  if (!attached_) report.errors.push_back("another layout's programs are still in place");
  if (links_) {
    for (std::string& error : links_->errors()) report.errors.push_back(std::move(error));
  }
  metrics_.update(ebpf::read_counters(object_->map_fd("counters")));
  set_gauges();
  if (std::exchange(members_removed_, services_->members_removed()) !=
      services_->members_removed()) {
    stale_timer_ = loop_.after(stale_after, [this] { close_stale_sockets(); });
  }
}

void EbpfDriver::close_stale_sockets() {
  if (!support_.close_sockets) return;
  const Result<size_t> closed = ebpf::close_stale_sockets(*maps_, *services_);
  if (!closed) {
    log_.warn(cat("UDP sockets without a backend stay: ", closed.error().message));
    return;
  }
  if (*closed == 0) return;
  log_.info("UDP sockets without a backend closed", {{"sockets", *closed}});
  registry_
      .counter("fairlead_ebpf_udp_sockets_closed_total",
               "Connected UDP sockets closed because their backend is gone.")
      .add(*closed);
}

Result<std::vector<Drift>> EbpfDriver::verify(bool repair) {
  if (!services_) return fail("the eBPF driver was not started");
  FL_TRY(std::vector<Drift> drifts, ebpf::verify_maps(*maps_, *services_, *node_, repair));
  if (attached_) FL_TRY_VOID(verify_attachments(repair, drifts));
  return drifts;
}

Result<void> EbpfDriver::verify_attachments(bool repair, std::vector<Drift>& drifts) {
  FL_TRY(const std::string folder, cgroup());
  const size_t before = drifts.size();
  for (const std::string& hook : ebpf::missing_socket_programs(*object_, pins_, folder)) {
    drifts.push_back({cat("the program ", hook, " is not attached to ", folder),
                      "somebody who removed the pinned link"});
  }
  const size_t hooks = drifts.size();
  if (links_) {
    FL_TRY(const std::vector<std::string> bare, links_->without_programs());
    for (const std::string& name : bare) {
      drifts.push_back({cat("link ", name, " lacks a tc program"), "another user of tc"});
    }
  }
  if (!repair) return {};
  Result<void> repaired;
  if (hooks != before) repaired = ebpf::attach_socket_programs(*object_, pins_, folder);
  if (drifts.size() != hooks && repaired) repaired = attach_links();
  for (size_t i = before; i < drifts.size(); ++i) drifts[i].repaired = repaired.has_value();
  return repaired;
}

std::vector<std::string> EbpfDriver::kernel_entries(const api::ObjectKey& service) const {
  if (!services_) return {};
  return ebpf::entry_lines(*maps_, services_->ids_of(service));
}

// Another mode, or another program, may have translated until now.
void EbpfDriver::take_over_from_tracker(const ServiceTable& table) {
  const auto taken = ebpf::take_tracked_ports(*tracker_, *maps_, ebpf::ticks_now());
  if (!taken) {
    log_.warn(
        cat("ports of connections that others translate are not known: ", taken.error().message));
  } else if (*taken > 0) {
    log_.info("ports of connections that others translate are kept", {{"connections", *taken}});
  }
  ended_flows_.begin(table);
}

// The other modes but userspace translate by the kernel's tracker.
Result<void> EbpfDriver::prepare_retire(std::string_view successor) {
  if (!maps_ || successor == to_string(Mode::userspace)) return {};
  FL_TRY(const size_t given, ebpf::give_to_tracker(*tracker_, *maps_, ebpf::ticks_now()));
  if (given > 0) log_.info("open connections are tracked now", {{"connections", given}});
  return {};
}

// Nothing is ours any more, so that new flows pass to whoever took over; programs and conntrack
// stay for those that are there.
Result<void> EbpfDriver::retire() {
  if (!services_) return {};
  ended_flows_.stop();
  ServiceTable nothing;
  nothing.node = node_config_;
  nothing.node.service_cidrs.clear();
  ApplyReport report;
  node_->apply(nothing.node, report);
  const ApplyReport services = services_->apply(nothing, {}, true);
  members_removed_ = services_->members_removed();
  stale_timer_.reset();
  report.errors.insert(report.errors.end(), services.errors.begin(), services.errors.end());
  if (!report.ok()) return fail(cat("eBPF: cannot retire: ", join(report.errors, "; ")));
  return {};
}

bool EbpfDriver::drained() const {
  return !maps_ || ebpf::live_flows(*maps_, ebpf::ticks_now()) == 0;
}

std::string EbpfDriver::dump() const {
  if (!maps_) return "mode ebpf\nnot started\n";
  std::string text =
      ebpf::dump_maps(*maps_, [this](uint32_t id) { return services_->name_of(id); });
  if (links_) text += cat("tc by ", links_->kind(), " on ", links_->attached(), " links\n");
  return text;
}

Result<void> EbpfDriver::cleanup() {
  links_.reset();
  counters_timer_.reset();
  conntrack_timer_.reset();
  stale_timer_.reset();
  ended_flows_.stop();
  node_.reset();
  services_.reset();
  maps_.reset();
  marks_.reset();
  kernel_maps_.reset();
  object_.reset();
  Result<void> links = ebpf::remove_link_filters(pins_);
  FL_TRY_VOID(pins_.remove_all());
  return links;
}

void EbpfDriver::update_counters() {
  const ebpf::CounterValues values = ebpf::read_counters(object_->map_fd("counters"));
  metrics_.update(values);
  if (pace_.due(values[FL_TC_FLOWS], maps_->capacity(ebpf::MapId::conntrack))) sweep(true);
  counters_timer_ = loop_.after(counters_every, [this] { update_counters(); });
}

void EbpfDriver::sweep(bool hurry) {
  const uint64_t flows = ebpf::read_counters(object_->map_fd("counters"))[FL_TC_FLOWS];
  const auto swept = ebpf::sweep_conntrack(*maps_, ebpf::ticks_now(), hurry);
  pace_.swept(swept.entries, flows);
  set_map_gauges(ebpf::MapId::conntrack, swept.entries);
}

void EbpfDriver::age_conntrack() {
  sweep(false);
  if (attached_) refresh_marks();
  conntrack_timer_ = loop_.after(conntrack_every, [this] { age_conntrack(); });
}

void EbpfDriver::refresh_marks() {
  if (int error = marks_->refresh(*maps_); error != 0) {
    log_.warn("every packet is looked at: the maps cannot be read",
              {{"error", std::string(std::strerror(error))}});
  }
}

void EbpfDriver::set_gauges() {
  set_map_gauges(ebpf::MapId::frontends, services_->frontend_count());
  set_map_gauges(ebpf::MapId::backends, services_->backend_count());
  set_map_gauges(ebpf::MapId::maglev, services_->table_count());
  registry_.gauge("fairlead_ebpf_links", "Links that carry the tc programs.")
      .set(links_ ? static_cast<int64_t>(links_->attached()) : 0);
}

void EbpfDriver::set_map_gauges(ebpf::MapId map, size_t entries) {
  Labels labels = {{"map", std::string(ebpf::shape_of(map).name)}};
  registry_.gauge("fairlead_ebpf_map_entries", "Entries in a BPF map.", labels)
      .set(static_cast<int64_t>(entries));
  registry_.gauge("fairlead_ebpf_map_capacity", "Entries that a BPF map can hold.", labels)
      .set(static_cast<int64_t>(maps_->capacity(map)));
}

}  // namespace

std::unique_ptr<Driver> make_ebpf_driver(EbpfOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry) {
  return std::make_unique<EbpfDriver>(std::move(options), loop, log, registry);
}

}  // namespace fairlead::dataplane
