// Connections through the forwarder when something fails: backends, file descriptors that run out.
#include <sys/resource.h>

#include "tests/dataplane/userspace/sanitizer.h"
#include "tests/dataplane/userspace/tcp_lab.h"

namespace fairlead::dataplane::userspace {
namespace {

TEST_F(TcpForwarding, GoesOnToTheNextBackendWhenOneRefuses) {
  LoopbackServer good(says("good"));
  affinity_s_ = 60;
  begin({refusing_address(), good.address()});
  EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
  // Affinity follows the one that answered.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
}

// No route, or an address of many: it is told at once.
TEST_F(TcpForwarding, GoesOnToTheNextBackendWhenOneCannotEvenBeAsked) {
  const SocketAddress nowhere{Ip::v4(0xe0000001), 80};
  LoopbackServer good(says("good"));
  limits_.connect_attempts = 3;
  begin({nowhere, nowhere, good.address()});
  EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 2u);
  publish({nowhere, nowhere, nowhere, good.address()});
  EXPECT_EQ(greeting(), "good") << "its turn is the second's, which leaves two more";
  publish({nowhere});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_backend.value(), 1u);
  EXPECT_TRUE(idle());
}

// A full backlog: SYNs go unanswered.
struct SilentServer {
  SilentServer() {
    const net::RawAddress any = net::to_raw({Ip::v4(0x7f000001), 0});
    CHECK(::bind(full.get(), any.get(), any.size) == 0 && ::listen(full.get(), 0) == 0);
    address = *net::local_address(full.get());
    filler = dial(address);
  }

  net::Fd full{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, filler;
  SocketAddress address;
};

TEST_F(TcpForwarding, GoesOnToTheNextBackendWhenOneDoesNotAnswer) {
  const SilentServer silent;
  LoopbackServer good(says("good"));
  limits_.connect_timeout = std::chrono::milliseconds(200);
  begin({silent.address, good.address()});
  EXPECT_EQ(greeting(), "good");
  EXPECT_EQ(metrics_.connect_failures.value(), 1u);
}

TEST_F(TcpForwarding, ResetsTheClientWhenNobodyCanBeReached) {
  limits_.connect_attempts = 2;
  begin({refusing_address(), refusing_address(), refusing_address()});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.connect_failures.value(), 2u);
  EXPECT_EQ(metrics_.refused_backend.value(), 1u);
  publish({});
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_policy.value(), 1u);
  table_.store(std::make_shared<const RoutingTable>());
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_policy.value(), 2u);
}

TEST_F(TcpForwarding, CarriesSoManyConnectionsAndNoMore) {
  LoopbackServer server(says("hello"));
  limits_.max_connections = 3;
  begin({server.address()});
  std::vector<net::Fd> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(dial(address_));
    char buffer[8];
    ASSERT_EQ(::recv(held.back().get(), buffer, sizeof buffer, 0), 5);
  }
  EXPECT_EQ(greeting(), "reset");
  EXPECT_EQ(metrics_.refused_limit.value(), 1u);
  held.pop_back();
  EXPECT_TRUE(eventually([&] { return metrics_.connections.value() == 2; }));
  EXPECT_EQ(greeting(), "hello");
}

TEST_F(TcpForwarding, AClientThatHasGoneBeforeTheBackendAnswersLeavesNothing) {
  const SilentServer silent;
  limits_.connect_timeout = std::chrono::milliseconds(100);
  begin({silent.address});
  for (const bool reset : {false, true}) {
    const net::Fd fd = dial(address_);
    send_all(fd.get(), "question");
    if (reset) reset_at_close(fd.get());
  }
  EXPECT_TRUE(eventually([&] { return metrics_.refused_backend.value() == 2; }));
  EXPECT_TRUE(idle());
}

// So many file descriptors, and no more, can be had while this lives.
class FewFiles {
 public:
  explicit FewFiles(size_t count) {
    std::vector<net::Fd> probes;
    int highest = 0;
    for (size_t i = 0; i <= count; ++i) {
      probes.emplace_back(::dup(0));
      highest = std::max(highest, probes.back().get());
    }
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{static_cast<rlim_t>(highest), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(TcpForwarding, WithoutFileDescriptorsClientsWaitOrAreReset) {
  NEEDS_NO_FILES();
  struct Case {
    const char* name;
    size_t files;
    bool waits;               // and is served afterwards
    uint64_t limit, backend;  // refused
  };
  // Pipes first: later ones find those that are kept.
  const Case cases[] = {{"none for a pipe", 2, false, 0, 0},
                        {"one for a pipe, not two", 3, false, 0, 0},
                        {"none for the backend", 1, false, 0, 1},
                        {"none to accept", 0, true, 1, 0}};
  // Takes connections without a descriptor: the kernel does.
  const net::Fd backend = *net::listen_tcp({Ip::v4(0x7f000001), 0});
  begin({*net::local_address(backend.get())});
  const net::RawAddress to = net::to_raw(address_);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    ASSERT_TRUE(idle());
    const uint64_t limit = metrics_.refused_limit.value(),
                   failed = metrics_.refused_backend.value();
    const net::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{5, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char byte = 0;
    {
      const FewFiles few(one.files);
      ASSERT_EQ(::connect(client.get(), to.get(), to.size), 0);
      const bool sent = send_all(client.get(), "?");
      if (one.waits) {
        EXPECT_TRUE(sent);
        EXPECT_TRUE(eventually([&] { return metrics_.refused_limit.value() >= limit + 1; }));
      } else {
        // The reset may have come before the question.
        EXPECT_TRUE(!sent || (::recv(client.get(), &byte, 1, 0) < 0 && errno == ECONNRESET));
        EXPECT_TRUE(idle());
        EXPECT_EQ(metrics_.refused_limit.value(), limit + one.limit);
      }
      EXPECT_EQ(metrics_.refused_backend.value(), failed + one.backend);
    }
    net::Fd talk;
    if (one.waits) {
      EXPECT_TRUE(eventually([&] {  // those of the cases before have been reset
        talk = net::Fd(::accept4(backend.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return talk && ::recv(talk.get(), &byte, 1, 0) == 1;
      }));
      EXPECT_TRUE(send_all(talk.get(), "!"));
      EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 1);
    }
  }
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
