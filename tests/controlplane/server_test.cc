// The whole server: TLS, unix sockets, restart, controllers, settings that cannot work.
#include "controlplane/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "net/http_client.h"
#include "store_support.h"
#include "watch/kubeconfig.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

class ServerTest : public testing::Test {
 protected:
  Config config() {
    Config out;
    out.data_dir = dir / "data";
    out.listen = {Ip::v4(0x7f000001), 0};
    out.unix_socket = dir / "api.sock";
    out.admin_kubeconfig = dir / "admin.conf";
    return out;
  }
  void start() {
    server = std::make_unique<Server>(config(), Log(sink, LogLevel::warn), registry);
    Result<void> started = server->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  net::HttpResponse ask(std::string_view line, std::string body = {}, std::string_view type = {}) {
    net::HttpTarget target;
    target.unix_path = dir / "api.sock";
    return ask(target, line, std::move(body), type);
  }
  static net::HttpResponse ask(const net::HttpTarget& target, std::string_view line,
                               std::string body = {}, std::string_view type = {}) {
    size_t space = line.find(' ');
    net::HttpRequest request{.method = std::string(line.substr(0, space)),
                             .target = std::string(line.substr(space + 1)),
                             .body = std::move(body)};
    if (!type.empty()) request.headers.add("Content-Type", std::string(type));
    Result<net::HttpResponse> answer = net::fetch(target, request);
    EXPECT_TRUE(answer) << line << ": " << (answer ? "" : answer.error().message);
    return answer ? *std::move(answer) : net::HttpResponse{};
  }
  // Asks again until the answer has the text, for what controllers do in their own time.
  testing::AssertionResult eventually(std::string_view line, int status, std::string_view text) {
    net::HttpResponse last;
    for (int attempt = 0; attempt < 200; ++attempt) {
      last = ask(line);
      if (last.status == status && last.body.find(text) != std::string::npos)
        return testing::AssertionSuccess();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return testing::AssertionFailure() << line << " stayed " << last.status << " " << last.body;
  }

  TempDir dir;
  FdLogSink sink{2};
  Registry registry;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, ItsKubeconfigOpensTheApiOverTls) {
  start();
  Result<watch::ApiAccess> access = watch::load_kubeconfig(dir / "admin.conf");
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->target.port, server->address().port);
  EXPECT_EQ(ask(access->target, "GET /api/v1/namespaces/default").status, 200);
  struct stat info{};
  ASSERT_EQ(::stat((dir / "admin.conf").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat((dir / "data/store.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(ServerTest, WhoeverHasNoCertificateSeesOnlyHealthAndVersion) {
  start();
  Result<std::shared_ptr<const net::TlsContext>> tls =
      net::TlsContext::client({.server_name = "localhost", .insecure_skip_verify = true});
  ASSERT_TRUE(tls);
  net::HttpTarget target{.host = "127.0.0.1", .port = server->address().port, .tls = *tls};
  EXPECT_EQ(ask(target, "GET /version").status, 200);
  EXPECT_EQ(ask(target, "GET /readyz").status, 200);
  EXPECT_EQ(ask(target, "GET /api/v1/secrets").status, 403);
  EXPECT_EQ(ask(target, "GET /metrics").status, 403);
}

TEST_F(ServerTest, ACertificateOfAnotherAuthorityIsNoCredential) {
  start();
  auto other = net::self_signed({.common_name = "other", .is_authority = true});
  ASSERT_TRUE(other);
  auto forged = net::issue(
      {.common_name = "kubernetes-admin", .organizations = {"system:masters"}, .for_client = true},
      *other);
  ASSERT_TRUE(forged);
  auto tls = net::TlsContext::client({.certificate_pem = forged->certificate_pem,
                                      .key_pem = forged->key_pem,
                                      .server_name = "localhost",
                                      .insecure_skip_verify = true});
  ASSERT_TRUE(tls);
  net::HttpTarget target{.host = "127.0.0.1", .port = server->address().port, .tls = *tls};
  net::HttpRequest request{.target = "/api/v1/secrets"};
  Result<net::HttpResponse> answer = net::fetch(target, request);
  EXPECT_TRUE(!answer || answer->status == 401 || answer->status == 403);
}

TEST_F(ServerTest, KeepsEverythingAcrossARestart) {
  start();
  ASSERT_EQ(ask("POST /api/v1/namespaces/default/configmaps",
                R"({"metadata":{"name":"a"},"data":{"k":"v"}})")
                .status,
            201);
  ASSERT_EQ(ask("POST /api/v1/namespaces/default/services",
                R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})")
                .status,
            201);
  std::string before = ask("GET /api/v1/namespaces/default/services/s").body;
  std::string authority = [&] {
    std::ifstream in(dir / "data/pki/ca.crt");
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  server.reset();
  start();
  EXPECT_EQ(ask("GET /api/v1/namespaces/default/services/s").body, before);
  std::string ip(find_string(parsed(before), "spec", "clusterIP"));
  EXPECT_EQ(ask("POST /api/v1/namespaces/default/services",
                cat(R"({"metadata":{"name":"t"},"spec":{"clusterIP":")", ip,
                    R"(","ports":[{"port":80}]}})"))
                .status,
            422);
  std::ifstream in(dir / "data/pki/ca.crt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), authority);
}

TEST_F(ServerTest, ControllersFollowServicesAndNamespaces) {
  start();
  ASSERT_EQ(ask("POST /api/v1/namespaces", R"({"metadata":{"name":"web"}})").status, 201);
  ASSERT_EQ(
      ask("POST /api/v1/namespaces/web/services",
          R"({"metadata":{"name":"s"},"spec":{"selector":{"app":"s"},"ports":[{"port":80,"targetPort":8080}]}})")
          .status,
      201);
  ASSERT_EQ(
      ask("POST /api/v1/namespaces/web/pods",
          R"({"metadata":{"name":"p","labels":{"app":"s"}},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})")
          .status,
      201);
  ASSERT_EQ(
      ask("PATCH /api/v1/namespaces/web/pods/p/status",
          R"({"status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}],"conditions":[{"type":"Ready","status":"True"}]}})",
          "application/merge-patch+json")
          .status,
      200);
  EXPECT_TRUE(eventually("GET /apis/discovery.k8s.io/v1/namespaces/web/endpointslices", 200,
                         R"("addresses":["10.1.2.3"])"));
  ASSERT_EQ(ask("DELETE /api/v1/namespaces/web").status, 200);
  EXPECT_TRUE(eventually("GET /api/v1/namespaces/web", 404, "not found"));
  EXPECT_TRUE(eventually("GET /api/v1/namespaces/web/services", 200, R"("items":[])"));
}

