// Real packets through IPVS; ipvsadm, ip and nft are outside witnesses.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <set>

#include "net/netns.h"
#include "tests/dataplane/ipvs/kernel.h"
#include "tests/dataplane/packet_contract.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "error: no pipe";
  std::array<char, 4096> buffer;
  while (const size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    out.append(buffer.data(), size);
  }
  return ::pclose(pipe) == 0 ? out : cat("error: ", out);
}

std::set<std::string> lines_of(const std::string& text, std::string_view start) {
  std::set<std::string> out;
  for (const std::string_view line : split(text, '\n')) {
    if (line.starts_with(start)) out.insert(std::string(trim(line)));
  }
  return out;
}

std::unique_ptr<Driver> make_driver(net::EventLoop& loop, const Log& log, Registry& registry) {
  return make_ipvs_driver({.drain_interval = std::chrono::milliseconds(20)}, loop, log, registry);
}

const PacketCase in_ipvs{"Ipvs", Mode::ipvs, make_driver, missing_ipvs, 40};
INSTANTIATE_TEST_SUITE_P(Ipvs, PacketContract, testing::Values(in_ipvs), packet_case_name);

// What is this mode's alone.
class IpvsPackets : public PacketContract {
 protected:
  // With other options than the contract's.
  void start_with(IpvsOptions options) {
    lab_->net().in("node", [&] {
      driver_ = make_ipvs_driver(std::move(options), loop_, Log(sink_), registry_);
      ASSERT_TRUE(driver_->start());
      ASSERT_TRUE(driver_->apply(table_, {}, true).ok());
    });
  }

  std::string ask_from(const std::string& where, std::string_view to,
                       Protocol protocol = Protocol::tcp, int timeout_ms = 3000) {
    std::string answer;
    lab_->net().in(where,
                   [&] { answer = ask({}, *SocketAddress::parse(to), protocol, timeout_ms); });
    return answer;
  }
};
INSTANTIATE_TEST_SUITE_P(Ipvs, IpvsPackets, testing::Values(in_ipvs), packet_case_name);

TEST_P(IpvsPackets, OtherTools) {
  start(table_);
  lab_->net().in("node", [&] {
    const std::string dump = driver_->dump();
    const std::string seen = output_of("ipvsadm -S -n");
    EXPECT_EQ(lines_of(seen, "-A"), lines_of(dump, "-A"));
    EXPECT_EQ(lines_of(seen, "-a"), lines_of(dump, "-a"));
    EXPECT_GT(lines_of(seen, "-A").size(), 50u);
    const std::string link = output_of("ip -o -d link show kube-ipvs0");
    EXPECT_NE(link.find("dummy"), link.npos) << link;
    const std::string addresses = output_of("ip -o addr show dev kube-ipvs0");
    EXPECT_NE(addresses.find("10.96.0.1/32"), addresses.npos) << addresses;
    EXPECT_NE(addresses.find("fd96::1/128"), addresses.npos) << addresses;
    EXPECT_EQ(addresses.find("10.9.0.1"), addresses.npos) << addresses;
    EXPECT_EQ(output_of("cat /proc/sys/net/ipv4/vs/conntrack"), "1\n");
    const std::string table = output_of("nft list table inet fairlead-ipvs");
    EXPECT_NE(table.find("10.96.0.1 . tcp . 80 : goto open"), table.npos) << table;
    ASSERT_TRUE(driver_->cleanup());
    EXPECT_EQ(output_of("ipvsadm -S -n"), "");
    EXPECT_EQ(output_of("nft list tables"), "");
    EXPECT_EQ(output_of("ip -o link show type dummy"), "");
  });
}

TEST_P(IpvsPackets, PortsAndAddressesOfNobody) {
  table_.node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
  start(table_);
  // What the node listens on is not reached through a service address.
  std::unique_ptr<Responder> listening;
  lab_->net().in("node", [&] { listening = std::make_unique<Responder>("node", 7777); });
  EXPECT_EQ(ask_from("pod", "10.9.0.1:7777"), "node 10.1.0.2");
  for (const std::string_view to : {"10.96.0.1:7777", "[fd96::1]:7777", "203.0.113.1:7777"}) {
    EXPECT_EQ(ask_from("pod", to), "refused") << to;
    EXPECT_EQ(ask_from("pod", to, Protocol::udp), "refused") << to;
  }
  EXPECT_EQ(ask_from("node", "10.96.0.1:7777"), "refused");
  for (const std::string_view to : {"10.96.0.200:80", "[fd96::200]:80"}) {
    EXPECT_EQ(ask_from("pod", to, Protocol::tcp, 300), "timeout") << to;
  }
}

TEST_P(IpvsPackets, EndpointsWithOpenConnectionsHaveNoWeight) {
  start(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->net().in("pod", [&] {
    Conversation talk(cluster_ip);
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    ServiceTable next = table_;
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    apply(next, {{"default", "s3"}});
    lab_->net().in("node", [&] {
      const std::string held = output_of("ipvsadm -S -n");
      EXPECT_NE(held.find("-a -t 10.96.0.3:80 -r 10.2.0.2:8080 -m -w 0"), held.npos) << held;
    });
    // Retired: another mode would take what is new.
    lab_->net().in("node", [&] {
      ASSERT_TRUE(driver_->retire());
      EXPECT_FALSE(driver_->drained());
    });
    EXPECT_EQ(talk.say("one"), "one");
  });
}

TEST_P(IpvsPackets, TimeoutsAreThoseOfTheOptions) {
  start_with({.timeouts = {.tcp = 61, .udp = 31}});
  lab_->net().in("node", [] {
    EXPECT_EQ(output_of("ipvsadm -L --timeout"), "Timeout (tcp tcpfin udp): 61 120 31\n");
  });
}

TEST_P(IpvsPackets, StrictArpAnswersForNoServiceAddress) {
  start_with({.strict_arp = true});
  lab_->net().in("node", [] {
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_ignore"), "1");
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_announce"), "2");
  });
}

}  // namespace
}  // namespace fairlead::dataplane
