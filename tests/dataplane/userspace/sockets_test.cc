#include "dataplane/userspace/sockets.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

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

}  // namespace
}  // namespace fairlead::dataplane::userspace
