// The commands that run until they are told to stop, whole, in threads of this process.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "api/json.h"
#include "base/text.h"
#include "cli/command_line.h"
#include "net/http_client.h"
#include "net/netlink.h"
#include "tests/cli/transcript.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::cli {
namespace {

class Daemon {
 public:
  // `prepare` is called on the command's own thread.
  explicit Daemon(const std::string& line, const std::function<void()>& prepare = {})
      : words_(shell_words(line)), thread_([this, prepare] {
          if (prepare) prepare();
          std::vector<const char*> argv;
          for (const auto& word : words_) argv.push_back(word.c_str());
          code_ = run_command_line(static_cast<int>(argv.size()), argv.data());
        }) {}
  ~Daemon() {
    if (thread_.joinable()) stop();
  }
  // Its exit code. REQUIRES: it has answered before, so that it minds signals.
  int stop() {
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
    return code_;
  }

 private:
  std::vector<std::string> words_;
  int code_ = -1;
  std::thread thread_;
};

class Daemons : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-daemons-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    std::filesystem::create_directory(folder_ + "/manifests");
    host_ = Ip::v4(0x7f000000 | ((static_cast<uint32_t>(getpid()) & 0xffff) << 8) | 2);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  net::HttpTarget on_socket(const std::string& file) const {
    net::HttpTarget target;
    target.unix_path = cat(folder_, '/', file);
    return target;
  }
  net::HttpTarget on_port(uint16_t port) const {
    net::HttpTarget target;
    target.host = host_.to_string();
    target.port = port;
    return target;
  }
  // The body of the first 200, within 20 s.
  std::string get(const net::HttpTarget& target, const std::string& path) {
    Result<net::HttpResponse> answer = fail("not asked");
    for (int i = 0; i < 1000; ++i) {
      net::HttpRequest request;
      request.target = path;
      answer = net::fetch(target, std::move(request), std::chrono::seconds(2));
      if (answer && answer->status == 200) return answer->body;
      usleep(20'000);
    }
    return answer ? cat(answer->status, ' ', answer->body) : answer.error().message;
  }
  std::string quiet_agent(bool alone = true) const {
    return cat(" --proxy-mode none --no-dns --no-ingress --socket ", folder_,
               "/agent.sock --healthz-listen ", host_.to_string(), ":10256 --metrics-listen ",
               host_.to_string(), ":10249", alone ? " --log-level error " : " ");
  }
  std::string quiet_server() const {
    return cat(" --data-dir ", folder_, "/data --listen ", host_.to_string(),
               ":6443 --unix-socket ", folder_, "/api.sock --admin-kubeconfig ", folder_,
               "/admin.kubeconfig --log-level error ");
  }

  std::string folder_;
  Ip host_;
};

TEST_F(Daemons, EchoSaysWhoItIs) {
  Daemon echo(cat("fairlead echo --name b1 --http ", host_.to_string(), ":8080 --udp ",
                  host_.to_string(), ":9090"));
  const auto body = parse_json(get(on_port(8080), "/some/path?x=1"));
  ASSERT_TRUE(body);
  EXPECT_EQ(find_string(*body, "name"), "b1");
  EXPECT_EQ(find_string(*body, "method"), "GET");
  EXPECT_EQ(find_string(*body, "target"), "/some/path?x=1");

  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const timeval patience{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9090);
  to.sin_addr.s_addr = htonl(host_.to_v4());
  char answer[64] = {};
  sendto(fd, "hello", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  EXPECT_EQ(recv(fd, answer, sizeof answer, 0), 8);
  EXPECT_STREQ(answer, "b1 hello");
  close(fd);
  EXPECT_EQ(echo.stop(), 0);
}

TEST_F(Daemons, AnAgentOnAFolderOfManifests) {
  std::ofstream(folder_ + "/manifests/a.yaml")
      << "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}";
  Daemon agent(cat("fairlead agent --manifests ", folder_, "/manifests", quiet_agent()));
  EXPECT_NE(get(on_socket("agent.sock"), "/readyz").find("[+]feed ok"), std::string::npos);
  EXPECT_EQ(get(on_port(10256), "/healthz"), "ok\n");
  EXPECT_EQ(get(on_port(10249), "/proxyMode"), "none");
  const std::string status = cat(folder_, "/agent.sock");
  const char* argv[] = {"fairlead", "status", "--socket", status.c_str()};
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_command_line(4, argv), 0);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("PROXY       none"), std::string::npos);
  EXPECT_EQ(agent.stop(), 0);
}

