#include "net/conntrack.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "net/fd.h"
#include "net/nfnetlink.h"

namespace fairlead::net {
namespace {

// One netlink attribute, padded (linux/netlink.h).
std::string attribute(uint16_t type, std::string_view bytes) {
  const auto length = static_cast<uint16_t>(bytes.size() + 4);
  std::string out(reinterpret_cast<const char*>(&length), 2);
  out.append(reinterpret_cast<const char*>(&type), 2);
  out.append(bytes);
  out.resize((out.size() + 3) / 4 * 4);
  return out;
}

std::string ip_bytes(std::string_view text) {
  const Ip ip = *Ip::parse(text);
  const size_t skip = ip.is_v4() ? 12 : 0;
  return {reinterpret_cast<const char*>(ip.bytes.data()) + skip, 16 - skip};
}

std::string port_bytes(uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
}

// CTA_TUPLE_ORIG is 1, CTA_TUPLE_REPLY 2 (linux/netfilter/nfnetlink_conntrack.h).
std::string tuple(uint16_t which, std::string_view source, std::string_view destination,
                  uint16_t source_port, uint16_t destination_port, char protocol) {
  const bool ipv6 = source.find(':') != source.npos;
  const std::string ips =
      attribute(ipv6 ? 3 : 1, ip_bytes(source)) + attribute(ipv6 ? 4 : 2, ip_bytes(destination));
  const std::string ports = attribute(1, {&protocol, 1}) + attribute(2, port_bytes(source_port)) +
                            attribute(3, port_bytes(destination_port));
  return attribute(which | 0x8000, attribute(1 | 0x8000, ips) + attribute(2 | 0x8000, ports));
}

TEST(ConntrackMessage, IsReadInBothFamiliesWithItsZone) {
  const std::string v4 = tuple(1, "10.1.0.2", "10.96.0.1", 4000, 53, 17) +
                         tuple(2, "10.2.0.2", "10.9.0.1", 5353, 4001, 17);
  auto flow = parse_conntrack_message(v4, false);
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->protocol, Protocol::udp);
  EXPECT_EQ(flow->source.to_string(), "10.1.0.2:4000");
  EXPECT_EQ(flow->destination.to_string(), "10.96.0.1:53");
  EXPECT_EQ(flow->reply_source.to_string(), "10.2.0.2:5353");
  EXPECT_EQ(flow->reply_destination.to_string(), "10.9.0.1:4001");
  EXPECT_EQ(flow->zone, 0);
  flow = parse_conntrack_message(v4 + attribute(18, port_bytes(7)), false);
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->zone, 7);
  flow = parse_conntrack_message(
      tuple(1, "fd00::2", "fd96::1", 4000, 80, 6) + tuple(2, "fd00::3", "fd00::2", 8080, 4000, 6),
      true);
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->protocol, Protocol::tcp);
  EXPECT_EQ(flow->reply_source.to_string(), "[fd00::3]:8080");
}

// CTA_PROTOINFO is 4; in it CTA_PROTOINFO_TCP is 1, and in that CTA_PROTOINFO_TCP_STATE 1.
TEST(ConntrackMessage, SaysHowFarAConnectionHasCome) {
  struct Case {
    char state;  // linux/netfilter/nf_conntrack_tcp.h
    FlowStage stage;
  };
  const Case cases[] = {
      {0, FlowStage::open},     // NONE
      {1, FlowStage::opening},  // SYN_SENT
      {2, FlowStage::opening},  // SYN_RECV
      {3, FlowStage::open},     // ESTABLISHED
      {4, FlowStage::open},     // FIN_WAIT
      {5, FlowStage::open},     // CLOSE_WAIT
      {6, FlowStage::open},     // LAST_ACK
      {7, FlowStage::ended},    // TIME_WAIT
      {8, FlowStage::ended},    // CLOSE
      {9, FlowStage::opening},  // SYN_SENT2
  };
  for (const char protocol : {6, 17}) {
    const std::string flow = tuple(1, "10.1.0.2", "10.96.0.1", 4000, 80, protocol) +
                             tuple(2, "10.2.0.2", "10.1.0.2", 8080, 4000, protocol);
    EXPECT_EQ(parse_conntrack_message(flow, false)->stage, FlowStage::open) << "no state";
    for (const Case& c : cases) {
      const std::string tcp = attribute(1 | 0x8000, attribute(1, {&c.state, 1}));
      const auto parsed = parse_conntrack_message(flow + attribute(4 | 0x8000, tcp), false);
      ASSERT_TRUE(parsed);
      EXPECT_EQ(parsed->stage, protocol == 6 ? c.stage : FlowStage::open)
          << int{protocol} << " " << int{c.state};
    }
    const std::string long_state = attribute(1 | 0x8000, attribute(1, std::string(2, '\7')));
    EXPECT_EQ(parse_conntrack_message(flow + attribute(4 | 0x8000, long_state), false)->stage,
              FlowStage::open);
  }
}

