// The machine's own addresses, in a network namespace of the test's.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <thread>

#include "agent/node_facts.h"
#include "net/netlink.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::agent {
namespace {

void in_own_namespace(const std::function<void(net::Netlink&)>& act) {
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    auto netlink = net::Netlink::open();
    ASSERT_TRUE(netlink) << netlink.error().message;
    act(*netlink);
  }).join();
}

void give(net::Netlink& netlink, const std::string& link, std::string_view address, int bits) {
  const auto given = netlink.add_address(link, *Ip::parse(address), bits);
  ASSERT_TRUE(given) << given.error().message;
}

std::vector<std::string> addresses() {
  std::vector<std::string> out;
  for (const Ip& ip : read_host_addresses()) out.push_back(ip.to_string());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(HostAddresses, AreThoseThatOthersCanReach) {
  SKIP_WHERE_MISSING(dataplane::Missing{&dataplane::why_no_namespaces});
  in_own_namespace([](net::Netlink& netlink) {
    EXPECT_TRUE(addresses().empty());
    ASSERT_TRUE(netlink.set_up("lo"));
    ASSERT_TRUE(netlink.add_veth("uplink", "other"));
    give(netlink, "uplink", "192.0.2.7", 24);
    give(netlink, "uplink", "169.254.3.4", 16);
    give(netlink, "uplink", "2001:db8::7", 64);
    give(netlink, "uplink", "fe80::7", 64);
    give(netlink, "uplink", "febf::7", 64);
    give(netlink, "uplink", "fec0::7", 64);
    EXPECT_EQ(addresses(), (std::vector<std::string>{"192.0.2.7", "2001:db8::7", "fec0::7"}))
        << "neither loopback nor link-local ones";
  });
}

// Where a kernel has no dummy devices it has no IPVS mode, either.
std::string why_no_dummy() {
  std::string why;
  in_own_namespace([&](net::Netlink& netlink) {
    if (const auto made = netlink.add_dummy("d"); !made) why = made.error().message;
  });
  return why;
}

// IPVS needs every address of a Service on some device of the node.
TEST(HostAddresses, AreNotThoseOfServices) {
  SKIP_WHERE_MISSING((dataplane::Missing{&why_no_dummy, "FAIRLEAD_NEED_IPVS=1"}));
  in_own_namespace([](net::Netlink& netlink) {
    for (const char* device : {"kube-ipvs0", "uplink"}) ASSERT_TRUE(netlink.add_dummy(device));
    give(netlink, "kube-ipvs0", "10.96.0.1", 32);
    give(netlink, "kube-ipvs0", "fd00:96::1", 128);
    EXPECT_TRUE(addresses().empty());
    give(netlink, "uplink", "192.0.2.7", 24);
    EXPECT_EQ(addresses(), std::vector<std::string>{"192.0.2.7"});
  });
}

}  // namespace
}  // namespace fairlead::agent
