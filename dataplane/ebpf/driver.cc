#include "dataplane/ebpf/driver.h"

#include <cstring>
#include <optional>

#include "base/text.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "dataplane/ebpf/conntrack.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/link_filters.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/pins.h"
#include "dataplane/ebpf/service_sync.h"

namespace fairlead::dataplane {
namespace {

constexpr Duration counters_every = std::chrono::seconds(5);
constexpr Duration conntrack_every = std::chrono::seconds(60);

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

 private:
  Result<void> attach();
  Result<void> attach_links();
  void finish(ApplyReport& report);
  void update_counters();
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

  std::unique_ptr<ebpf::Object> object_;
  std::optional<ebpf::KernelMaps> kernel_maps_;
  std::optional<ebpf::Marks> marks_;
  std::optional<ebpf::MarkingMaps> maps_;
  std::optional<ebpf::ServiceSync> services_;
  std::optional<ebpf::NodeSync> node_;
  std::optional<ebpf::LinkFilters> links_;
  bool attached_ = false;
  net::Timer counters_timer_, conntrack_timer_;
};

Result<void> EbpfDriver::start() {
  support_ = probe_ebpf();
  for (const std::string& note : support_.notes) log_.warn(note);
  FL_TRY_VOID(pins_.open());
  FL_TRY(object_, ebpf::Object::load(pins_, options_, support_));
  kernel_maps_.emplace(object_->map_fds());
  marks_.emplace(object_->marks());
  maps_.emplace(*kernel_maps_, *marks_);
  services_.emplace(*maps_);
  FL_TRY_VOID(services_->load());
  node_.emplace(*maps_, ebpf::read_node_facts());
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
  update_counters();
  age_conntrack();
  return {};
}

Result<void> EbpfDriver::attach() {
  std::string cgroup = options_.cgroup;
  if (cgroup.empty()) {
    FL_TRY(cgroup, ebpf::cgroup2_root());
  }
  FL_TRY_VOID(ebpf::attach_socket_programs(*object_, pins_, cgroup));
  marks_->suspend();  // the programs before these may begin flows without marking them
  FL_TRY_VOID(attach_links());
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
  node_->apply(table.node, node_report);
  ApplyReport report = services_->apply(table, changed, full);
  report.writes += node_report.writes;
  report.errors.insert(report.errors.end(), node_report.errors.begin(), node_report.errors.end());
  if (full && !attached_ && report.ok()) {
    if (auto attached = attach(); !attached) report.errors.push_back(attached.error().message);
  }
  finish(report);
  return report;
}

ApplyReport EbpfDriver::retry() {
  if (!services_) return {.errors = {"the eBPF driver was not started"}};
  ApplyReport report = services_->retry();
  node_->retry(report);
  if (links_) links_->retry();
  finish(report);
  return report;
}

void EbpfDriver::finish(ApplyReport& report) {
  if (!attached_) report.errors.push_back("another layout's programs are still in place");
  if (links_) {
    for (std::string& error : links_->errors()) report.errors.push_back(std::move(error));
  }
  metrics_.update(ebpf::read_counters(object_->map_fd("counters")));
  set_gauges();
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
  metrics_.update(ebpf::read_counters(object_->map_fd("counters")));
  counters_timer_ = loop_.after(counters_every, [this] { update_counters(); });
}

void EbpfDriver::age_conntrack() {
  ebpf::ConntrackSweep sweep = ebpf::sweep_conntrack(*maps_, ebpf::ticks_now());
  set_map_gauges(ebpf::MapId::conntrack, sweep.entries);
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