TEST_F(ServerTest, StreamsAWatchOverTheSocket) {
  start();
  net::EventLoop loop;
  net::HttpTarget target;
  target.unix_path = dir / "api.sock";
  net::HttpClient client(loop, target);
  std::string got;
  auto call = client.call({.target = "/api/v1/namespaces/default/configmaps?watch=true"},
                          {.on_head = [](const net::HttpHead&) {},
                           .on_data = [&](std::string_view bytes) { got += bytes; },
                           .on_done = [](const Result<void>&) {}});
  ask("POST /api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  for (int turn = 0; turn < 500 && got.find("\"a\"") == std::string::npos; ++turn)
    loop.run_once(std::chrono::milliseconds(10));
  EXPECT_THAT(got, HasSubstr(R"({"type":"ADDED","object":{)"));
}

struct BadConfig {
  const char* what;
  std::function<void(Config&, const TempDir&)> change;
  std::string complaint;
};

class ServerConfigTest : public ServerTest, public testing::WithParamInterface<BadConfig> {};

INSTANTIATE_TEST_SUITE_P(
    Table, ServerConfigTest,
    testing::Values(
        BadConfig{"NoFolder", [](Config& c, const TempDir&) { c.data_dir = ""; }, "data_dir"},
        BadConfig{"FolderThatCannotBe", [](Config& c, const TempDir&) { c.data_dir = "/proc/x"; },
                  "/proc/x"},
        BadConfig{"NoServiceRange", [](Config& c, const TempDir&) { c.service_cidrs.clear(); },
                  "service_cidrs"},
        BadConfig{"TwoOfOneFamily",
                  [](Config& c, const TempDir&) {
                    c.service_cidrs = {*Cidr::parse("10.0.0.0/16"), *Cidr::parse("10.1.0.0/16")};
                  },
                  "both ranges are of one family"},
        BadConfig{
            "TinyRange",
            [](Config& c, const TempDir&) { c.service_cidrs = {*Cidr::parse("10.0.0.0/30")}; },
            "10.0.0.0/30 is too small"},
        BadConfig{"NodePorts", [](Config& c, const TempDir&) { c.node_port_low = 40000; },
                  "node ports 40000-32767"},
        BadConfig{"AddressOfNobody",
                  [](Config& c, const TempDir&) { c.listen = {*Ip::parse("203.0.113.7"), 0}; },
                  "203.0.113.7"},
        BadConfig{"SocketInNoFolder",
                  [](Config& c, const TempDir&) { c.unix_socket = "/proc/missing/x.sock"; },
                  "missing/x.sock"},
        BadConfig{"KubeconfigInNoFolder",
                  [](Config& c, const TempDir&) { c.admin_kubeconfig = "/proc/missing/conf"; },
                  "missing/conf"},
        BadConfig{"DamagedStore",
                  [](Config& c, const TempDir&) {
                    ::mkdir(c.data_dir.c_str(), 0700);
                    std::ofstream(c.data_dir + "/store.db") << std::string(5000, 'x');
                  },
                  "store.db: "}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(ServerConfigTest, IsAnErrorThatNamesTheSetting) {
  Config broken = config();
  GetParam().change(broken, dir);
  Server tried(broken, Log(sink, LogLevel::error), registry);
  Result<void> started = tried.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr(GetParam().complaint));
}

TEST_F(ServerTest, ASecondServerOnTheSameFolderOrPortIsRefused) {
  start();
  Config same_folder = config();
  same_folder.unix_socket.clear();
  Server second(same_folder, Log(sink, LogLevel::error), registry);
  Result<void> started = second.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("is another server running on it?"));

  Config same_port = config();
  same_port.data_dir = dir / "other";
  same_port.unix_socket.clear();
  same_port.listen = server->address();
  Server third(same_port, Log(sink, LogLevel::error), registry);
  started = third.start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr(server->address().to_string()));
  EXPECT_EQ(ask("GET /healthz").status, 200);  // the first one goes on
}

