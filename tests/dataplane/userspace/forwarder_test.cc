// The forwarding thread as its driver sees it: what it may open, what it says, and that it ends.
#include "dataplane/userspace/forwarder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "net/socket.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane::userspace {
namespace {

class ForwarderTest : public testing::Test {
 protected:
  std::unique_ptr<Forwarder> start() {
    auto started = Forwarder::start(limits_, clock_, metrics_, Log(sink_));
    EXPECT_TRUE(started) << started.error().message;
    return started ? std::move(*started) : nullptr;
  }
  // Of a port on which nothing but a captured socket listens: its own, since nobody captures here.
  static SocketAddress address_of(int socket) {
    SocketAddress out = *net::local_address(socket);
    out.ip = Ip::v4(0x7f000001);
    return out;
  }
  void serve(Forwarder& forwarder, const std::vector<SocketAddress>& backends) {
    const SocketAddress dialled = address_of(forwarder.tcp_listener());
    NamedRule rule{"default/web:p/TCP4", {}};
    for (const SocketAddress& to : backends) rule.rule.backends.push_back({to.ip, to.port, false});
    const Frontend frontend{FrontendKind::cluster_ip, dialled.ip, dialled.port};
    rule.rule.frontends = {frontend};
    forwarder.publish(std::make_shared<const RoutingTable>(RoutingTable().with(
        std::make_shared<const NodeConfig>(),
        {{{dialled, Protocol::tcp}, Route{std::make_shared<const NamedRule>(rule), frontend}}})));
  }
  // So many connections are served, and one more is not.
  void fill(size_t count) {
    // The kernel takes what nobody accepts.
    const net::Fd backend = *net::listen_tcp({Ip::v4(0x7f000001), 0});
    const auto forwarder = start();
    serve(*forwarder, {*net::local_address(backend.get())});
    const SocketAddress address = address_of(forwarder->tcp_listener());
    std::vector<net::Fd> held;
    for (size_t i = 0; i < count; ++i) held.push_back(dial(address));
    EXPECT_TRUE(eventually([&] { return forwarder->connections().clients.size() == count; }));
    const net::Fd one_more = dial(address);
    EXPECT_EQ(first_word(one_more.get()), "reset");
    EXPECT_EQ(metrics_.refused_limit.value(), 1u);
    EXPECT_EQ(metrics_.refused_backend.value(), 0u);
    EXPECT_EQ(forwarder->open_connections(), count);
  }
  static std::string first_word(int fd) {
    char buffer[64];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    return got < 0 ? "reset" : std::string(buffer, static_cast<size_t>(got));
  }

  RealClock clock_;
  MemoryLogSink sink_;
  Registry registry_;
  ForwardingMetrics metrics_{registry_};
  ForwardingLimits limits_;
};

TEST_F(ForwarderTest, TakesAsManyConnectionsAsThereAreFiles) {
  struct Case {
    rlim_t soft, hard;
    size_t asked, may;  // connections
    bool said;
  };
  // A fifth of what is left of the files, but for 256, or of half of them when they are few.
  const Case cases[] = {
      {1024, 1024, 16384, (1024 - 256) / 5, true},
      {400, 400, 16384, 40, true},
      {300, 1024, 16384, (1024 - 256) / 5, true},  // the hard limit is what counts
      {1024, 1024, 10, 10, false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(cat(c.soft, " ", c.asked));
    // In a process of its own: what a limit has lost it does not get back.
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit limit{c.soft, c.hard};
      ::setrlimit(RLIMIT_NOFILE, &limit);
      limits_.max_connections = limits_.max_udp_flows = c.asked;
      fill(c.may);
      EXPECT_EQ(sink_.text().find("too few file descriptors") != std::string::npos, c.said);
      std::fflush(stdout);
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(ForwarderTest, NamesItsConnectionsAlsoThoseThatWaitToBeAccepted) {
  LoopbackServer server([](int fd) { receive_all(fd); });
  const auto forwarder = start();
  EXPECT_TRUE(forwarder->connections().clients.empty());
  serve(*forwarder, {server.address()});
  const SocketAddress dialled = address_of(forwarder->tcp_listener());
  std::vector<net::Fd> held;
  std::vector<ConnectionSide> wanted;
  for (int i = 0; i < 200; ++i) {
    held.push_back(dial(dialled));
    wanted.push_back({*net::local_address(held.back().get()), dialled});
    if (i % 20 != 19) continue;
    std::sort(wanted.begin(), wanted.end());
    ASSERT_TRUE(eventually([&] {
      auto got = forwarder->connections();
      std::sort(got.clients.begin(), got.clients.end());
      return got.clients == wanted && got.backends.size() == wanted.size();
    })) << i;
  }
  std::set<SocketAddress> own;
  for (const ConnectionSide& side : forwarder->connections().backends) {
    EXPECT_EQ(side.dialled, server.address());
    own.insert(side.client);
  }
  EXPECT_EQ(own.size(), wanted.size());
  held.clear();
  EXPECT_TRUE(eventually([&] { return forwarder->flows() == 0; }));
  EXPECT_TRUE(forwarder->connections().clients.empty());
}

TEST_F(ForwarderTest, EndsWithConnectionsOpenAndLeavesNoFile) {
  LoopbackServer server([](int fd) { receive_all(fd); });
  const size_t before = open_files();
  for (int round = 0; round < 3; ++round) {
    std::vector<net::Fd> held;
    auto forwarder = start();
    serve(*forwarder, {server.address()});
    for (int i = 0; i < 10; ++i) held.push_back(dial(address_of(forwarder->tcp_listener())));
    EXPECT_EQ(forwarder->connections().clients.size(), 10u);
    forwarder.reset();
    // Its end is theirs.
    for (const net::Fd& fd : held) EXPECT_NE(first_word(fd.get()), "hello");
    EXPECT_EQ(metrics_.connections.value(), 0);
    EXPECT_EQ(metrics_.udp_flows.value(), 0);
  }
  EXPECT_TRUE(eventually([&] { return open_files() == before; })) << open_files();
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