TEST_F(Daemons, ASecondAgentOnTheSamePortsDoesNotStart) {
  const std::string line = cat("fairlead agent --manifests ", folder_, "/manifests", quiet_agent());
  Daemon agent(line);
  get(on_socket("agent.sock"), "/readyz");
  const auto words = shell_words(line);
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_command_line(static_cast<int>(argv.size()), argv.data()), 1);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("--healthz-listen: cannot bind"),
            std::string::npos);
  EXPECT_EQ(agent.stop(), 0);
}

TEST_F(Daemons, AServerThatKeepsItsObjects) {
  for (const bool first : {true, false}) {
    Daemon server(cat("fairlead server", quiet_server()));
    EXPECT_EQ(get(on_socket("api.sock"), "/readyz").substr(0, 2), "ok");
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/admin.kubeconfig"));
    if (first) {
      net::HttpRequest request;
      request.method = "POST";
      request.target = "/api/v1/namespaces/default/configmaps";
      request.headers.set("Content-Type", "application/json");
      request.body = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"}})";
      const auto made = net::fetch(on_socket("api.sock"), std::move(request));
      ASSERT_TRUE(made);
      EXPECT_EQ(made->status, 201) << made->body;
    } else {
      const auto kept = get(on_socket("api.sock"), "/api/v1/namespaces/default/configmaps/kept");
      EXPECT_NE(kept.find("\"kept\""), std::string::npos) << kept;
    }
    EXPECT_EQ(server.stop(), 0);
  }
}

TEST_F(Daemons, UpIsAServerAndAnAgentThatKnowEachOther) {
  Daemon up(cat("fairlead up --node-name Here", quiet_server(), quiet_agent(false)));
  EXPECT_NE(get(on_socket("agent.sock"), "/readyz").find("[+]feed ok"), std::string::npos);
  EXPECT_NE(get(on_socket("api.sock"), "/api/v1/nodes/here").find("\"here\""), std::string::npos);
  const auto status = parse_json(get(on_socket("agent.sock"), "/status"));
  ASSERT_TRUE(status);
  EXPECT_EQ(find_string(*status, "node"), "here");
  EXPECT_EQ(find_string(*status, "feed", "source"), cat("unix://", folder_, "/api.sock"));
  EXPECT_EQ(up.stop(), 0);
}

TEST_F(Daemons, UpRegistersOneAddressOfEachFamilyThatOthersCanReach) {
  SKIP_WHERE_MISSING(dataplane::Missing{&dataplane::why_no_namespaces});
  const auto prepare = [] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    auto netlink = net::Netlink::open();
    ASSERT_TRUE(netlink && netlink->set_up("lo"));
    ASSERT_TRUE(netlink->add_veth("uplink", "other"));
    const std::pair<const char*, int> addresses[] = {{"169.254.3.4", 16},
                                                     {"192.0.2.7", 24},
                                                     {"192.0.3.7", 24},
                                                     {"fe80::7", 64},
                                                     {"2001:db8::7", 64}};
    for (const auto& [ip, bits] : addresses) {
      ASSERT_TRUE(netlink->add_address("uplink", *Ip::parse(ip), bits)) << ip;
    }
  };
  Daemon up(cat("fairlead up --node-name here", quiet_server(), quiet_agent(false)), prepare);
  const auto node = parse_json(get(on_socket("api.sock"), "/api/v1/nodes/here"));
  ASSERT_TRUE(node);
  const auto* addresses = find(*node, "status", "addresses");
  ASSERT_NE(addresses, nullptr);
  EXPECT_EQ(json::serialize(*addresses), R"([{"type":"Hostname","address":"here"},)"
                                         R"({"type":"InternalIP","address":"192.0.2.7"},)"
                                         R"({"type":"InternalIP","address":"2001:db8::7"}])");
  EXPECT_NE(get(on_socket("agent.sock"), "/readyz").find("[+]feed ok"), std::string::npos);
  EXPECT_EQ(up.stop(), 0);
}

}  // namespace
}  // namespace fairlead::cli
