// The doors to the kernel, real ones and those in memory: what one refuses the other refuses, or
// the tests on fakes would say nothing about kernels.
#include <gtest/gtest.h>

#include "net/netlink.h"
#include "tests/dataplane/ipvs/kernel.h"

namespace fairlead::dataplane::ipvs {
namespace {

std::string why_no_dummy() {
  std::string why = why_no_namespaces();
  if (!why.empty()) return why;
  std::thread([&] {
    const FreshNetns fresh;
    if (const auto made = net::Netlink::open()->add_dummy("d"); !made) why = made.error().message;
  }).join();
  return why;
}

std::string kind_name(const testing::TestParamInfo<bool>& info) {
  return info.param ? "Real" : "Fake";
}

const ServiceKey tcp4{*Ip::parse("10.96.0.1"), Protocol::tcp, 80};
const ServiceKey udp6{*Ip::parse("fd96::1"), Protocol::udp, 53};
const SocketAddress first{*Ip::parse("10.0.0.1"), 8080}, second{*Ip::parse("10.0.0.2"), 8080};

class IpvsTableDoor : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      SKIP_WHERE_MISSING(missing_ipvs);
      netns_ = std::make_unique<FreshNetns>();
      table_ = make_kernel_table();
    } else {
      table_ = std::make_unique<FakeTable>();
    }
    ASSERT_TRUE(table_->open());
    ASSERT_TRUE(table_->open()) << "a second time does nothing";
  }

  bool write(Verb verb, const ServiceKey& key, const Settings& settings = {}) {
    return table_->write({.verb = verb, .key = key, .settings = settings}).has_value();
  }
  bool write(Verb verb, const ServiceKey& key, const SocketAddress& address, uint32_t weight = 1) {
    return table_
        ->write({.verb = verb, .key = key, .address = address, .destination = {.weight = weight}})
        .has_value();
  }
  std::string listed() {
    const auto services = table_->list();
    if (!services) return cat("error: ", services.error().message);
    std::string out;
    for (const auto& [key, service] : *services) {
      for (const std::string& line : lines(key, service)) append(out, cat(line, "\n"));
    }
    return out;
  }

  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<Table> table_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, IpvsTableDoor, testing::Values(false, true), kind_name);

TEST_P(IpvsTableDoor, ServicesAreThereOnceAndChangeOnlyWhenTheyAre) {
  EXPECT_EQ(listed(), "");
  EXPECT_FALSE(write(Verb::edit_service, tcp4, {"rr", false, 0}));
  EXPECT_FALSE(write(Verb::delete_service, tcp4));
  EXPECT_TRUE(write(Verb::add_service, tcp4, {"rr", false, 0}));
  EXPECT_FALSE(write(Verb::add_service, tcp4, {"wlc", false, 0}));
  EXPECT_EQ(listed(), "-A -t 10.96.0.1:80 -s rr\n");
  EXPECT_TRUE(write(Verb::edit_service, tcp4, {"mh", true, 60}));
  EXPECT_EQ(listed(), "-A -t 10.96.0.1:80 -s mh -p 60 -b mh-port\n");
  EXPECT_TRUE(write(Verb::edit_service, tcp4, {"wlc", false, 0}));
  EXPECT_EQ(listed(), "-A -t 10.96.0.1:80 -s wlc\n");
  EXPECT_FALSE(write(Verb::add_service, udp6, {"best", false, 0}));
  EXPECT_TRUE(write(Verb::add_service, udp6, {"sh", false, 10800}));
  EXPECT_EQ(listed(), "-A -t 10.96.0.1:80 -s wlc\n-A -u [fd96::1]:53 -s sh -p 10800\n");
  EXPECT_TRUE(write(Verb::delete_service, tcp4));
  EXPECT_FALSE(write(Verb::delete_service, tcp4));
  EXPECT_EQ(listed(), "-A -u [fd96::1]:53 -s sh -p 10800\n");
}

TEST_P(IpvsTableDoor, DestinationsAreThereOnceAndGoWithTheirService) {
  EXPECT_FALSE(write(Verb::add_destination, tcp4, first)) << "no such service";
  EXPECT_EQ(table_->destinations(tcp4).value(), Destinations()) << "of no service: none";
  ASSERT_TRUE(write(Verb::add_service, tcp4));
  EXPECT_FALSE(write(Verb::edit_destination, tcp4, first));
  EXPECT_FALSE(write(Verb::delete_destination, tcp4, first));
  EXPECT_TRUE(write(Verb::add_destination, tcp4, first));
  EXPECT_FALSE(write(Verb::add_destination, tcp4, first));
  EXPECT_TRUE(write(Verb::add_destination, tcp4, second, 0));
  EXPECT_TRUE(write(Verb::edit_destination, tcp4, first, 65535));
  const Destinations wanted = {{first, {.weight = 65535}}, {second, {.weight = 0}}};
  EXPECT_EQ(table_->destinations(tcp4).value(), wanted);
  EXPECT_EQ(table_->list()->at(tcp4).destinations, wanted);
  // Other settings leave the destinations.
  EXPECT_TRUE(write(Verb::edit_service, tcp4, {"lc", false, 0}));
  EXPECT_EQ(table_->destinations(tcp4).value(), wanted);
  EXPECT_TRUE(write(Verb::delete_destination, tcp4, first));
  EXPECT_EQ(table_->destinations(tcp4)->size(), 1u);
  EXPECT_TRUE(write(Verb::delete_service, tcp4));
  ASSERT_TRUE(write(Verb::add_service, tcp4));
  EXPECT_EQ(table_->destinations(tcp4).value(), Destinations());
}

