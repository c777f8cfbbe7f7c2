// Flows through tc while backends, services, agents and layouts come and go.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/ebpf/map_codec.h"
#include "tests/dataplane/ebpf/driver_lab.h"

namespace fairlead::dataplane::test {
namespace {

class FlowTest : public EbpfDriverTest {
 protected:
  void SetUp() override {
    EbpfDriverTest::SetUp();
    if (!lab_) return;
    lab_->route("pod", "0.0.0.0/0", "10.1.0.1");
    lab_->route("other", "0.0.0.0/0", "10.2.0.1");
    lab_->sysctl("node", "net/ipv4/ip_forward", "1");
    ASSERT_TRUE(start());
  }

  // A socket of the namespace "other", whose traffic only tc sees.
  net::Fd dialled(int type, const char* ip, uint16_t port) {
    auto scope = net::NetnsScope::enter(lab_->netns("other"));
    net::Fd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
    timeval patience{2, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(Ip::parse(ip)->to_v4());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  std::string exchange(const net::Fd& fd) {
    char answer[100];
    if (send(fd.get(), "?", 1, MSG_NOSIGNAL) != 1) return strerror(errno);
    ssize_t got = recv(fd.get(), answer, sizeof answer, 0);
    if (got <= 0) return got == 0 ? "closed" : strerror(errno);
    std::string text(answer, static_cast<size_t>(got));
    return text.substr(0, text.find(' '));
  }
};

constexpr const char* one =
    "node 10.2.0.1\na/tcp TCP 10.96.0.10:80,node:30080 -> 10.1.0.2:1001\n"
    "a/udp UDP 10.96.0.10:53 -> 10.1.0.2:1001";
constexpr const char* two =
    "node 10.2.0.1\na/tcp TCP 10.96.0.10:80,node:30080 -> 10.1.0.2:1002\n"
    "a/udp UDP 10.96.0.10:53 -> 10.1.0.2:1002";

TEST_F(FlowTest, ConnectionsStayAndDatagramsMoveWhenABackendGoes) {
  Server first(lab_->netns("pod"), "first", "10.1.0.2", 1001);
  Server second(lab_->netns("pod"), "second", "10.1.0.2", 1002);
  ASSERT_TRUE(apply(one).ok());
  net::Fd tcp = dialled(SOCK_STREAM, "10.96.0.10", 80),
          port = dialled(SOCK_STREAM, "10.2.0.1", 30080);
  net::Fd udp = dialled(SOCK_DGRAM, "10.96.0.10", 53);
  for (const net::Fd* fd : {&tcp, &port, &udp}) EXPECT_EQ(exchange(*fd), "first");
  ASSERT_TRUE(apply(two).ok());
  EXPECT_EQ(exchange(tcp), "first");
  EXPECT_EQ(exchange(port), "first");
  EXPECT_EQ(exchange(udp), "second");
  EXPECT_EQ(exchange(dialled(SOCK_STREAM, "10.96.0.10", 80)), "second");
}

TEST_F(FlowTest, ConnectionsLiveThroughARestartAndAResize) {
  Server first(lab_->netns("pod"), "first", "10.1.0.2", 1001);
  ASSERT_TRUE(apply(one).ok());
  net::Fd tcp = dialled(SOCK_STREAM, "10.96.0.10", 80),
          port = dialled(SOCK_STREAM, "10.2.0.1", 30080);
  EXPECT_EQ(exchange(tcp), "first");
  EXPECT_EQ(exchange(port), "first");
  driver_.reset();
  EXPECT_EQ(exchange(tcp), "first");
  EXPECT_EQ(exchange(port), "first");
  ASSERT_TRUE(start());
  EXPECT_EQ(exchange(tcp), "first");
  options_.max_conntrack = 20000;
  ASSERT_TRUE(start());
  EXPECT_EQ(exchange(tcp), "first");
  EXPECT_EQ(exchange(port), "first");
}

// Each start is a new generation of marks; the service is gone, the connection is not.
TEST_F(FlowTest, ConnectionsOutliveTheirServiceAndRestarts) {
  Server first(lab_->netns("pod"), "first", "10.1.0.2", 1001);
  ASSERT_TRUE(apply(one).ok());
  net::Fd tcp = dialled(SOCK_STREAM, "10.96.0.10", 80),
          port = dialled(SOCK_STREAM, "10.2.0.1", 30080);
  for (const net::Fd* fd : {&tcp, &port}) EXPECT_EQ(exchange(*fd), "first");
  ASSERT_TRUE(apply("").ok());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(start());
    EXPECT_EQ(exchange(tcp), "first") << i;
    EXPECT_EQ(exchange(port), "first") << i;
  }
}

// The new layout's programs know the flows of the old ones, by tc and by socket.
TEST_F(FlowTest, ConnectionsLiveThroughAnUpgradeToAnotherLayout) {
  Server first(lab_->netns("pod"), "first", "10.1.0.2", 1001);
  ASSERT_TRUE(apply(one).ok());
  net::Fd tcp = dialled(SOCK_STREAM, "10.96.0.10", 80),
          port = dialled(SOCK_STREAM, "10.2.0.1", 30080),
          udp = dialled(SOCK_DGRAM, "10.96.0.10", 53);
  for (const net::Fd* fd : {&tcp, &port, &udp}) EXPECT_EQ(exchange(*fd), "first");
  driver_.reset();
  std::string home = lab_->bpffs() + "/fairlead";
  ASSERT_EQ(rename(cat(home, "/v", int{FL_LAYOUT}).c_str(), (home + "/v0").c_str()), 0);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(one).ok());
  EXPECT_NE(access((home + "/v0").c_str(), F_OK), 0);
  for (const net::Fd* fd : {&tcp, &port, &udp}) EXPECT_EQ(exchange(*fd), "first");
}

}  // namespace
}  // namespace fairlead::dataplane::test