TEST(ConntrackMessage, WhatIsIncompleteIsNoFlow) {
  const std::string whole = tuple(1, "10.1.0.2", "10.96.0.1", 4000, 53, 17) +
                            tuple(2, "10.2.0.2", "10.9.0.1", 5353, 4001, 17);
  for (size_t size = 0; size < whole.size(); size += 4) {
    EXPECT_FALSE(parse_conntrack_message(std::string_view(whole).substr(0, size), false)) << size;
  }
  EXPECT_FALSE(parse_conntrack_message(whole, true));  // addresses of the other family
  EXPECT_FALSE(parse_conntrack_message(
      tuple(1, "10.1.0.2", "10.96.0.1", 0, 0, 47) + tuple(2, "10.96.0.1", "10.1.0.2", 0, 0, 47),
      false));  // GRE
}

TEST(NfnetlinkAttributes, AreWalkedAndFound) {
  const std::string inner = attribute(1, "a") + attribute(2, "bc");
  const std::string outer = attribute(5 | 0x8000, inner) + attribute(6, "text");
  EXPECT_EQ(find_attribute(outer, 5, 2), "bc");
  EXPECT_EQ(find_attribute(outer, 6), "text");
  EXPECT_FALSE(find_attribute(outer, 7));
  EXPECT_FALSE(find_attribute(outer, 5, 3));
  std::string seen;
  for_each_attribute(outer, [&](uint16_t type, std::string_view bytes) {
    append(seen, cat(type, ":", bytes.size(), " "));
  });
  EXPECT_EQ(seen, "5:16 6:4 ");
  // Cut off, too short and too long ends the walk.
  EXPECT_FALSE(find_attribute(std::string_view(outer).substr(0, 3), 5));
  EXPECT_FALSE(find_attribute(std::string_view("\x03\x00\x01\x00", 4), 1));
  EXPECT_FALSE(find_attribute(std::string_view("\x09\x00\x01\x00", 4), 1));
  EXPECT_EQ(attribute_text(std::string_view("name\0", 5)), "name");
}

TEST(FakeConntrack, ForgetsAndFails) {
  FakeConntrack table;
  const TrackedFlow udp{Protocol::udp, {Ip::v4(1), 1}, {Ip::v4(2), 2}, {Ip::v4(3), 3}, {}, 0};
  TrackedFlow tcp = udp;
  tcp.protocol = Protocol::tcp;
  table.add(udp);
  table.add(tcp);
  EXPECT_EQ(*table.flows(Protocol::udp), std::vector{udp});
  EXPECT_EQ(*table.find({Protocol::udp, udp.source, udp.destination}), udp);
  EXPECT_EQ(*table.find({Protocol::udp, udp.reply_source, udp.reply_destination}), udp);
  EXPECT_EQ(*table.find({Protocol::udp, udp.destination, udp.source, {}, {}, 7}), std::nullopt);
  EXPECT_TRUE(*table.remove(udp));
  EXPECT_FALSE(*table.remove(udp));
  EXPECT_EQ(table.all(), std::set{tcp});
  table.fail_with("no");
  EXPECT_FALSE(table.flows(Protocol::tcp));
  EXPECT_FALSE(table.find(tcp));
  EXPECT_FALSE(table.remove(tcp));
  EXPECT_EQ(table.reads(), 2u);
}

TEST(Conntrack, RemovingAFlowThatIsNotThereIsNoError) {
  if (::geteuid() != 0) {
    const char* ci = std::getenv("CI");
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "needs root";
    GTEST_SKIP() << "NOT RUN: needs root";
  }
  const auto conntrack = make_conntrack();
  const auto removed = conntrack->remove(
      {Protocol::udp, {*Ip::parse("192.0.2.1"), 9}, {*Ip::parse("192.0.2.2"), 9}, {}, {}, 0});
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_FALSE(*removed);
  EXPECT_TRUE(conntrack->flows(Protocol::sctp));
}

