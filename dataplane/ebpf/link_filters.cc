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
  FL_TRY(net::Netlink netlink, net::Netlink::open());
  FL_TRY(std::vector<net::LinkInfo> links, netlink.links());
  for (const net::LinkInfo& link : links) on_link(net::LinkMonitor::Event::added, link);
  FL_TRY(monitor_,
         net::LinkMonitor::open(loop, [this](net::LinkMonitor::Event event,
                                             const net::LinkInfo& link) { on_link(event, link); }));
  return {};
}

void LinkFilters::on_link(net::LinkMonitor::Event event, const net::LinkInfo& link) {
  if (event == net::LinkMonitor::Event::removed) {
    attached_.erase(link.index);
    failed_.erase(link.index);
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
  if (!has_tc(link.index)) return;
  if (auto gone = detach_tc(link.index); !gone) log_.warn(gone.error().message);
  attached_.erase(link.index);
}

void LinkFilters::attach(const net::LinkInfo& link) {
  Result<void> done = attach_tc(link.index, ingress_, egress_);
  if (done) {
    attached_[link.index] = link.name;
    failed_.erase(link.index);
    log_.debug("tc programs attached", {{"link", link.name}});
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

Result<void> remove_link_filters() {
  FL_TRY(net::Netlink netlink, net::Netlink::open());
  FL_TRY(std::vector<net::LinkInfo> links, netlink.links());
  Result<void> result;
  for (const net::LinkInfo& link : links) {
    if (auto gone = detach_tc(link.index); !gone && result) result = gone;
  }
  return result;
}

}  // namespace fairlead::dataplane::ebpf
