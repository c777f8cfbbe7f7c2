#include "dataplane/userspace/sockets.h"

#include <gtest/gtest.h>
#include <linux/in6.h>
#include <netinet/in.h>

#include <cstring>

namespace fairlead::dataplane::userspace {
namespace {

uint16_t port_of(const net::Fd& fd) {
  sockaddr_in6 name{};
  socklen_t size = sizeof name;
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  return ntohs(name.sin6_port);
}

// A server of the node that listens on every address, such as the cluster DNS of the same agent,
// must not keep a Service of its port number from being answered.
TEST(AnsweringSocket, StandsBesideAServerOnEveryAddress) {
  const auto server = net::bind_udp({Ip{}, 0}, true);
  ASSERT_TRUE(server) << server.error().message;
  const uint16_t port = port_of(*server);
  for (const char* address : {"127.0.0.5", "::1"}) {
    const auto answering = open_answering_udp({*Ip::parse(address), port});
    EXPECT_TRUE(answering) << answering.error().message;
  }
}

TEST(AnsweringSocket, SeveralMayHaveOneAddress) {
  const auto first = open_answering_udp({*Ip::parse("127.0.0.5"), 0});
  ASSERT_TRUE(first) << first.error().message;
  sockaddr_in name{};
  socklen_t size = sizeof name;
  ASSERT_EQ(::getsockname(first->get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  EXPECT_TRUE(open_answering_udp({*Ip::parse("127.0.0.5"), ntohs(name.sin_port)}));
}

TEST(AnsweringSocket, AServerWithoutReusePortIsInTheWay) {
  const auto server = net::bind_udp({Ip{}, 0});
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_FALSE(open_answering_udp({*Ip::parse("127.0.0.5"), port_of(*server)}));
}

// One control message of each kind that the kernel may add to a datagram.
class ControlMessages {
 public:
  template <class Raw>
  void add(int level, int type, const Raw& raw, size_t size = sizeof(Raw)) {
    cmsghdr header{};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(size);
    std::memcpy(bytes_ + used_, &header, sizeof header);
    std::memcpy(bytes_ + used_ + CMSG_LEN(0), &raw, size);
    used_ += CMSG_SPACE(size);
  }
  SocketAddress dialled() {
    msghdr message{};
    message.msg_control = bytes_;
    message.msg_controllen = used_;
    return dialled_address(message);
  }

 private:
  alignas(cmsghdr) char bytes_[512]{};
  size_t used_ = 0;
};

TEST(DialledAddress, IsFoundAmongOtherControlMessages) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(53);
  v4.sin_addr.s_addr = htonl(0x0a600001);
  sockaddr_in6 v6{};
  const net::RawAddress raw = net::to_raw({*Ip::parse("fd96::1"), 5353});
  std::memcpy(&v6, &raw.storage, sizeof v6);
  sockaddr_in6 mapped = v6;  // of the same IPv4 datagram
  std::memcpy(&mapped.sin6_addr, Ip::v4(0x0a600001).bytes.data(), 16);
  mapped.sin6_port = htons(53);
  sockaddr_in portless = v4;
  portless.sin_port = 0;
  const int mark = 7;

  ControlMessages none, one, six, both, beside, shorter, later;
  EXPECT_EQ(none.dialled(), SocketAddress());
  one.add(IPPROTO_IP, IP_ORIGDSTADDR, v4);
  EXPECT_EQ(one.dialled().to_string(), "10.96.0.1:53");
  six.add(IPPROTO_IPV6, IPV6_ORIGDSTADDR, v6);
  EXPECT_EQ(six.dialled().to_string(), "[fd96::1]:5353");
  both.add(IPPROTO_IPV6, IPV6_ORIGDSTADDR, mapped);
  both.add(IPPROTO_IP, IP_ORIGDSTADDR, v4);
  EXPECT_EQ(both.dialled().to_string(), "10.96.0.1:53");
  beside.add(SOL_SOCKET, SO_MARK, mark);
  beside.add(IPPROTO_IPV6, IP_ORIGDSTADDR, v4);
  EXPECT_EQ(beside.dialled(), SocketAddress()) << "another level's message of that number";
  beside.add(IPPROTO_IP, IP_ORIGDSTADDR, v4);
  EXPECT_EQ(beside.dialled().to_string(), "10.96.0.1:53");
  shorter.add(IPPROTO_IP, IP_ORIGDSTADDR, v4, sizeof v4 - 1);
  shorter.add(IPPROTO_IPV6, IPV6_ORIGDSTADDR, v6, sizeof v6 - 1);
  EXPECT_EQ(shorter.dialled(), SocketAddress());
  later.add(IPPROTO_IP, IP_ORIGDSTADDR, portless);
  EXPECT_EQ(later.dialled(), SocketAddress());
  later.add(IPPROTO_IPV6, IPV6_ORIGDSTADDR, v6);
  EXPECT_EQ(later.dialled().to_string(), "[fd96::1]:5353");
}

// What cannot be tried at all is said at once, with the address and the reason.
TEST(ConnectingSocket, SaysWhomItCannotReach) {
  const auto tcp = connect_tcp({*Ip::parse("224.0.0.1"), 80});
  ASSERT_FALSE(tcp);
  EXPECT_EQ(tcp.error().message, "cannot connect to 224.0.0.1:80: Network is unreachable");
  const auto udp = connect_udp({*Ip::parse("255.255.255.255"), 53});
  ASSERT_FALSE(udp);
  EXPECT_TRUE(udp.error().message.starts_with("cannot connect to 255.255.255.255:53: "))
      << udp.error().message;
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
