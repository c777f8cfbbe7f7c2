// Capture: the door to the kernel's choice of sockets. What is captured reaches the forwarder,
// whatever address it was sent to.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/result.h"
#include "dataplane/userspace/routing_table.h"

namespace fairlead::dataplane::userspace {

enum class CaptureAction : uint8_t {
  tcp,     // to the TCP listener
  udp,     // to the UDP socket
  refuse,  // as if nobody listened: RST, ICMP port unreachable
};

struct CaptureState {
  bool attached = false;
  std::map<FlowKey, CaptureAction> captured;
  std::set<Ip> vips;  // new flows to an address here that are not captured are refused
  friend bool operator==(const CaptureState&, const CaptureState&) = default;
};

// Used from one thread. Ends with its destruction or the process.
class Capture {
 public:
  virtual ~Capture() = default;
  // For the network namespace that the thread is in at the first attach(). Both sockets are bound
  // and stay open; again after detach() takes up where it was.
  virtual Result<void> attach(int tcp_listener, int udp_socket) = 0;
  virtual void detach() = 0;
  virtual Result<void> set(const FlowKey& key, CaptureAction action) = 0;
  virtual Result<void> erase(const FlowKey& key) = 0;  // what is not there is no error
  virtual Result<void> add_vip(const Ip& ip) = 0;
  virtual Result<void> erase_vip(const Ip& ip) = 0;  // what is not there is no error
  virtual Result<CaptureState> read() const = 0;
};

// An sk_lookup program (kernel 5.9). `max_entries` of captured keys, and of VIPs.
std::unique_ptr<Capture> make_kernel_capture(uint32_t max_entries);

}  // namespace fairlead::dataplane::userspace
