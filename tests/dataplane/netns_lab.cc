#include "tests/dataplane/netns_lab.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {
namespace {

net::Fd current_netns() {
  return net::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

}  // namespace

std::string why_no_namespaces() {
  std::string why;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      why = "network namespaces need root";
      return;
    }
    const auto runner = make_nft_runner();
    const auto made = runner->run(
        "add table inet probe\nadd chain inet probe c { type nat hook "
        "output priority -100; }\ndelete table inet probe\n");
    if (!made) why = cat("no nf_tables in this kernel: ", made.error().message);
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
  const std::string far = cat("/proc/self/fd/", spaces_.at(name).get());
  const std::string v4 = cat("10.", net, ".0."), v6 = cat("fd00:", net, "::");
  in("node", [&] {
    shell(cat("ip link add ", name, " type veth peer name eth0 && ip link set eth0 netns ", far,
              " && ip addr add ", v4, "1/24 dev ", name, " && ip addr add ", v6, "1/64 dev ", name,
              " nodad && ip link set ", name, " up"));
  });
  in(name, [&] {
    std::string commands = "ip link set eth0 up";
    std::vector<int> hosts{2};
    hosts.insert(hosts.end(), extra.begin(), extra.end());
    for (const int host : hosts) {
      append(commands, cat(" && ip addr add ", v4, host, "/24 dev eth0 && ip addr add ", v6, host,
                           "/64 dev eth0 nodad"));
    }
    shell(cat(commands, " && ip route add default via ", v4, "1 && ip -6 route add default via ",
              v6, "1"));
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
