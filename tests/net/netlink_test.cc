#include "net/netlink.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/socket.h"
#include "tests/net/netns_rig.h"

namespace fairlead::net {
namespace {

Ip ip(std::string_view text) { return *Ip::parse(text); }

bool has_address(Netlink& netlink, const std::string& link, const Ip& address, int bits) {
  const int index = netlink.link(link).value().index;
  const auto addresses = netlink.addresses();
  for (const AddressInfo& row : *addresses) {
    if (row == AddressInfo{index, address, static_cast<uint8_t>(bits)}) return true;
  }
  return false;
}

TEST(Netlink, NewNamespaceHasOnlyLoopbackAndItIsUp) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  const auto links = by_name(netlink);
  ASSERT_TRUE(links.contains("lo"));
  EXPECT_TRUE(links.at("lo").up);
  EXPECT_TRUE(has_address(netlink, "lo", ip("127.0.0.1"), 8));
  for (const auto& [name, link] : links) EXPECT_TRUE(name == "lo" || !link.up) << name;
}

TEST(Netlink, BridgeAndItsPortLiveAndGo) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("br0"));
  ASSERT_OK(netlink.add_veth("port0", "port1"));
  ASSERT_OK(netlink.set_up("port0"));
  ASSERT_OK(netlink.set_mtu("port0", 1400));
  ASSERT_OK(netlink.set_mac("port0", "02:00:00:00:00:2a"));
  ASSERT_OK(netlink.set_master("port0", "br0"));
  auto links = by_name(netlink);
  EXPECT_EQ(links.at("br0").kind, "bridge");
  EXPECT_FALSE(links.at("br0").up);
  const LinkInfo port = links.at("port0");
  EXPECT_EQ(port.kind, "veth");
  EXPECT_TRUE(port.up);
  EXPECT_EQ(port.mtu, 1400u);
  EXPECT_EQ(port.mac, "02:00:00:00:00:2a");
  EXPECT_EQ(port.master_index, links.at("br0").index);
  EXPECT_EQ(netlink.link("port0").value(), port);
  ASSERT_OK(netlink.set_master("port0", ""));
  ASSERT_OK(netlink.set_down("port0"));
  links = by_name(netlink);
  EXPECT_EQ(links.at("port0").master_index, 0);
  EXPECT_FALSE(links.at("port0").up);
  ASSERT_OK(netlink.delete_link("port0"));
  ASSERT_OK(netlink.delete_link("br0"));
  links = by_name(netlink);
  EXPECT_FALSE(links.contains("port0"));
  EXPECT_FALSE(links.contains("br0"));
}

TEST(Netlink, DummyIsAddedOrRefusedByTheKernel) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  const auto added = netlink.add_dummy("d0");
  if (added) {
    EXPECT_EQ(netlink.link("d0").value().kind, "dummy");
  } else {
    EXPECT_EQ(added.error().message, "cannot add dummy d0: Operation not supported");
  }
}

TEST(Netlink, VethPairJoinsTwoNamespaces) {
  NEED_NAMESPACES();
  TestNetns left("l"), right("r");
  {
    const auto scope = NetnsScope::enter(*left.netns);
    auto netlink = Netlink::open().value();
    ASSERT_OK(netlink.add_veth("eth-l", "eth-r", right.netns->fd()));
    ASSERT_OK(netlink.set_up("eth-l"));
    ASSERT_OK(netlink.add_address("eth-l", ip("10.9.0.1"), 24));
    ASSERT_OK(netlink.add_address("eth-l", ip("fd09::1"), 64));
    ASSERT_OK(netlink.add_address("eth-l", ip("fd09::1"), 64));  // again: no error
    EXPECT_FALSE(by_name(netlink).contains("eth-r"));
    EXPECT_TRUE(has_address(netlink, "eth-l", ip("10.9.0.1"), 24));
    EXPECT_TRUE(has_address(netlink, "eth-l", ip("fd09::1"), 64));
    ASSERT_OK(netlink.delete_address("eth-l", ip("10.9.0.1"), 24));
    EXPECT_FALSE(has_address(netlink, "eth-l", ip("10.9.0.1"), 24));
  }
  const auto scope = NetnsScope::enter(*right.netns);
  auto netlink = Netlink::open().value();
  const LinkInfo link = netlink.link("eth-r").value();
  EXPECT_EQ(link.kind, "veth");
  EXPECT_FALSE(link.up);
  EXPECT_GT(link.peer_index, 0);
}

TEST(Netlink, LinkMovesToAnotherNamespace) {
  NEED_NAMESPACES();
  TestNetns left("l"), right("r");
  {
    const auto scope = NetnsScope::enter(*left.netns);
    auto netlink = Netlink::open().value();
    ASSERT_OK(netlink.add_veth("v0", "v1"));
    const auto links = by_name(netlink);
    EXPECT_EQ(links.at("v0").peer_index, links.at("v1").index);
    EXPECT_EQ(links.at("v1").peer_index, links.at("v0").index);
    ASSERT_OK(netlink.move_to_netns("v1", right.netns->fd()));
    EXPECT_FALSE(by_name(netlink).contains("v1"));
  }
  const auto scope = NetnsScope::enter(*right.netns);
  auto netlink = Netlink::open().value();
  EXPECT_TRUE(by_name(netlink).contains("v1"));
}

