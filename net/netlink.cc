#include "net/netlink.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>

#include <cstring>

#include "base/text.h"
#include "net/netlink_handles.h"

namespace fairlead::net {
namespace {

std::unexpected<Error> fail_nl(std::string_view what, int error) {
  return fail(cat(what, ": ", nl_geterror(error)));
}

Result<void> check_name(std::string_view name) {
  const bool odd = name == "." || name == ".." ||
                   name.find_first_of(std::string_view("/: \t\n\0", 6)) != std::string_view::npos;
  if (name.empty() || name.size() >= IFNAMSIZ || odd) {
    return fail(cat("link name \"", name, "\": expected 1 to ", IFNAMSIZ - 1,
                    " characters, without '/', ':' or white space"));
  }
  return {};
}

// libnl wants 4 bytes for IPv4, where ours always has 16.
NlAddr to_nl_addr(const Ip& ip, int bits) {
  const size_t skip = ip.is_v4() ? 12 : 0;
  NlAddr addr(nl_addr_build(ip.is_v4() ? AF_INET : AF_INET6,
                            const_cast<uint8_t*>(ip.bytes.data()) + skip, 16 - skip));
  nl_addr_set_prefixlen(addr.get(), bits);
  return addr;
}

int family_bits(const Ip& ip) { return ip.is_v4() ? 32 : 128; }

std::optional<Ip> from_nl_addr(const nl_addr* addr) {
  if (addr == nullptr) return std::nullopt;
  const auto* bytes = static_cast<const uint8_t*>(nl_addr_get_binary_addr(addr));
  Ip ip;
  if (nl_addr_get_family(addr) == AF_INET && nl_addr_get_len(addr) == 4) {
    ip = Ip::v4(0);
    std::memcpy(ip.bytes.data() + 12, bytes, 4);
    return ip;
  }
  if (nl_addr_get_family(addr) != AF_INET6 || nl_addr_get_len(addr) != 16) return std::nullopt;
  std::memcpy(ip.bytes.data(), bytes, 16);
  return ip;
}

void collect_address(nl_object* object, void* out) {
  auto* row = reinterpret_cast<rtnl_addr*>(object);
  const auto ip = from_nl_addr(rtnl_addr_get_local(row));
  if (!ip) return;
  static_cast<std::vector<AddressInfo>*>(out)->push_back(
      {.link_index = rtnl_addr_get_ifindex(row),
       .ip = *ip,
       .bits = static_cast<uint8_t>(rtnl_addr_get_prefixlen(row))});
}

void collect_link(nl_object* object, void* out) {
  static_cast<std::vector<LinkInfo>*>(out)->push_back(
      to_link_info(reinterpret_cast<rtnl_link*>(object)));
}

constexpr int loopback_index = 1;  // LOOPBACK_IFINDEX of linux/in.h: the same in every namespace

NlRoute make_local(const Ip& ip, uint8_t protocol) {
  NlRoute route(rtnl_route_alloc());
  rtnl_route_set_family(route.get(), ip.is_v4() ? AF_INET : AF_INET6);
  rtnl_route_set_table(route.get(), RT_TABLE_LOCAL);
  rtnl_route_set_type(route.get(), RTN_LOCAL);
  rtnl_route_set_scope(route.get(), ip.is_v4() ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
  rtnl_route_set_protocol(route.get(), protocol);
  rtnl_route_set_dst(route.get(), to_nl_addr(ip, family_bits(ip)).get());
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(hop, loopback_index);
  rtnl_route_add_nexthop(route.get(), hop);  // takes it
  return route;
}

struct Locals {
  uint8_t protocol;
  std::vector<LocalRoute> routes;
};

void collect_local(nl_object* object, void* out) {
  auto* route = reinterpret_cast<rtnl_route*>(object);
  auto& wanted = *static_cast<Locals*>(out);
  if (rtnl_route_get_table(route) != RT_TABLE_LOCAL || rtnl_route_get_type(route) != RTN_LOCAL ||
      rtnl_route_get_protocol(route) != wanted.protocol) {
    return;
  }
  const auto ip = from_nl_addr(rtnl_route_get_dst(route));
  if (ip) wanted.routes.push_back({*ip, from_nl_addr(rtnl_route_get_pref_src(route))});
}

}  // namespace

bool holds_service_addresses(const LinkInfo& link) {
  return link.kind == "dummy" && link.name.find("ipvs") != std::string::npos;
}

Result<NlSocket> open_route_socket() {
  NlSocket socket(nl_socket_alloc());
  if (!socket) return fail("netlink socket: out of memory");
  if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
    return fail_nl("netlink socket", error);
  }
  return socket;
}

LinkInfo to_link_info(rtnl_link* link) {
  LinkInfo info;
  info.index = rtnl_link_get_ifindex(link);
  if (const char* name = rtnl_link_get_name(link)) info.name = name;
  if (const char* kind = rtnl_link_get_type(link)) info.kind = kind;
  info.up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
  info.peer_index = info.kind == "veth" ? rtnl_link_get_link(link) : 0;
  info.master_index = rtnl_link_get_master(link);
  info.mtu = rtnl_link_get_mtu(link);
  const nl_addr* mac = rtnl_link_get_addr(link);
  constexpr unsigned int mac_bytes = 6;
  if (mac != nullptr && nl_addr_get_len(mac) == mac_bytes && nl_addr_iszero(mac) == 0) {
    char text[64];
    info.mac = nl_addr2str(mac, text, sizeof text);
  }
  return info;
}

Result<std::vector<LinkInfo>> list_links(nl_sock* socket) {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_link_alloc_cache(socket, AF_UNSPEC, &raw); error < 0) {
    return fail_nl("cannot list links", error);
  }
  const NlCache cache(raw);
  std::vector<LinkInfo> links;
  nl_cache_foreach(cache.get(), collect_link, &links);
  return links;
}

