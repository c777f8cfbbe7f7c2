// The cgroup programs with real sockets.
#include "tests/dataplane/ebpf/lab.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fairlead::dataplane::test {
namespace {

constexpr const char* two_families = R"(
node 10.1.0.1
node fd01::1
default/web TCP 10.96.0.10:80,node:30080 -> 10.1.0.2:8080*
default/web6 TCP [fd96::10]:80,node6:30080 -> [fd01::2]:8080*
default/dns UDP 10.96.0.10:53,node:30053 -> 10.1.0.2:8080*
default/dns6 UDP [fd96::10]:53,node6:30053 -> [fd01::2]:8080*
default/none TCP 10.96.0.11:80 ->
default/none6 TCP [fd96::11]:80 ->
default/none-udp UDP 10.96.0.11:53 ->
default/policy TCP 10.96.0.12:80 -> drop
)";

class SocketTest : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<Lab>();
    lab_->link("node", "pods0", {"10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64"}, "pod",
               "eth0", {"10.1.0.3/24"});
    servers_.push_back(std::make_unique<Server>(node(), "web", "10.1.0.2", 8080));
    servers_.push_back(std::make_unique<Server>(node(), "web6", "fd01::2", 8080));
    start();
  }

  void start() {
    auto scope = net::NetnsScope::enter(node());
    ASSERT_TRUE(scope);
    EbpfOptions options = lab_->options();
    options.attach_tc = false;
    driver_ = lab_->driver(options);
    Result<void> started = driver_->start();
    ASSERT_TRUE(started) << started.error().message;
  }

  void apply(const std::string& text) {
    ApplyReport report = driver_->apply(table_of(text), {}, true);
    EXPECT_TRUE(report.ok()) << report.errors.at(0);
  }

  void TearDown() override {
    if (!driver_) return;
    auto scope = net::NetnsScope::enter(node());
    Result<void> cleaned = driver_->cleanup();
    EXPECT_TRUE(cleaned) << cleaned.error().message;
  }

  const net::Netns& node() { return lab_->netns("node"); }
  std::string from_node(const Dial& request) {
    return run_in(node(), lab_->cgroup(), [&] { return dial(request); });
  }

  std::unique_ptr<Lab> lab_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<Driver> driver_;
};

struct Case {
  const char* name;
  Dial dial;
  const char* expected;
};

TEST_F(SocketTest, ClientsSeeOnlyTheServiceAddress) {
  apply(two_families);
  const Protocol udp = Protocol::udp, tcp = Protocol::tcp;
  const Case cases[] = {
      {"tcp4", {"10.96.0.10", 80}, "web 10.1.0.1 from 10.96.0.10:80"},
      {"tcp6", {"fd96::10", 80}, "web6 [fd01::2] from [fd96::10]:80"},
      {"tcp4 mapped", {"10.96.0.10", 80, tcp, true, true}, "web 10.1.0.1 from 10.96.0.10:80"},
      {"udp4 connected", {"10.96.0.10", 53, udp, true}, "web 10.1.0.1 from 10.96.0.10:53"},
      {"udp4", {"10.96.0.10", 53, udp, false}, "web 10.1.0.1 from 10.96.0.10:53"},
      {"udp6 connected", {"fd96::10", 53, udp, true}, "web6 [fd01::2] from [fd96::10]:53"},
      {"udp6", {"fd96::10", 53, udp, false}, "web6 [fd01::2] from [fd96::10]:53"},
      {"udp4 mapped", {"10.96.0.10", 53, udp, false, true}, "web 10.1.0.1 from 10.96.0.10:53"},
      {"udp4 mapped connected",
       {"10.96.0.10", 53, udp, true, true},
       "web 10.1.0.1 from 10.96.0.10:53"},
      {"node port", {"10.1.0.1", 30080}, "web 10.1.0.1 from 10.1.0.1:30080"},
      {"node port udp", {"10.1.0.1", 30053, udp, false}, "web 10.1.0.1 from 10.1.0.1:30053"},
      {"node port on loopback", {"127.0.0.1", 30080}, "web 10.1.0.1 from 127.0.0.1:30080"},
      {"node port on 0.0.0.0", {"0.0.0.0", 30080}, "web 10.1.0.1 from 0.0.0.0:30080"},
      {"no node port on ::1", {"::1", 30080}, "ECONNREFUSED"},
      {"node port, IPv6", {"fd01::1", 30080}, "web6 [fd01::2] from [fd01::1]:30080"},
      {"no endpoint", {"10.96.0.11", 80}, "ECONNREFUSED"},
      {"no endpoint, IPv6", {"fd96::11", 80}, "ECONNREFUSED"},
      {"no endpoint, UDP", {"10.96.0.11", 53, udp, false}, "ECONNREFUSED"},
      {"none for this policy", {"10.96.0.12", 80}, "EHOSTUNREACH"},
      {"no service", {"10.1.0.2", 8080}, "web 10.1.0.1 from 10.1.0.2:8080"},
      {"other port of the node", {"10.1.0.1", 30081}, "ECONNREFUSED"},
  };
  for (const Case& c : cases) EXPECT_EQ(from_node(c.dial), c.expected) << c.name;
}

TEST_F(SocketTest, PodsLoopbackIsTheirOwn) {
  apply(two_families);
  std::string seen =
      run_in(lab_->netns("pod"), lab_->cgroup(), [] { return dial({"127.0.0.1", 30080}); });
  EXPECT_EQ(seen, "ECONNREFUSED");
}