TEST_P(IpvsTableDoor, OneDestinationMayServeManyServices) {
  for (uint16_t port = 1; port <= 40; ++port) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
      const ServiceKey key{tcp4.ip, protocol, port};
      ASSERT_TRUE(write(Verb::add_service, key)) << to_text(key);
      ASSERT_TRUE(write(Verb::add_destination, key, first));
    }
  }
  const auto all = table_->list();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 120u);
  for (const auto& [key, service] : *all) EXPECT_EQ(service.destinations.size(), 1u);
}

class IpvsHostDoor : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      SKIP_WHERE_MISSING((Missing{&why_no_dummy, "FAIRLEAD_NEED_IPVS=1"}));
      netns_ = std::make_unique<FreshNetns>();
      host_ = make_kernel_host();
    } else {
      host_ = std::make_unique<FakeHost>();
    }
    ASSERT_TRUE(host_->open("vips"));
  }
  HostAddresses seen() {
    const auto all = host_->addresses();
    EXPECT_TRUE(all) << all.error().message;
    return all ? *all : HostAddresses();
  }

  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<Host> host_;
};
INSTANTIATE_TEST_SUITE_P(Kernels, IpvsHostDoor, testing::Values(false, true), kind_name);

TEST_P(IpvsHostDoor, TheInterfaceIsMadeWhenItIsAskedForAndGoesWithItsAddresses) {
  EXPECT_FALSE(seen().has_device);
  EXPECT_TRUE(host_->remove_device()) << "there is none";
  EXPECT_FALSE(host_->add(tcp4.ip)) << "to what?";
  EXPECT_TRUE(host_->make_device());
  EXPECT_TRUE(host_->make_device()) << "it is there";
  EXPECT_TRUE(seen().has_device);
  EXPECT_EQ(seen().device, std::set<Ip>());
  EXPECT_TRUE(host_->add(tcp4.ip));
  EXPECT_TRUE(host_->remove_device());
  EXPECT_FALSE(seen().has_device);
  EXPECT_EQ(seen().device, std::set<Ip>());
  EXPECT_TRUE(host_->make_device());
  EXPECT_EQ(seen().device, std::set<Ip>()) << "nothing of the one before";
}

TEST_P(IpvsHostDoor, AddressesAreThereOnceWhateverIsAsked) {
  ASSERT_TRUE(host_->make_device());
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(host_->add(tcp4.ip));
    EXPECT_TRUE(host_->add(udp6.ip));
    EXPECT_EQ(seen().device, (std::set<Ip>{tcp4.ip, udp6.ip}));
  }
  for (int i = 0; i < 2; ++i) {
    const auto removed = host_->remove(tcp4.ip);
    EXPECT_TRUE(removed) << removed.error().message;
    EXPECT_EQ(seen().device, std::set<Ip>{udp6.ip});
  }
}

// What only a kernel has.
class IpvsRealHost : public IpvsHostDoor {};
INSTANTIATE_TEST_SUITE_P(Kernels, IpvsRealHost, testing::Values(true), kind_name);

TEST_P(IpvsRealHost, AddressesOfOthersAreSeenAsTheirs) {
  ASSERT_TRUE(host_->make_device());
  ASSERT_TRUE(host_->add(tcp4.ip));
  auto netlink = *net::Netlink::open();
  ASSERT_TRUE(netlink.add_dummy("other"));
  ASSERT_TRUE(netlink.add_address("other", *Ip::parse("192.0.2.1"), 24));
  const HostAddresses all = seen();
  EXPECT_EQ(all.device, std::set<Ip>{tcp4.ip}) << "without its link-local address";
  EXPECT_TRUE(all.elsewhere.contains(*Ip::parse("192.0.2.1")));
  EXPECT_FALSE(all.elsewhere.contains(tcp4.ip));
  // Also before ours is there.
  ASSERT_TRUE(host_->remove_device());
  EXPECT_TRUE(seen().elsewhere.contains(*Ip::parse("192.0.2.1")));
}

TEST_P(IpvsRealHost, AnInterfaceOfAnotherKindIsNotTaken) {
  auto netlink = *net::Netlink::open();
  ASSERT_TRUE(netlink.add_bridge("vips"));
  const auto made = host_->make_device();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message, "interface vips is of kind \"bridge\", expected dummy");
}

TEST_P(IpvsRealHost, AnInterfaceThatIsDownComesUp) {
  ASSERT_TRUE(host_->make_device());
  auto netlink = *net::Netlink::open();
  ASSERT_TRUE(netlink.set_down("vips"));
  ASSERT_TRUE(host_->make_device());
  EXPECT_TRUE(netlink.link("vips")->up);
}

TEST_P(IpvsRealHost, SysctlsAreThoseOfTheNamespace) {
  EXPECT_TRUE(host_->write_sysctl("net/ipv4/conf/all/arp_ignore", "1"));
  EXPECT_FALSE(host_->write_sysctl("net/ipv4/conf/all/no_such", "1"));
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
