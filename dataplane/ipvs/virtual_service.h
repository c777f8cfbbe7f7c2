// IPVS's own words: a virtual service balances over destinations.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace fairlead::dataplane::ipvs {

struct ServiceKey {
  Ip ip;
  Protocol protocol = Protocol::tcp;
  uint16_t port = 0;
  friend auto operator<=>(const ServiceKey&, const ServiceKey&) = default;
};

// The destination of flows that stay on the node, as they were dialled.
inline SocketAddress itself(const ServiceKey& key) { return {key.ip, key.port}; }

struct Settings {
  std::string scheduler = "rr";
  bool by_source_port = false;  // sh, mh: the client's port counts, too (IP_VS_SVC_F_SCHED2)
  uint32_t timeout_s = 0;       // not 0: persistent, a client keeps its destination
  friend bool operator==(const Settings&, const Settings&) = default;
};

// How packets reach a destination: by NAT for all of ours.
inline constexpr uint32_t forward_masq = 0;  // IP_VS_CONN_F_MASQ

struct Destination {
  uint32_t weight = 1;  // 0: no new connections
  uint32_t forwarding = forward_masq;
  // Connections, as the kernel counts them; not part of what is written.
  uint32_t active = 0;
  uint32_t inactive = 0;
  friend bool operator==(const Destination&, const Destination&) = default;
};
using Destinations = std::map<SocketAddress, Destination>;

struct VirtualService {
  Settings settings;
  Destinations destinations;
  friend bool operator==(const VirtualService&, const VirtualService&) = default;
};
using Services = std::map<ServiceKey, VirtualService>;

// How long a connection is remembered without packets, in seconds (`ipvsadm --set`). 0: as it is;
// the kernel begins with 900, 120 and 300.
struct Timeouts {
  uint32_t tcp = 0, tcp_fin = 0, udp = 0;
  friend bool operator==(const Timeouts&, const Timeouts&) = default;
};

// The kernel's names: rr wrr lc wlc lblc lblcr sh dh sed nq mh fo ovf.
Result<void> check_scheduler(std::string_view name);

std::string to_text(const ServiceKey& key);  // "10.96.0.1:80/TCP"
// As `ipvsadm -S -n` prints them: "-A -t 10.96.0.1:80 -s rr" and "-a -t ... -r ... -m -w 1".
std::string service_line(const ServiceKey& key, const Settings& settings);
std::string destination_line(const ServiceKey& key, const SocketAddress& address,
                             const Destination& destination);
std::vector<std::string> lines(const ServiceKey& key, const VirtualService& service);

}  // namespace fairlead::dataplane::ipvs