TEST_F(SocketTest, ProcessesOutsideTheCgroupAreLeftAlone) {
  apply(two_families);
  EXPECT_EQ(run_in(node(), "", [] { return dial({"10.96.0.10", 80}); }), "ENETUNREACH");
}

TEST_F(SocketTest, SpreadsConnectionsOverBackends) {
  Server second(node(), "second", "10.1.0.2", 8081);
  apply("a/b TCP 10.96.0.10:80 -> 10.1.0.2:8080,10.1.0.2:8081");
  std::string seen = from_node({.ip = "10.96.0.10", .port = 80, .tries = 40});
  EXPECT_NE(seen.find("web "), std::string::npos);
  EXPECT_NE(seen.find("second "), std::string::npos);
}

TEST_F(SocketTest, DatagramsOfOneSocketKeepTheirBackendWhileItIsThere) {
  Server second(node(), "second", "10.1.0.2", 8081);
  const char* both = "a/b UDP 10.96.0.10:53 -> 10.1.0.2:8080,10.1.0.2:8081";
  apply(both);
  int to_driver[2], to_client[2];
  ASSERT_EQ(pipe(to_driver), 0);
  ASSERT_EQ(pipe(to_client), 0);
  pid_t child = fork();
  if (child == 0) {
    run_in(node(), lab_->cgroup(), [&] {
      int fd = socket(AF_INET, SOCK_DGRAM, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(53);
      inet_pton(AF_INET, "10.96.0.10", &to.sin_addr);
      char go;
      while (read(to_client[0], &go, 1) == 1 && go == 'g') {
        char answer[64] = {};
        sendto(fd, "?", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
        recv(fd, answer, sizeof answer - 1, 0);
        [[maybe_unused]] ssize_t n = write(to_driver[1], answer, 1);  // 'w' or 's'
      }
      return std::string();
    });
    _exit(0);
  }
  auto ask = [&] {
    char who = '?';
    EXPECT_EQ(write(to_client[1], "g", 1), 1);
    EXPECT_EQ(read(to_driver[0], &who, 1), 1);
    return who;
  };
  char first = ask();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(), first);
  apply(first == 'w' ? "a/b UDP 10.96.0.10:53 -> 10.1.0.2:8081"
                     : "a/b UDP 10.96.0.10:53 -> 10.1.0.2:8080");
  char other = ask();
  EXPECT_NE(other, first);
  apply(both);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(), other);
  EXPECT_EQ(write(to_client[1], "q", 1), 1);
  waitpid(child, nullptr, 0);
  for (int fd : {to_driver[0], to_driver[1], to_client[0], to_client[1]}) close(fd);
}

TEST_F(SocketTest, RestartKeepsOldConnectionsAndServesNewOnesMeanwhile) {
  apply(two_families);
  int control[2], answers[2];
  ASSERT_EQ(pipe(control), 0);
  ASSERT_EQ(pipe(answers), 0);
  pid_t child = fork();
  if (child == 0) {
    run_in(node(), lab_->cgroup(), [&] {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(80);
      inet_pton(AF_INET, "10.96.0.10", &to.sin_addr);
      char ok = connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 'y' : 'n';
      char go;
      while (read(control[0], &go, 1) == 1 && go == 'g') {
        char answer[64];
        if (send(fd, "?", 1, MSG_NOSIGNAL) != 1 || recv(fd, answer, sizeof answer, 0) <= 0)
          ok = 'n';
        [[maybe_unused]] ssize_t n = write(answers[1], &ok, 1);
      }
      return std::string();
    });
    _exit(0);
  }
  auto alive = [&] {
    char yes = '?';
    EXPECT_EQ(write(control[1], "g", 1), 1);
    EXPECT_EQ(read(answers[0], &yes, 1), 1);
    return yes == 'y';
  };
  const Dial web = {"10.96.0.10", 80};
  EXPECT_TRUE(alive());
  driver_.reset();
  EXPECT_TRUE(alive());
  EXPECT_EQ(from_node(web), "web 10.1.0.1 from 10.96.0.10:80");
  start();
  EXPECT_TRUE(alive());
  EXPECT_EQ(from_node(web), "web 10.1.0.1 from 10.96.0.10:80");
  ApplyReport report = driver_->apply(table_of(two_families), {}, true);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.writes, 0u);
  EXPECT_TRUE(alive());
  EXPECT_EQ(write(control[1], "q", 1), 1);
  waitpid(child, nullptr, 0);
  for (int fd : {control[0], control[1], answers[0], answers[1]}) close(fd);
}

TEST_F(SocketTest, CleanupLeavesNothing) {
  apply(two_families);
  {
    auto scope = net::NetnsScope::enter(node());
    ASSERT_TRUE(driver_->cleanup());
  }
  EXPECT_EQ(from_node({"10.96.0.10", 80}), "ENETUNREACH");
  struct stat info{};
  EXPECT_NE(stat((lab_->bpffs() + "/fairlead").c_str(), &info), 0);
  struct statfs fs{};
  ASSERT_EQ(statfs(lab_->bpffs().c_str(), &fs), 0);
  EXPECT_NE(static_cast<unsigned long>(fs.f_type), 0xcafe4a11ul) << "its own mount is gone";
  driver_.reset();
}

}  // namespace
}  // namespace fairlead::dataplane::test
