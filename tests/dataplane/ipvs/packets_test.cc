// Real packets through IPVS; ipvsadm, ip and nft are outside witnesses.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <set>

#include "dataplane/userspace/driver.h"
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

// IPVS sees a flow before any socket does, and its interface has the addresses until it goes.
TEST_P(IpvsPackets, UserspaceModeTakesOverWhileConnectionsGoOn) {
  start(table_);
  const auto served = [&](std::string_view to, Protocol protocol) {
    const std::string answer = ask_from("pod", to, protocol);
    return answer.starts_with("local ") || answer.starts_with("remote ");
  };
  const std::string_view dialled[] = {"10.96.0.1:80", "[fd96::1]:80", "203.0.113.1:80",
                                      "10.9.0.1:30081"};
  Registry registry;
  std::unique_ptr<Driver> next;
  lab_->net().in("pod", [&] {
    auto talk = std::make_unique<Conversation>(*SocketAddress::parse("10.96.0.1:80"));
    ASSERT_NE(talk->greeting().find(' '), std::string::npos);
    lab_->net().in("node", [&] {
      next = make_userspace_driver({}, Log(sink_), registry);
      ASSERT_TRUE(driver_->prepare_retire("userspace"));
      const auto started = next->start();
      ASSERT_TRUE(started) << started.error().message;
      const ApplyReport report = next->apply(table_, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
      ASSERT_TRUE(driver_->retire());
      EXPECT_FALSE(driver_->drained());
    });
    for (const std::string_view to : dialled) {
      EXPECT_TRUE(served(to, Protocol::tcp)) << to;
      EXPECT_TRUE(served(to, Protocol::udp)) << to;
    }
    EXPECT_GT(registry.counter("fairlead_userspace_connections_total", "").value(), 3u);
    EXPECT_EQ(talk->say("one"), "one");
    talk.reset();
  });
  lab_->net().in("node", [&] { ASSERT_TRUE(driver_->cleanup()); });
  for (const std::string_view to : dialled) {
    EXPECT_TRUE(served(to, Protocol::tcp)) << to;
    EXPECT_TRUE(served(to, Protocol::udp)) << to;
  }
  lab_->net().in("node", [&] {
    EXPECT_TRUE(next->verify(false)->empty());
    next.reset();
  });
}

// To a neighbour on the node's network a service address is one more neighbour, if the node says
// so.
TEST_P(IpvsPackets, StrictArpAnswersForNoServiceAddress) {
  lab_->net().in("outside", [] { shell("ip route add 203.0.113.1/32 dev eth0"); });
  for (const bool strict : {false, true}) {
    start_with({.strict_arp = strict});
    lab_->net().in("outside", [] { shell("ip neigh flush dev eth0"); });
    const std::string answer = ask_from("outside", "203.0.113.1:80", Protocol::tcp, 5000);
    if (strict) {
      EXPECT_EQ(answer, "error: No route to host");
    } else {
      EXPECT_NE(answer.find(' '), answer.npos) << answer;
      EXPECT_FALSE(answer.starts_with("error")) << answer;
    }
  }
  lab_->net().in("node", [] {
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_ignore"), "1");
    EXPECT_EQ(*net::read_sysctl("net/ipv4/conf/all/arp_announce"), "2");
  });
}

TEST_P(IpvsPackets, EverySchedulerFindsAnEndpoint) {
  for (const std::string scheduler :
       {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf"}) {
    SCOPED_TRACE(scheduler);
    start_with({.scheduler = scheduler});
    std::set<std::string> answers;
    for (int i = 0; i < 6; ++i) {
      for (const std::string_view to : {"10.96.0.1:80", "[fd96::1]:80"}) {
        const std::string answer = ask_from("pod", to);
        EXPECT_TRUE(answer.starts_with("local ") || answer.starts_with("remote ")) << answer;
        if (to.front() != '[') answers.insert(answer);
      }
    }
    // In turn, or always the same for one client's address.
    if (scheduler == "rr") {
      EXPECT_EQ(answers.size(), 2u);
    }
    if (scheduler == "sh" || scheduler == "dh") {
      EXPECT_EQ(answers.size(), 1u);
    }
  }
}

// Its template is remembered for longer than its endpoint takes new connections.
TEST_P(IpvsPackets, AClientLeavesAnEndpointThatLeavesAlthoughItIsRemembered) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) rule.affinity_timeout_s = 600;
  start(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.1"), 80};
  lab_->net().in("pod", [&] {
    Conversation talk(cluster_ip);
    const std::string first = talk.greeting().substr(0, talk.greeting().find(' '));
    ASSERT_TRUE(first == "local" || first == "remote") << first;
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(ask_from("pod", "10.96.0.1:80").starts_with(first));
    ServiceTable next = table_;
    for (PortRule& rule : next.services.at({"default", "s1"}).ports) {
      std::erase_if(rule.backends,
                    [&](const Backend& backend) { return backend.local == (first == "local"); });
    }
    apply(next, {{"default", "s1"}});
    const std::string other = first == "local" ? "remote" : "local";
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(ask_from("pod", "10.96.0.1:80").starts_with(other));
    EXPECT_EQ(talk.say("still there"), "still there");
  });
}

// A server of the node and a Service's NodePort of one number: the Service has it on the addresses
// of NodePorts, the server all others.
TEST_P(IpvsPackets, ANodePortIsNoOtherAddresses) {
  start(table_);
  std::unique_ptr<Responder> server;
  lab_->net().in("node", [&] { server = std::make_unique<Responder>("node", 30081); });
  EXPECT_EQ(ask_from("pod", "10.1.0.1:30081"), "node 10.1.0.2");
  const std::string served = ask_from("pod", "10.9.0.1:30081");
  EXPECT_TRUE(served.starts_with("local ") || served.starts_with("remote ")) << served;
  EXPECT_EQ(ask_from("pod", "10.96.0.1:30081"), "refused");
}

std::string why_no_sctp() {
  const net::Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP));
  return fd ? "" : "this kernel has no SCTP";
}

