// Links, addresses and routes of one network namespace, over rtnetlink (linux/rtnetlink.h) by
// libnl-route. Errors name the request, the object and the kernel's reason.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "net/event_loop.h"

namespace fairlead::net {

struct LinkInfo {
  int index = 0;
  std::string name;
  std::string kind;      // "veth", "bridge", "dummy"; "" for hardware and loopback
  bool up = false;       // administratively (IFF_UP)
  int peer_index = 0;    // veth: the other end's index, in whatever namespace that is; else 0
  int master_index = 0;  // the bridge that it is a port of; else 0
  uint32_t mtu = 0;
  std::string mac;  // "02:00:00:00:00:01", or "" when the link has none

  friend bool operator==(const LinkInfo&, const LinkInfo&) = default;
};

// IPVS mode's dummy link, ours or kube-proxy's. Its addresses are those of Services, not the
// machine's, and go with that mode.
bool holds_service_addresses(const LinkInfo& link);

struct AddressInfo {
  int link_index = 0;
  Ip ip;
  uint8_t bits = 0;  // prefix length in the address's own family

  friend bool operator==(const AddressInfo&, const AddressInfo&) = default;
};

struct RouteRequest {
  Cidr destination;           // 0.0.0.0/0 or ::/0 for the default route
  std::optional<Ip> gateway;  // none: directly on the link
  std::string link;           // may be empty with a gateway
  std::optional<Ip> source;   // preferred source address
};

// A route that makes an address one of this host's own, without giving it to a link: `ip route add
// local IP dev lo table local`.
struct LocalRoute {
  Ip ip;
  std::optional<Ip> source;  // preferred source of connections to it; must be a local address

  friend bool operator==(const LocalRoute&, const LocalRoute&) = default;
};

// Synchronous. Acts in the namespace in which the calling thread was at open(), for good. Used from
// one thread at a time. Names of links are at most 15 characters (IFNAMSIZ).
class Netlink {
 public:
  static Result<Netlink> open();
  Netlink(Netlink&&) noexcept;
  Netlink& operator=(Netlink&&) noexcept;
  ~Netlink();

  // `peer_netns_fd` >= 0 creates the other end in that namespace. Both ends start down.
  Result<void> add_veth(const std::string& name, const std::string& peer, int peer_netns_fd = -1);
  Result<void> add_bridge(const std::string& name);
  Result<void> add_dummy(const std::string& name);
  Result<void> delete_link(const std::string& name);

  Result<void> set_up(const std::string& name);
  Result<void> set_down(const std::string& name);
  Result<void> set_mtu(const std::string& name, uint32_t mtu);
  Result<void> set_mac(const std::string& name, const std::string& mac);
  Result<void> set_master(const std::string& name, const std::string& bridge);  // "" to take out
  Result<void> move_to_netns(const std::string& name, int netns_fd);

  // IPv6 addresses skip duplicate address detection, so that they work at once. An address or
  // route that is there already is not an error.
  Result<void> add_address(const std::string& link, const Ip& ip, int bits);
  Result<void> delete_address(const std::string& link, const Ip& ip, int bits);
  Result<void> add_route(const RouteRequest& route);
  Result<void> delete_route(const RouteRequest& route);

  // `protocol` (rtm_protocol of linux/rtnetlink.h, above 4) names who made the route: locals()
  // lists the routes of one protocol number, and delete_local() touches no other's. Adding the same
  // again is an error, and so is deleting what is not there. One that others made, as the kernel
  // does for each address of a link, comes first as long as it is there.
  Result<void> add_local(const LocalRoute& route, uint8_t protocol);
  Result<void> delete_local(const Ip& ip, uint8_t protocol);
  Result<std::vector<LocalRoute>> locals(uint8_t protocol);

  Result<std::vector<LinkInfo>> links();
  Result<LinkInfo> link(const std::string& name);
  Result<std::vector<AddressInfo>> addresses();

 private:
  struct Impl;
  explicit Netlink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reports links of the namespace in which the constructing thread is. The links that are there
// already come as `added`, later and from the loop. After a lost notification (socket overrun) it
// lists again and reports the difference.
class LinkMonitor {
 public:
  enum class Event { added, changed, removed };
  using Callback = std::function<void(Event event, const LinkInfo& link)>;

  static Result<std::unique_ptr<LinkMonitor>> open(EventLoop& loop, Callback callback);
  ~LinkMonitor();
  LinkMonitor(const LinkMonitor&) = delete;
  LinkMonitor& operator=(const LinkMonitor&) = delete;

 private:
  struct Impl;
  explicit LinkMonitor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::net