void take_up_and_forget() {
  const auto conntrack = make_conntrack();
  for (const auto& [client, server] : {std::pair("192.0.2.1:4000", "192.0.2.2:80"),
                                       std::pair("[2001:db8::1]:4000", "[2001:db8::2]:80")}) {
    const auto from = *SocketAddress::parse(client), to = *SocketAddress::parse(server);
    const auto adopted = conntrack->adopt(from, to);
    ASSERT_TRUE(adopted) << adopted.error().message;
    EXPECT_TRUE(*adopted);
    EXPECT_FALSE(*conntrack->adopt(from, to));
    EXPECT_FALSE(*conntrack->adopt(to, from)) << "its answers";
    const TrackedFlow flow{Protocol::tcp, from, to, to, from, 0};
    EXPECT_EQ(*conntrack->flows(Protocol::tcp), std::vector{flow});
    EXPECT_EQ(*conntrack->find({Protocol::tcp, from, to}), flow) << "its answers are not asked for";
    EXPECT_EQ(*conntrack->find({Protocol::tcp, to, from}), flow) << "nor those who began";
    EXPECT_TRUE(*conntrack->remove(flow));
    EXPECT_EQ(*conntrack->find(flow), std::nullopt);
  }
}

// In a thread whose network namespace is its own.
void in_own_namespace(void (*act)()) {
  if (::geteuid() != 0) {
    const char* ci = std::getenv("CI");
    ASSERT_FALSE(ci != nullptr && std::string_view(ci) == "true") << "needs root";
    GTEST_SKIP() << "NOT RUN: needs root";
  }
  std::thread([act] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    act();
  }).join();
}

TEST(ConntrackOfTheKernel, TakesUpAConnectionOnce) { in_own_namespace(take_up_and_forget); }

void run(const char* command) { ASSERT_EQ(std::system(command), 0) << command; }

// Between two ports of 127.0.0.1.
struct LocalConnection {
  LocalConnection(int listener, uint16_t from, uint16_t to)
      : client(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int on = 1;
    ::setsockopt(client.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const linger reset{1, 0};  // no TIME_WAIT: the port is free at once
    ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const sockaddr_in own = {AF_INET, htons(from), {htonl(INADDR_LOOPBACK)}, {}};
    EXPECT_EQ(::bind(client.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
    const sockaddr_in there = {AF_INET, htons(to), {htonl(INADDR_LOOPBACK)}, {}};
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there), 0);
    server = Fd(::accept(listener, nullptr, nullptr));
  }
  // Do `bytes` bytes come through within a second?
  bool carries(size_t bytes) {
    const timeval second{1, 0};
    ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    std::string sent(bytes, 'x');
    if (::send(client.get(), sent.data(), bytes, MSG_NOSIGNAL) < 0) return false;
    while (bytes > 0) {
      const auto got = ::recv(server.get(), sent.data(), bytes, 0);
      if (got <= 0) return false;
      bytes -= static_cast<size_t>(got);
    }
    return true;
  }
  Fd client, server;
};

constexpr const char* track =
    "nft 'add table ip t; add chain ip t o { type filter hook output priority 0; }; "
    "add rule ip t o ct state invalid counter drop'";

// The tracker has not seen an earlier connection end, because it was not at work. The next one from
// the same port has sequence numbers far from those of the first: the kernel forgets the windows of
// what it knows when its hooks come back (nf_ct_tcp_fixup), so that nothing else has to be done.
void continue_on_the_ports_of_a_dead_one() {
  run("ip link set lo up");
  const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in any = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
  socklen_t length = sizeof any;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&any), length), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&any), &length), 0);
  const SocketAddress server{*Ip::parse("127.0.0.1"), ntohs(any.sin_port)};
  const SocketAddress client{server.ip, 4000};
  const auto conntrack = make_conntrack();
  const auto is_tracked = [&](uint16_t port) {
    const size_t before = conntrack->flows(Protocol::tcp)->size();
    const LocalConnection probe(listener.get(), port, server.port);
    return conntrack->flows(Protocol::tcp)->size() != before;
  };
  run(track);
  {
    LocalConnection first(listener.get(), client.port, server.port);
    ASSERT_TRUE(first.carries(1));
    run("nft delete table ip t");
    // The kernel takes its hooks away a little later.
    for (uint16_t port = 5000; is_tracked(port) && port < 5500; ++port) ::usleep(10000);
  }
  const TrackedFlow frozen{Protocol::tcp, client, server, server, client};
  ASSERT_EQ(*conntrack->find(frozen), frozen) << "its end was not seen";
  LocalConnection next(listener.get(), client.port, server.port);
  run(track);
  const auto adopted = conntrack->adopt_open(client, server);
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_FALSE(*adopted);
  EXPECT_TRUE(next.carries(100000));
  EXPECT_EQ(*conntrack->find(frozen), frozen);
}

TEST(ConntrackOfTheKernel, WhatItDidNotSeeEndIsInNobodysWay) {
  in_own_namespace(continue_on_the_ports_of_a_dead_one);
}

}  // namespace
}  // namespace fairlead::net
