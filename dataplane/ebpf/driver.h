// The eBPF driver: socket-level balancing by cgroup programs, and tc programs for NodePorts and
// for traffic whose socket the node does not see.
//
// State lives in maps, programs and links pinned below <bpffs>/fairlead/v<layout>/. It outlives
// the process: while no agent runs, open connections and new ones work as before. cleanup() is
// the only way to remove it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "net/event_loop.h"

namespace fairlead::dataplane {

// More NodeConfig::node_cidrs than these are an error of each apply().
inline constexpr size_t ebpf_node_cidrs = 8;

struct EbpfOptions {
  std::string bpffs = "/sys/fs/bpf";    // start() mounts a bpffs here when the folder is none
  std::string cgroup;                   // "": the cgroup2 root, from /proc/mounts
  std::vector<std::string> interfaces;  // tc devices; empty: every veth and physical link of the
                                        // network namespace, but lo, as they come and go
  bool attach_tc = true;
  bool tcx = true;                  // tc programs by tcx where the kernel has it; false: by clsact
  uint32_t max_services = 65536;    // frontends: one per ClusterIP port, one per NodePort
  uint32_t max_backends = 262144;   // of all services together
  uint32_t max_maglev = 4096;       // tables, 4 KiB each: a service that asks for it has one, with
                                    // a Local policy two
  uint32_t max_conntrack = 262144;  // entries; a flow takes two, a masqueraded one four
};

// The loop, the log's sink and the registry outlive the driver. Everything runs on the loop's
// thread, in the network namespace that this thread is in.
std::unique_ptr<Driver> make_ebpf_driver(EbpfOptions options, net::EventLoop& loop, const Log& log,
                                         Registry& registry);

// What this kernel lets this process do, found by trying (nothing stays attached).
struct EbpfSupport {
  bool functions = false;  // that take pointers and are verified by themselves: without, nothing
  bool connect = false;    // cgroup connect4 and connect6
  bool sendmsg = false;
  bool recvmsg = false;
  bool getpeername = false;
  bool tcx = false;
  bool tc = false;
  bool close_sockets = false;      // SOCK_DESTROY
  std::vector<std::string> notes;  // one sentence for each thing that is missing, and what it costs
};
EbpfSupport probe_ebpf();

// An error when eBPF mode cannot start at all. It serves by what there is: hooks may be missing.
Result<void> can_serve(const EbpfSupport& support);

}  // namespace fairlead::dataplane
