// What is said when the kernel does not allow this process what it asks for.
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>

#include <thread>

#include "net/conntrack.h"
#include "tests/net/netns_rig.h"

namespace fairlead::net {
namespace {

// On a thread of its own, in a network namespace of its own, without any privilege.
template <class Act>
void without_privileges(Act act) {
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2] = {};
    ASSERT_EQ(::syscall(SYS_capset, &header, none), 0);  // of this thread only
    act();
  }).join();
}

template <class T>
std::string said(const Result<T>& result) {
  return result ? "it was allowed" : result.error().message;
}

TEST(WithoutPrivileges, EachNetlinkRequestSaysWhatWasRefused) {
  NEED_NAMESPACES();
  without_privileges([] {
    const Ip v4 = *Ip::parse("10.0.0.1"), v6 = *Ip::parse("fd00::1");
    auto opened = Netlink::open();
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    Netlink& netlink = *opened;
    const std::pair<std::string, std::string> table[] = {
        {said(netlink.add_dummy("d0")), "cannot add dummy d0"},
        {said(netlink.add_bridge("b0")), "cannot add bridge b0"},
        {said(netlink.add_veth("v0", "v1")), "cannot add veth pair v0, v1"},
        {said(netlink.delete_link("lo")), "cannot delete link lo"},
        {said(netlink.set_up("lo")), "link lo: cannot set it up"},
        {said(netlink.set_down("lo")), "link lo: cannot set it down"},
        {said(netlink.set_mtu("lo", 1500)), "link lo: cannot set MTU 1500"},
        {said(netlink.set_mac("lo", "02:00:00:00:00:01")),
         "link lo: cannot set MAC address 02:00:00:00:00:01"},
        {said(netlink.set_master("lo", "")), "link lo: cannot set master \"\""},
        {said(netlink.add_address("lo", v4, 32)), "link lo: cannot add address 10.0.0.1/32"},
        {said(netlink.add_address("lo", v6, 128)), "link lo: cannot add address fd00::1/128"},
        {said(netlink.delete_address("lo", v4, 32)), "link lo: cannot delete address 10.0.0.1/32"},
        {said(netlink.add_route({.destination = *Cidr::parse("fd00::/64"), .link = "lo"})),
         "cannot add route to fd00::/64"},
        {said(netlink.delete_route({.destination = *Cidr::parse("10.0.0.0/8"), .link = "lo"})),
         "cannot delete route to 10.0.0.0/8"},
        {said(netlink.add_local({v6, {}}, 99)), "cannot make fd00::1 local"},
        {said(netlink.delete_local(v4, 99)), "cannot delete the local route to 10.0.0.1"},
    };
    for (const auto& [got, what] : table) EXPECT_EQ(got, what + ": Operation not permitted");
    EXPECT_TRUE(netlink.links().has_value()) << "to look is free";
    EXPECT_TRUE(netlink.addresses().has_value());
    EXPECT_TRUE(netlink.locals(99).has_value());
  });
}

TEST(WithoutPrivileges, TheConnectionTrackerIsNamed) {
  NEED_NAMESPACES();
  without_privileges([] {
    const auto conntrack = make_conntrack();
    const SocketAddress client = *SocketAddress::parse("10.0.0.1:4000");
    const SocketAddress server = *SocketAddress::parse("10.0.0.2:53");
    const TrackedFlow flow{Protocol::udp, client, server, server, client};
    const std::string refused = ": Operation not permitted";
    EXPECT_EQ(said(conntrack->flows(Protocol::udp)), "conntrack: cannot list flows" + refused);
    EXPECT_EQ(said(conntrack->find(flow)),
              "conntrack: cannot look up 10.0.0.1:4000 -> 10.0.0.2:53/UDP" + refused);
    EXPECT_EQ(said(conntrack->remove(flow)),
              "conntrack: cannot remove 10.0.0.1:4000 -> 10.0.0.2:53/UDP" + refused);
    EXPECT_EQ(said(conntrack->remove_unchanged(flow)),
              "conntrack: cannot look up 10.0.0.1:4000 -> 10.0.0.2:53/UDP" + refused);
    EXPECT_EQ(said(conntrack->adopt(client, server)),
              "conntrack: cannot take up 10.0.0.1:4000 -> 10.0.0.2:53/TCP" + refused);
  });
}

TEST(WithoutPrivileges, NobodyChangesNamespaces) {
  NEED_NAMESPACES();
  TestNetns space("a");
  without_privileges([&] {
    EXPECT_EQ(said(NetnsScope::enter(*space.netns)),
              "cannot enter a network namespace: Operation not permitted");
    EXPECT_EQ(said(Netns::create("fltest-refused")),
              "cannot share mount /run/netns: Operation not permitted");
  });
  EXPECT_FALSE(Netns::exists("fltest-refused"));
}

}  // namespace
}  // namespace fairlead::net