constexpr std::string_view sctp_yaml = R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: sctp}
spec:
  type: NodePort
  clusterIPs: [10.96.0.99, "fd96::99"]
  externalIPs: [203.0.113.99, "2001:db8::99"]
  ports: [{name: s, port: 80, nodePort: 30099, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: sctp-4, labels: {kubernetes.io/service-name: sctp}}
addressType: IPv4
ports: [{name: s, port: 8080, protocol: SCTP}]
endpoints: [{addresses: ["10.2.0.2"], nodeName: node-a}, {addresses: ["10.3.0.2"], nodeName: b}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: sctp-6, labels: {kubernetes.io/service-name: sctp}}
addressType: IPv6
ports: [{name: s, port: 8080, protocol: SCTP}]
endpoints: [{addresses: ["fd00:2::2"], nodeName: node-a}, {addresses: ["fd00:3::2"], nodeName: b}]
)";

TEST_P(IpvsPackets, SctpIsAsResolved) {
  SKIP_WHERE_MISSING((Missing{&why_no_sctp, "FAIRLEAD_NEED_IPVS=1"}));
  table_ = FlowLab::table(sctp_yaml);
  start(table_);
  FlowLab::for_each_source([&](const std::string& name, const Ip& from, Protocol protocol) {
    if (protocol != Protocol::tcp) return;  // each source once
    const bool v4 = from.is_v4();
    for (const std::string_view to :
         {v4 ? "10.96.0.99:80" : "[fd96::99]:80", v4 ? "203.0.113.99:80" : "[2001:db8::99]:80",
          v4 ? "10.9.0.1:30099" : "[fd00:9::1]:30099"}) {
      lab_->check_flow(table_, name, from, *SocketAddress::parse(to), Protocol::sctp);
    }
  });
}

}  // namespace
}  // namespace fairlead::dataplane