TEST_F(ServerTest, StopsTwiceAndStartsAgainElsewhere) {
  start();
  server->stop();
  server->stop();
  server.reset();
  start();
  EXPECT_EQ(ask("GET /readyz").status, 200);
}

// Writes by many clients at once, kill -9 in the middle: what was acknowledged is there afterwards.
TEST_F(ServerTest, KilledUnderLoadItLosesNothingAcknowledged) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Server doomed(config(), Log(sink, LogLevel::error), registry);
    if (!doomed.start()) ::_exit(1);
    for (;;) ::pause();
  }
  net::HttpTarget target;
  target.unix_path = dir / "api.sock";
  bool up = false;
  for (int attempt = 0; attempt < 200 && !up; ++attempt) {
    Result<net::HttpResponse> ready = net::fetch(target, {.target = "/readyz"});
    up = ready && ready->status == 200;
    if (!up) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(up);
  std::vector<std::thread> writers;
  std::vector<std::vector<std::string>> acknowledged(8);
  for (size_t w = 0; w < acknowledged.size(); ++w)
    writers.emplace_back([&, w] {
      for (int i = 0; i < 10'000; ++i) {
        std::string name = cat("m-", w, "-", i);
        net::HttpRequest request{.method = "POST",
                                 .target = "/api/v1/namespaces/default/configmaps",
                                 .body = cat(R"({"metadata":{"name":")", name, "\"}}")};
        Result<net::HttpResponse> answer = net::fetch(target, request);
        if (!answer || answer->status != 201) return;
        acknowledged[w].push_back(name);
      }
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (std::thread& writer : writers) writer.join();
  start();
  size_t count = 0;
  std::string all = ask("GET /api/v1/namespaces/default/configmaps").body;
  for (const auto& names : acknowledged)
    for (const std::string& name : names) {
      ++count;
      EXPECT_THAT(all, HasSubstr(cat("\"", name, "\"")));
    }
  EXPECT_GT(count, 20U);
}

}  // namespace
}  // namespace fairlead::controlplane
