#include "dataplane/ebpf/link_filters.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/text.h"
#include "dataplane/ebpf/tc_filters.h"

namespace fairlead::dataplane::ebpf {

namespace {

uint64_t namespace_id() {
  struct stat info{};
  return stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

}  // namespace

bool wants_tc(const net::LinkInfo& link, const std::vector<std::string>& names) {
  if (!names.empty()) return std::find(names.begin(), names.end(), link.name) != names.end();
  if (link.name == "lo" || link.mac.empty()) return false;
  return link.kind == "veth" || link.kind.empty();
}

Result<void> LinkFilters::start(net::EventLoop& loop) {
  home_ = namespace_id();
  // First, so that it tells of links that go while this attaches to one after the other.
  FL_TRY(monitor_,
         net::LinkMonitor::open(loop, [this](net::LinkMonitor::Event event,
                                             const net::LinkInfo& link) { on_link(event, link); }));
  FL_TRY(net::Netlink netlink, net::Netlink::open());
  FL_TRY(std::vector<net::LinkInfo> links, netlink.links());
  std::set<int> present;
  for (const net::LinkInfo& link : links) present.insert(link.index);
  tcx_.sweep(present);
  for (const net::LinkInfo& link : links) on_link(net::LinkMonitor::Event::added, link);
  return {};
}

void LinkFilters::on_link(net::LinkMonitor::Event event, const net::LinkInfo& link) {
  if (event == net::LinkMonitor::Event::removed) {
    attached_.erase(link.index);
    failed_.erase(link.index);
    tcx_.detach(link.index);
    return;
  }
  if (namespace_id() != home_) {
    failed_[link.index] = {link, cat("link ", link.name, ": this thread has left its namespace")};
    return;
  }
  if (wants_tc(link, names_)) {
    if (!attached_.contains(link.index)) attach(link);
    return;
  }
  // An earlier run may have chosen it.
  if (!has_programs(link.index)) return;
  tcx_.detach(link.index);
  if (auto gone = detach_tc(link.index); !gone) log_.warn(gone.error().message);
  attached_.erase(link.index);
}

bool LinkFilters::has_programs(int link_index) const {
  return has_tc(link_index) || tcx_.attached(link_index);
}

Result<void> LinkFilters::attach_programs(int link_index) const {
  if (kind_ == TcKind::tcx) {
    FL_TRY_VOID(tcx_.attach(link_index, ingress_, egress_));
    return detach_tc(link_index);
  }
  FL_TRY_VOID(attach_tc(link_index, ingress_, egress_));
  tcx_.detach(link_index);
  return {};
}

void LinkFilters::attach(const net::LinkInfo& link) {
  Result<void> done = attach_programs(link.index);
  if (done) {
    attached_[link.index] = link.name;
    failed_.erase(link.index);
    log_.debug("tc programs attached", {{"link", link.name}, {"by", kind()}});
    return;
  }
  failed_[link.index] = {link, cat("link ", link.name, ": ", done.error().message)};
  log_.warn(failed_[link.index].message);
}

void LinkFilters::retry() {
  auto again = failed_;
  for (const auto& [index, failure] : again) {
    failed_.erase(index);
    on_link(net::LinkMonitor::Event::added, failure.link);
  }
}

std::vector<std::string> LinkFilters::errors() const {
  std::vector<std::string> lines;
  for (const auto& [index, failure] : failed_) lines.push_back(failure.message);
  return lines;
}

Result<std::vector<std::string>> LinkFilters::without_programs() const {
  FL_TRY(net::Netlink netlink, net::Netlink::open());
  FL_TRY(const std::vector<net::LinkInfo> links, netlink.links());
  std::vector<std::string> names;
  for (const net::LinkInfo& link : links) {
    if (!wants_tc(link, names_)) continue;
    if (!has_both_tc(link.index) && !tcx_.attached(link.index)) names.push_back(link.name);
  }
  return names;
}

Result<void> remove_link_filters(const Pins& pins) {
  TcxLinks(pins).sweep({});
  FL_TRY(net::Netlink netlink, net::Netlink::open());
  FL_TRY(std::vector<net::LinkInfo> links, netlink.links());
  Result<void> result;
  for (const net::LinkInfo& link : links) {
    if (auto gone = detach_tc(link.index); !gone && result) result = gone;
  }
  return result;
}

}  // namespace fairlead::dataplane::ebpf
