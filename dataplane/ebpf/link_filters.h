// Keeps the tc programs on every link that should have them, as links come and go.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "dataplane/ebpf/tcx_links.h"
#include "net/netlink.h"

namespace fairlead::dataplane::ebpf {

// A link with hardware or a pod behind it. Bridges, bonds and tunnels are left out: their traffic
// passes one of these too, and no packet may be translated twice.
bool wants_tc(const net::LinkInfo& link, const std::vector<std::string>& names);

enum class TcKind { clsact, tcx };

// Belongs to the loop's thread, and acts in its network namespace. A link that carries the programs
// by the other kind, from an earlier run, gets the new ones first and then loses the old: a packet
// that both see is translated once, since it is nobody's key any more.
class LinkFilters {
 public:
  // `pins` outlives it.
  LinkFilters(std::vector<std::string> names, TcKind kind, int ingress_program, int egress_program,
              const Pins& pins, const Log& log)
      : names_(std::move(names)),
        kind_(kind),
        ingress_(ingress_program),
        egress_(egress_program),
        tcx_(pins),
        log_(log) {}

  // Attaches to the links that are there, and follows the others from the loop.
  Result<void> start(net::EventLoop& loop);
  void retry();  // links that failed
  std::vector<std::string> errors() const;
  // Asks the kernel: links that should have the programs and have not.
  Result<std::vector<std::string>> without_programs() const;
  size_t attached() const { return attached_.size(); }
  std::string_view kind() const { return kind_ == TcKind::tcx ? "tcx" : "clsact"; }

 private:
  void on_link(net::LinkMonitor::Event event, const net::LinkInfo& link);
  void attach(const net::LinkInfo& link);
  Result<void> attach_programs(int link_index) const;
  bool has_programs(int link_index) const;

  std::vector<std::string> names_;
  TcKind kind_;
  int ingress_, egress_;
  TcxLinks tcx_;
  uint64_t home_ = 0;  // the namespace of start(): link indices mean nothing in another
  Log log_;
  std::map<int, std::string> attached_;  // link index -> name
  struct Failure {
    net::LinkInfo link;
    std::string message;
  };
  std::map<int, Failure> failed_;
  std::unique_ptr<net::LinkMonitor> monitor_;
};

// Takes the programs off every link of this namespace, and every tcx link that is pinned.
Result<void> remove_link_filters(const Pins& pins);

}  // namespace fairlead::dataplane::ebpf
