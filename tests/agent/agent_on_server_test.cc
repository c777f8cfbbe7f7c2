// A whole agent that follows a real control plane, both in this process: what users change arrives,
// and the loss of the server changes nothing but what status says.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/agent.h"
#include "controlplane/server.h"
#include "dataplane/fake_driver.h"
#include "net/http_client.h"

namespace fairlead::agent {
namespace {

class NftablesDriver final : public dataplane::FakeDriver {
 public:
  std::string_view mode() const override { return "nftables"; }
};

class AgentOnServer : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-agent-server-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    start_server();
    std::ofstream(folder_ + "/kubeconfig")
        << "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        << "clusters: [{name: c, cluster: {server: \"unix://" << folder_ << "/api.sock\"}}]\n"
        << "users: [{name: c, user: {}}]\n"
        << "contexts: [{name: c, context: {cluster: c, user: c}}]\n";
    AgentConfig config;
    config.kubeconfig = folder_ + "/kubeconfig";
    config.node_name = "node-1";
    config.node_ips = {Ip::v4(0xc0a80001)};
    config.proxy_mode = ProxyMode::nftables;
    config.dns = config.ingress = false;
    config.healthz_listen = config.metrics_listen = {Ip::v4(0x7f000001), 0};
    config.socket = folder_ + "/agent.sock";
    agent_ = std::make_unique<Agent>(config, "test", Log(sink_), [](dataplane::Mode) {
      return std::make_unique<NftablesDriver>();
    });
    const auto started = agent_->start();
    ASSERT_TRUE(started) << started.error().message;
    thread_ = std::thread([this] { agent_->run(); });
    ASSERT_TRUE(eventually([&] { return ask("/readyz").status == 200; }));
  }
  void TearDown() override {
    if (agent_) agent_->stop();
    if (thread_.joinable()) thread_.join();
    agent_.reset();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start_server() {
    controlplane::Config config;
    config.data_dir = folder_ + "/data";
    config.listen = {Ip::v4(0x7f000001), 0};
    config.unix_socket = folder_ + "/api.sock";
    server_ = std::make_unique<controlplane::Server>(config, Log(sink_), server_registry_);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  net::HttpResponse send(const std::string& socket, const std::string& method,
                         const std::string& path, const std::string& body = {}) {
    net::HttpTarget target;
    target.unix_path = cat(folder_, '/', socket);
    net::HttpRequest request;
    request.method = method;
    request.target = path;
    if (!body.empty()) request.headers.set("Content-Type", "application/json");
    request.body = body;
    auto response = net::fetch(target, std::move(request));
    return response ? *std::move(response) : net::HttpResponse{.status = 0};
  }
  net::HttpResponse ask(const std::string& path) { return send("agent.sock", "GET", path); }
  void put_service(const std::string& name, int port) {
    const auto made = send("api.sock", "POST", "/api/v1/namespaces/default/services",
                           cat(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":")", name,
                               R"("},"spec":{"ports":[{"port":)", port, "}]}}"));
    EXPECT_EQ(made.status, 201) << made.body;
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  bool dump_has(const std::string& text) {
    return eventually([&] { return ask("/dump").body.find(text) != std::string::npos; });
  }
  bool status_has(const std::string& text) {
    return eventually([&] { return ask("/status").body.find(text) != std::string::npos; });
  }

  std::string folder_;
  MemoryLogSink sink_;
  Registry server_registry_;
  std::unique_ptr<controlplane::Server> server_;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
};

TEST_F(AgentOnServer, FollowsWhatUsersChange) {
  put_service("web", 80);
  EXPECT_TRUE(dump_has("service default/web")) << ask("/dump").body;
  EXPECT_EQ(send("agent.sock", "GET", "/explain?service=web").status, 200);
  EXPECT_EQ(send("api.sock", "DELETE", "/api/v1/namespaces/default/services/web").status, 200);
  EXPECT_TRUE(eventually(
      [&] { return ask("/dump").body.find("service default/web") == std::string::npos; }));
  EXPECT_EQ(send("agent.sock", "GET", "/explain?service=web").status, 404);
}

TEST_F(AgentOnServer, WithoutItsServerItServesWhatItHas) {
  put_service("web", 80);
  ASSERT_TRUE(dump_has("service default/web"));
  server_.reset();
  EXPECT_TRUE(status_has("\"feed: services: "));
  EXPECT_TRUE(status_has(R"({"name":"feed","state":"degraded")"));
  EXPECT_EQ(ask("/readyz").status, 200) << "what is in the kernel goes on";
  EXPECT_EQ(ask("/healthz").status, 200);
  EXPECT_NE(ask("/dump").body.find("service default/web"), std::string::npos);
  EXPECT_TRUE(eventually([&] {
    return ask("/metrics").body.find("rest_client_requests_total{code=\"<error>\"") !=
           std::string::npos;
  }));

  start_server();
  put_service("later", 81);
  EXPECT_TRUE(dump_has("service default/later"));
  EXPECT_NE(ask("/dump").body.find("service default/web"), std::string::npos);
  EXPECT_TRUE(status_has("\"errors\":[]"));
}

TEST_F(AgentOnServer, ANodeOnItsWayOutFailsHealthzAlone) {
  EXPECT_EQ(ask("/healthz").status, 200) << "a node that nobody manages";
  const auto made = send("api.sock", "POST", "/api/v1/nodes",
                         R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node-1"},)"
                         R"("spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler",)"
                         R"("effect":"NoSchedule"}]}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_TRUE(eventually([&] { return ask("/healthz").status == 503; }));
  EXPECT_NE(ask("/healthz").body.find("\"nodeEligible\":false"), std::string::npos);
  EXPECT_EQ(ask("/livez").status, 200);
  EXPECT_EQ(ask("/readyz").status, 200);
  EXPECT_NE(ask("/metrics").body.find("kubeproxy_proxy_healthz_total{code=\"503\"}"),
            std::string::npos);
}

}  // namespace
}  // namespace fairlead::agent
