#include "tests/dataplane/netns_lab.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "net/netlink.h"

namespace fairlead::dataplane {
namespace {

net::Fd current_netns() {
  return net::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

}  // namespace

bool is_required(const Missing& missing) {
  const std::string_view setting = missing.required;
  const size_t equals = setting.find('=');
  const char* value = std::getenv(std::string(setting.substr(0, equals)).c_str());
  return value != nullptr && value == setting.substr(equals + 1);
}

std::string why_no_namespaces() {
  std::string why;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      why = "network namespaces need root";
      return;
    }
    // By the tool, so that the tests of every mode can ask.
    if (std::system("nft 'add table inet probe; add chain inet probe c { type nat hook output "
                    "priority -100; }' >/dev/null 2>&1") != 0) {
      why = "no nf_tables in this kernel, or no nft(8)";
    }
  }).join();
  return why;
}

void shell(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

FreshNetns::FreshNetns() : home_(current_netns()) {
  EXPECT_EQ(::unshare(CLONE_NEWNET), 0);
  shell("ip link set lo up");
}

FreshNetns::~FreshNetns() { ::setns(home_.get(), CLONE_NEWNET); }

NetnsLab::NetnsLab() {
  std::thread([&] {
    const FreshNetns fresh;
    spaces_["node"] = current_netns();
    shell(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
        "net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
  }).join();
}

NetnsLab::~NetnsLab() = default;

void NetnsLab::add(const std::string& name, int net, const std::vector<int>& extra) {
  std::thread([&] {
    const FreshNetns fresh;
    spaces_[name] = current_netns();
  }).join();
  const Ip v4 = Ip::v4(static_cast<uint32_t>(10 << 24 | net << 16));
  const Ip v6 = *Ip::parse(cat("fd00:", net, "::"));
  const auto host = [&](const Ip& base, int last) {
    Ip ip = base;
    ip.bytes[15] = static_cast<uint8_t>(last);
    return ip;
  };
  const auto configure = [&](net::Netlink& netlink, const std::string& link, int last) {
    ASSERT_TRUE(netlink.add_address(link, host(v4, last), 24));
    ASSERT_TRUE(netlink.add_address(link, host(v6, last), 64));
  };
  in("node", [&] {
    auto netlink = net::Netlink::open();
    ASSERT_TRUE(netlink);
    const auto made = netlink->add_veth(name, "eth0", spaces_.at(name).get());
    ASSERT_TRUE(made) << made.error().message;
    configure(*netlink, name, 1);
    ASSERT_TRUE(netlink->set_up(name));
  });
  in(name, [&] {
    auto netlink = net::Netlink::open();
    ASSERT_TRUE(netlink);
    ASSERT_TRUE(netlink->set_up("eth0"));
    configure(*netlink, "eth0", 2);
    for (const int last : extra) configure(*netlink, "eth0", last);
    ASSERT_TRUE(netlink->add_route({*Cidr::parse("0.0.0.0/0"), host(v4, 1), "", {}}));
    ASSERT_TRUE(netlink->add_route({*Cidr::parse("::/0"), host(v6, 1), "", {}}));
  });
}

void NetnsLab::run_inside(const std::string& name, const std::function<void()>& body) {
  const int fd = spaces_.at(name).get();
  std::thread([&] {
    ASSERT_EQ(::setns(fd, CLONE_NEWNET), 0);
    body();
  }).join();
}

}  // namespace fairlead::dataplane
