// Capture: the door to the kernel's choice of sockets. What is captured reaches the forwarder,
// whatever address it was sent to; what a client may not have does not.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <variant>

#include "base/result.h"
#include "dataplane/flow.h"
#include "dataplane/userspace/routing_table.h"

namespace fairlead::dataplane::userspace {

enum class Verdict : uint8_t {
  carry,   // to the forwarder
  refuse,  // as if nobody listened: RST, ICMP port unreachable
  drop,    // no answer
};

// What becomes of a new flow to a captured address.
struct Verdicts {
  std::array<Verdict, 3> by_source{};  // SourceClass -> Verdict
  bool guarded = false;                // only those that are Admitted; others are dropped
  friend bool operator==(const Verdicts&, const Verdicts&) = default;
};

struct Admitted {
  FlowKey to;
  Cidr from;
  friend auto operator<=>(const Admitted&, const Admitted&) = default;
};

struct Vip {  // new flows to it that are not captured are refused
  Ip ip;
  friend auto operator<=>(const Vip&, const Vip&) = default;
};

// One thing that the kernel is told, and what it says: Verdicts of a FlowKey, the SourceClass of a
// network (that of the longest prefix; of no network: outside), of the others nothing.
using CaptureKey = std::variant<FlowKey, Admitted, Vip, Cidr>;
using CaptureValue = std::variant<std::monostate, Verdicts, SourceClass>;
using CaptureEntries = std::map<CaptureKey, CaptureValue>;

// "captured 10.96.0.1:80/TCP -> node carry, pods carry, outside drop, guarded", "admitted
// 10.1.0.0/16 to 10.96.0.1:80/TCP", "vip 10.96.0.1", "source 10.1.0.0/16 is pods".
std::string to_text(const CaptureKey& key);
std::string to_text(const CaptureKey& key, const CaptureValue& value);

struct CaptureState {
  bool attached = false;
  CaptureEntries entries;
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
  // New TCP connections get no answer: clients try again after a second. Until attach().
  virtual Result<void> defer() = 0;
  virtual Result<void> set(const CaptureKey& key, const CaptureValue& value) = 0;
  virtual Result<void> erase(const CaptureKey& key) = 0;  // what is not there is no error
  virtual Result<CaptureState> read() const = 0;
};

// An sk_lookup program (kernel 5.9). `max_entries` of captured keys, of admitted ones and of VIPs.
std::unique_ptr<Capture> make_kernel_capture(uint32_t max_entries);

}  // namespace fairlead::dataplane::userspace