struct Netlink::Impl {
  NlSocket socket;

  // From the kernel each time: a cache would not know of links that others made.
  Result<NlLink> find(const std::string& name) {
    FL_TRY_VOID(check_name(name));
    rtnl_link* raw = nullptr;
    if (const int error = rtnl_link_get_kernel(socket.get(), 0, name.c_str(), &raw); error < 0) {
      return fail_nl(cat("link ", name), error);
    }
    return NlLink(raw);
  }

  Result<void> add(const std::string& name, const char* kind) {
    FL_TRY_VOID(check_name(name));
    const NlLink link(rtnl_link_alloc());
    rtnl_link_set_name(link.get(), name.c_str());
    rtnl_link_set_type(link.get(), kind);
    const int error = rtnl_link_add(socket.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (error < 0) return fail_nl(cat("cannot add ", kind, " ", name), error);
    return {};
  }

  // `fill` puts what is to be different into an empty link.
  template <class Fill>
  Result<void> change(const std::string& name, std::string_view what, Fill fill) {
    FL_TRY(const NlLink link, find(name));
    const NlLink changes(rtnl_link_alloc());
    fill(changes.get());
    const int error = rtnl_link_change(socket.get(), link.get(), changes.get(), 0);
    if (error < 0) return fail_nl(cat("link ", name, ": cannot ", what), error);
    return {};
  }

  Result<NlIfAddr> make_address(const std::string& link, const Ip& ip, int bits) {
    if (bits < 0 || bits > family_bits(ip)) {
      return fail(cat("address ", ip.to_string(), ": prefix length ", bits, ", expected 0 to ",
                      family_bits(ip)));
    }
    FL_TRY(const NlLink found, find(link));
    NlIfAddr address(rtnl_addr_alloc());
    rtnl_addr_set_ifindex(address.get(), rtnl_link_get_ifindex(found.get()));
    rtnl_addr_set_local(address.get(), to_nl_addr(ip, bits).get());
    if (!ip.is_v4()) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
    return address;
  }

  Result<NlRoute> make_route(const RouteRequest& request) {
    NlRoute route(rtnl_route_alloc());
    const Ip& base = request.destination.base;
    rtnl_route_set_family(route.get(), base.is_v4() ? AF_INET : AF_INET6);
    rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
    rtnl_route_set_dst(route.get(), to_nl_addr(base, request.destination.bits).get());
    if (request.source) {
      rtnl_route_set_pref_src(route.get(),
                              to_nl_addr(*request.source, family_bits(*request.source)).get());
    }
    if (request.link.empty() && !request.gateway) {
      return fail(cat("route to ", request.destination.to_string(),
                      ": expected a gateway, a link or both"));
    }
    rtnl_nexthop* hop = rtnl_route_nh_alloc();
    rtnl_route_add_nexthop(route.get(), hop);  // takes it
    if (request.gateway) {
      rtnl_route_nh_set_gateway(hop,
                                to_nl_addr(*request.gateway, family_bits(*request.gateway)).get());
    }
    if (!request.link.empty()) {
      FL_TRY(const NlLink link, find(request.link));
      rtnl_route_nh_set_ifindex(hop, rtnl_link_get_ifindex(link.get()));
    }
    return route;
  }
};

Netlink::Netlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Netlink::Netlink(Netlink&&) noexcept = default;
Netlink& Netlink::operator=(Netlink&&) noexcept = default;
Netlink::~Netlink() = default;

Result<Netlink> Netlink::open() {
  auto impl = std::make_unique<Impl>();
  FL_TRY(impl->socket, open_route_socket());
  return Netlink(std::move(impl));
}

Result<void> Netlink::add_veth(const std::string& name, const std::string& peer,
                               int peer_netns_fd) {
  FL_TRY_VOID(check_name(name));
  FL_TRY_VOID(check_name(peer));
  const NlLink link(rtnl_link_veth_alloc());
  rtnl_link_set_name(link.get(), name.c_str());
  const NlLink other(rtnl_link_veth_get_peer(link.get()));
  rtnl_link_set_name(other.get(), peer.c_str());
  if (peer_netns_fd >= 0) rtnl_link_set_ns_fd(other.get(), peer_netns_fd);
  const int error = rtnl_link_add(impl_->socket.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL);
  if (error < 0) return fail_nl(cat("cannot add veth pair ", name, ", ", peer), error);
  return {};
}

Result<void> Netlink::add_bridge(const std::string& name) { return impl_->add(name, "bridge"); }
Result<void> Netlink::add_dummy(const std::string& name) { return impl_->add(name, "dummy"); }

Result<void> Netlink::delete_link(const std::string& name) {
  FL_TRY(const NlLink link, impl_->find(name));
  const int error = rtnl_link_delete(impl_->socket.get(), link.get());
  if (error < 0) return fail_nl(cat("cannot delete link ", name), error);
  return {};
}

Result<void> Netlink::set_up(const std::string& name) {
  return impl_->change(name, "set it up", [](rtnl_link* l) { rtnl_link_set_flags(l, IFF_UP); });
}

Result<void> Netlink::set_down(const std::string& name) {
  return impl_->change(name, "set it down", [](rtnl_link* l) { rtnl_link_unset_flags(l, IFF_UP); });
}

Result<void> Netlink::set_mtu(const std::string& name, uint32_t mtu) {
  return impl_->change(name, cat("set MTU ", mtu),
                       [&](rtnl_link* link) { rtnl_link_set_mtu(link, mtu); });
}

Result<void> Netlink::set_mac(const std::string& name, const std::string& mac) {
  nl_addr* raw = nullptr;
  constexpr unsigned int mac_bytes = 6;
  const int error = nl_addr_parse(mac.c_str(), AF_LLC, &raw);
  const NlAddr addr(raw);
  if (error < 0 || nl_addr_get_len(raw) != mac_bytes) {
    return fail(cat("MAC address \"", mac, "\": expected six hex pairs with colons"));
  }
  return impl_->change(name, cat("set MAC address ", mac),
                       [&](rtnl_link* link) { rtnl_link_set_addr(link, addr.get()); });
}

Result<void> Netlink::set_master(const std::string& name, const std::string& bridge) {
  int index = 0;
  if (!bridge.empty()) {
    FL_TRY(const NlLink master, impl_->find(bridge));
    index = rtnl_link_get_ifindex(master.get());
  }
  return impl_->change(name, cat("set master \"", bridge, "\""),
                       [&](rtnl_link* link) { rtnl_link_set_master(link, index); });
}

Result<void> Netlink::move_to_netns(const std::string& name, int netns_fd) {
  return impl_->change(name, "move it to another namespace",
                       [&](rtnl_link* link) { rtnl_link_set_ns_fd(link, netns_fd); });
}

Result<void> Netlink::add_address(const std::string& link, const Ip& ip, int bits) {
  FL_TRY(const NlIfAddr address, impl_->make_address(link, ip, bits));
  const int error = rtnl_addr_add(impl_->socket.get(), address.get(), NLM_F_CREATE | NLM_F_EXCL);
  if (error < 0 && error != -NLE_EXIST) {
    return fail_nl(cat("link ", link, ": cannot add address ", ip.to_string(), "/", bits), error);
  }
  return {};
}

Result<void> Netlink::delete_address(const std::string& link, const Ip& ip, int bits) {
  FL_TRY(const NlIfAddr address, impl_->make_address(link, ip, bits));
  const int error = rtnl_addr_delete(impl_->socket.get(), address.get(), 0);
  if (error < 0) {
    return fail_nl(cat("link ", link, ": cannot delete address ", ip.to_string(), "/", bits),
                   error);
  }
  return {};
}

Result<void> Netlink::add_route(const RouteRequest& request) {
  FL_TRY(const NlRoute route, impl_->make_route(request));
  const int error = rtnl_route_add(impl_->socket.get(), route.get(), NLM_F_CREATE | NLM_F_EXCL);
  if (error < 0 && error != -NLE_EXIST) {
    return fail_nl(cat("cannot add route to ", request.destination.to_string()), error);
  }
  return {};
}

Result<void> Netlink::delete_route(const RouteRequest& request) {
  FL_TRY(const NlRoute route, impl_->make_route(request));
  const int error = rtnl_route_delete(impl_->socket.get(), route.get(), 0);
  if (error < 0) {
    return fail_nl(cat("cannot delete route to ", request.destination.to_string()), error);
  }
  return {};
}

Result<void> Netlink::add_local(const LocalRoute& route, uint8_t protocol) {
  const NlRoute request = make_local(route.ip, protocol);
  if (route.source) {
    const NlAddr source = to_nl_addr(*route.source, family_bits(*route.source));
    rtnl_route_set_pref_src(request.get(), source.get());
  }
  const int error = rtnl_route_add(impl_->socket.get(), request.get(), NLM_F_CREATE | NLM_F_APPEND);
  if (error < 0) return fail_nl(cat("cannot make ", route.ip.to_string(), " local"), error);
  return {};
}

Result<void> Netlink::delete_local(const Ip& ip, uint8_t protocol) {
  const NlRoute request = make_local(ip, protocol);
  const int error = rtnl_route_delete(impl_->socket.get(), request.get(), 0);
  if (error < 0) return fail_nl(cat("cannot delete the local route to ", ip.to_string()), error);
  return {};
}

Result<std::vector<LocalRoute>> Netlink::locals(uint8_t protocol) {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_route_alloc_cache(impl_->socket.get(), AF_UNSPEC, 0, &raw);
      error < 0) {
    return fail_nl("cannot list routes", error);
  }
  const NlCache cache(raw);
  Locals wanted{protocol, {}};
  nl_cache_foreach(cache.get(), collect_local, &wanted);
  return std::move(wanted.routes);
}

Result<std::vector<LinkInfo>> Netlink::links() { return list_links(impl_->socket.get()); }

Result<LinkInfo> Netlink::link(const std::string& name) {
  FL_TRY(const NlLink found, impl_->find(name));
  return to_link_info(found.get());
}

Result<std::vector<AddressInfo>> Netlink::addresses() {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_addr_alloc_cache(impl_->socket.get(), &raw); error < 0) {
    return fail_nl("cannot list addresses", error);
  }
  const NlCache cache(raw);
  std::vector<AddressInfo> addresses;
  nl_cache_foreach(cache.get(), collect_address, &addresses);
  return addresses;
}

}  // namespace fairlead::net