TEST(Netlink, RoutesAreAddedAndDeleted) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("d0"));
  ASSERT_OK(netlink.set_up("d0"));
  ASSERT_OK(netlink.add_address("d0", ip("10.8.0.2"), 24));
  ASSERT_OK(netlink.add_address("d0", ip("fd08::2"), 64));
  const RouteRequest table[] = {
      {.destination = *Cidr::parse("0.0.0.0/0"), .gateway = ip("10.8.0.1")},
      {.destination = *Cidr::parse("10.96.0.0/12"), .gateway = ip("10.8.0.1"), .link = "d0"},
      {.destination = *Cidr::parse("192.0.2.0/24"), .link = "d0", .source = ip("10.8.0.2")},
      {.destination = *Cidr::parse("::/0"), .gateway = ip("fd08::1"), .link = "d0"},
      {.destination = *Cidr::parse("fd00:1::/64"), .link = "d0"},
  };
  for (const RouteRequest& route : table) {
    SCOPED_TRACE(route.destination.to_string());
    ASSERT_OK(netlink.add_route(route));
    ASSERT_OK(netlink.add_route(route));  // again: no error
    ASSERT_OK(netlink.delete_route(route));
    EXPECT_FALSE(netlink.delete_route(route).has_value());
  }
}

TEST(Netlink, ErrorsNameTheLinkAndTheReason) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("d0"));
  struct Row {
    Result<void> result;
    std::string part;
  };
  const Row table[] = {
      {netlink.add_bridge("d0"), "cannot add bridge d0: Object exists"},
      {netlink.add_bridge(""), "link name \"\": expected 1 to 15"},
      {netlink.add_bridge("sixteencharacter"), "link name \"sixteencharacter\""},
      {netlink.add_bridge("a/b"), "link name \"a/b\""},
      {netlink.add_veth("ok", "not ok"), "link name \"not ok\""},
      {netlink.set_up("none"), "link none: "},
      {netlink.delete_link("none"), "link none: "},
      {netlink.set_mac("d0", "zz"), "MAC address \"zz\""},
      {netlink.set_mtu("d0", 4'000'000'000u), "link d0: cannot set MTU 4000000000"},
      {netlink.set_master("d0", "none"), "link none: "},
      {netlink.add_address("d0", ip("10.0.0.1"), 33), "prefix length 33, expected 0 to 32"},
      {netlink.add_address("none", ip("10.0.0.1"), 32), "link none: "},
      {netlink.add_route({.destination = *Cidr::parse("10.0.0.0/8")}), "expected a gateway"},
      {netlink.add_route({.destination = *Cidr::parse("10.0.0.0/8"), .gateway = ip("10.1.1.1")}),
       "cannot add route to 10.0.0.0/8: "},
      {netlink.move_to_netns("d0", 999), "link d0: cannot move it to another namespace: "},
  };
  for (const Row& row : table) {
    ASSERT_FALSE(row.result.has_value()) << row.part;
    EXPECT_NE(row.result.error().message.find(row.part), std::string::npos)
        << row.result.error().message;
  }
}

constexpr uint8_t our_routes = 146, their_routes = 147;

TEST(Netlink, LocalRoutesBelongToAProtocol) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_veth("d0", "d1"));
  ASSERT_OK(netlink.set_up("d0"));
  ASSERT_OK(netlink.add_address("d0", ip("10.9.0.1"), 24));
  ASSERT_OK(netlink.add_address("d0", ip("fd00:9::1"), 64));
  const std::vector<LocalRoute> ours = {{ip("10.96.0.1"), ip("10.9.0.1")},
                                        {ip("10.96.0.2"), {}},
                                        {ip("fd96::1"), ip("fd00:9::1")},
                                        {ip("fd96::2"), {}}};
  EXPECT_TRUE(netlink.locals(our_routes)->empty());
  for (const LocalRoute& route : ours) ASSERT_OK(netlink.add_local(route, our_routes));
  ASSERT_OK(netlink.add_local({ip("10.96.0.3"), {}}, their_routes));
  auto found = netlink.locals(our_routes).value();
  std::ranges::sort(found, {}, &LocalRoute::ip);
  auto sorted = ours;
  std::ranges::sort(sorted, {}, &LocalRoute::ip);
  EXPECT_EQ(found, sorted);
  // They are addresses of this host, and connections to them have the source that was asked for.
  const Fd listener = listen_tcp({Ip{}, 0}).value();
  const uint16_t port = local_address(listener.get())->port;
  for (const LocalRoute& route : {ours[0], ours[2]}) {
    const Fd client = start_connect({route.ip, port}).value();
    EXPECT_EQ(local_address(client.get())->ip, *route.source);
    pollfd ready{listener.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ready, 1, 2000), 1) << route.ip.to_string();
    EXPECT_TRUE(Fd(::accept(listener.get(), nullptr, nullptr)));
  }
  for (const LocalRoute& route : ours) ASSERT_OK(netlink.delete_local(route.ip, our_routes));
  EXPECT_TRUE(netlink.locals(our_routes)->empty());
  EXPECT_EQ(netlink.locals(their_routes)->size(), 1u);
}

TEST(Netlink, LocalRoutesThatCannotBeAreErrors) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_local({ip("10.96.0.1"), {}}, our_routes));
  struct Case {
    Result<void> result;
    std::string_view says;
  };
  const Case cases[] = {
      {netlink.add_local({ip("10.96.0.1"), {}}, our_routes), "cannot make 10.96.0.1 local"},
      {netlink.add_local({ip("10.96.0.2"), ip("1.2.3.4")}, our_routes), "10.96.0.2"},
      {netlink.delete_local(ip("10.96.0.1"), their_routes), "local route to 10.96.0.1"},
      {netlink.delete_local(ip("fd96::1"), our_routes), "local route to fd96::1"},
  };
  for (const Case& c : cases) {
    ASSERT_FALSE(c.result) << c.says;
    EXPECT_NE(c.result.error().message.find(c.says), std::string::npos) << c.result.error().message;
  }
  EXPECT_EQ(netlink.locals(our_routes)->size(), 1u);
}

}  // namespace
}  // namespace fairlead::net
