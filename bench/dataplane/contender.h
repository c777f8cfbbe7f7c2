// The ways of balancing that benchmarks compare: fairlead's modes with their variants, and rule
// sets of others' shape as peers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/driver.h"
#include "net/event_loop.h"

namespace fairlead::bench {

// `services` with a ClusterIP each, 10.96.0.0 and up, port 80 to 10.2.0.2:8080. The last one has
// UDP and the NodePort 30080 of 10.1.0.1, too. Sources in 10.1.0.0/24 are local pods.
dataplane::ServiceTable connection_table(uint32_t services);
SocketAddress last_cluster_ip(uint32_t services);
inline const SocketAddress node_port{Ip::v4(0x0a010001), 30080};
inline const SocketAddress backend{Ip::v4(0x0a020002), 8080};

// What this machine's kernel and tools can do of: direct, ebpf (clients in the cgroup), ebpf_clsact
// (the same without tcx), ebpf_sockets (without tc), ebpf_tc (clients out of the cgroup), nftables,
// iptables_nft, iptables_legacy, ipvs, userspace; and peer_iptables_nft, peer_iptables_legacy,
// peer_nftables (kube-proxy's shape), peer_ipvs (ipvsadm), which serve TCP ClusterIPs alone. Only
// those, and direct, that the environment's CONTENDERS lists, when it is set.
std::vector<std::string> contenders_here(const std::vector<std::string>& names);

// Belongs to one thread. Construct it before other threads and drivers: benchmarks fork.
class Contender {
 public:
  explicit Contender(std::string name);
  ~Contender();  // after stop()
  Contender(const Contender&) = delete;
  Contender& operator=(const Contender&) = delete;

  const std::string& name() const { return name_; }
  std::string client_cgroup() const;  // what its clients join; "": nothing

  // Both are called in the node's namespace. open() makes a driver, and ends the one before.
  dataplane::Driver& open();
  void stop();
  void serve(const dataplane::ServiceTable& table);  // open() and all of `table`; or a peer's rules

  uint64_t bytes_sent();  // to the kernel or its tools, where the driver counts them

 private:
  std::unique_ptr<dataplane::Driver> make_driver();

  const std::string name_;
  std::string folder_, cgroup_;  // of eBPF modes
  FdLogSink sink_{2};
  Log log_{sink_, LogLevel::error};
  Registry registry_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<dataplane::Driver> driver_;
};

}  // namespace fairlead::bench
