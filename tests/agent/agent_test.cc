// A whole agent in this process, fed by a folder of manifests; the proxy is off, so it needs no
// root.
#include "agent/agent.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "net/http_client.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view manifest = R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.20
  clusterIPs: [10.96.0.20]
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: default
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.0.5]}]
)";

class AgentOnManifests : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-agent-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    std::filesystem::create_directory(folder_ + "/manifests");
    write("manifests/web.yaml", manifest);
    config_.manifests = folder_ + "/manifests";
    config_.node_name = "here";
    config_.proxy_mode = ProxyMode::none;
    config_.dns = false;
    config_.ingress_http = {{Ip::v4(0x7f000001), 0}};
    config_.ingress_https.clear();
    config_.ingress_workers = 1;
    config_.healthz_listen = config_.metrics_listen = {Ip::v4(0x7f000001), 0};
    config_.socket = folder_ + "/agent.sock";
  }
  void TearDown() override {
    if (agent_) agent_->stop();
    if (thread_.joinable()) thread_.join();
    agent_.reset();
    std::filesystem::remove_all(folder_);
  }

  void write(const std::string& file, std::string_view text) {
    std::ofstream(folder_ + "/" + file) << text;
  }
  Result<void> start() {
    agent_ = std::make_unique<Agent>(config_, "test", Log(sink_));
    auto started = agent_->start();
    if (started) thread_ = std::thread([this] { agent_->run(); });
    return started;
  }
  net::HttpResponse get(const std::string& path, const std::string& method = "GET") {
    net::HttpTarget target;
    target.unix_path = config_.socket;
    net::HttpRequest request;
    request.target = path;
    request.method = method;
    auto response = net::fetch(target, std::move(request));
    EXPECT_TRUE(response) << response.error().message;
    return response ? *response : net::HttpResponse{};
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::string folder_;
  AgentConfig config_;
  MemoryLogSink sink_;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
};

TEST_F(AgentOnManifests, BecomesReadyAndSaysWhatItIs) {
  ASSERT_TRUE(start());
  EXPECT_TRUE(eventually([&] { return get("/readyz").status == 200; }));
  EXPECT_EQ(get("/livez").body, "ok\n");
  EXPECT_EQ(get("/proxyMode").body, "none");
  EXPECT_EQ(get("/nowhere").status, 404);
  EXPECT_NE(get("/metrics").body.find("# TYPE "), std::string::npos);
  const auto report = from_json(*parse_json(get("/status").body));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->node, "here");
  EXPECT_EQ(report->proxy_mode, "none");
  EXPECT_TRUE(report->errors.empty());
}

TEST_F(AgentOnManifests, EveryEndpointAnswersItsMethodOnly) {
  ASSERT_TRUE(start());
  struct Case {
    const char *method, *path;
    int status;
    std::string_view body;
  };
  const Case cases[] = {
      {"GET", "/healthz", 200, "ok"},
      {"HEAD", "/healthz", 200, ""},
      {"POST", "/healthz", 405, "only GET is served here"},
      {"GET", "/configz", 200, "\"kind\":\"KubeProxyConfiguration\""},
      {"GET", "/configz", 200, "\"proxy-mode\":\"none\""},
      {"GET", "/metrics", 200, "kubernetes_build_info{"},
      {"GET", "/metrics", 200, "kubeproxy_proxy_healthz_total{code=\"200\"}"},
      {"PUT", "/proxyMode?mode=ebpf", 404, "the service proxy is switched off"},
      {"POST", "/verify", 404, "the service proxy is switched off"},
      {"GET", "/verify", 405, ""},
      {"GET", "/explain?service=web", 404, "the service proxy is switched off"},
      {"GET", "/dump", 404, "the service proxy is switched off"},
      {"GET", "/other", 404, "/configz"},
  };
  for (const Case& c : cases) {
    const auto answer = get(c.path, c.method);
    EXPECT_EQ(answer.status, c.status) << c.method << ' ' << c.path;
    EXPECT_NE(answer.body.find(c.body), std::string::npos) << c.path << ": " << answer.body;
  }
}

TEST_F(AgentOnManifests, ABrokenManifestShowsInStatusAndTheRestStays) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(eventually([&] { return get("/readyz").status == 200; }));
  write("manifests/bad.yaml", "kind: Service\n  apiVersion: [v1\n");
  EXPECT_TRUE(
      eventually([&] { return get("/status").body.find("bad.yaml:") != std::string::npos; }));
  EXPECT_EQ(get("/readyz").status, 200);
  std::filesystem::remove(folder_ + "/manifests/bad.yaml");
  EXPECT_TRUE(
      eventually([&] { return get("/status").body.find("bad.yaml:") == std::string::npos; }));
}

TEST_F(AgentOnManifests, StartErrorsNameTheSetting) {
  struct Case {
    std::function<void(AgentConfig&)> spoil;
    std::string_view want;
  };
  const Case cases[] = {
      {[](AgentConfig& c) { c.manifests = "/nonexistent"; }, "--manifests /nonexistent"},
      {[](AgentConfig& c) { c.manifests.clear(), c.kubeconfig = "/nonexistent"; },
       "--kubeconfig: /nonexistent: cannot be read"},
      {[](AgentConfig& c) { c.manifests.clear(); }, "Name a source of cluster state"},
      {[](AgentConfig& c) { c.dns = true, c.corefile = "/nonexistent"; },
       "--corefile: /nonexistent: cannot be read"},
      {[](AgentConfig& c) { c.dns = true, c.corefile = "/tmp"; },
       "--corefile: /tmp: cannot be read: Is a directory"},
      {[](AgentConfig& c) { c.healthz_listen = {*Ip::parse("192.0.2.1"), 1}; }, "--healthz-listen"},
      {[](AgentConfig& c) { c.metrics_listen = {*Ip::parse("192.0.2.1"), 1}; }, "--metrics-listen"},
      {[](AgentConfig& c) { c.sysctls = {{"net.none.such", "1"}}; }, "--sysctls net.none.such"},
      {[](AgentConfig& c) { c.socket = "/proc/none/agent.sock"; }, "--socket"},
  };
  const AgentConfig good = config_;
  for (const Case& c : cases) {
    config_ = good;
    c.spoil(config_);
    const auto started = start();
    ASSERT_FALSE(started) << c.want;
    EXPECT_NE(started.error().message.find(c.want), std::string::npos) << started.error().message;
    agent_.reset();
  }
}

// Whoever mistypes a setting, or starts a second agent, must not have changed the kernel by that.
TEST_F(AgentOnManifests, WhatCanFailBeforeTheKernelFailsBeforeTheKernel) {
  net::EventLoop loop;
  net::HttpServer other(loop, Log(sink_), [](net::HttpRequest, std::unique_ptr<net::Responder>) {});
  const auto taken = other.listen({Ip::v4(0x7f000001), 0});
  ASSERT_TRUE(taken);
  const std::pair<std::function<void(AgentConfig&)>, std::string_view> cases[] = {
      {[](AgentConfig& c) { c.manifests = "/nonexistent"; }, "--manifests"},
      {[&](AgentConfig& c) { c.healthz_listen = *taken; }, "--healthz-listen"},
      {[&](AgentConfig& c) { c.ingress_http = {*taken}; }, "http"},
      {[](AgentConfig& c) { c.dns = true, c.corefile = "/nonexistent"; }, "--corefile"},
      {[](AgentConfig&) {}, "--proxy-mode ebpf"},  // and so it would have failed there
  };
  config_.proxy_mode = ProxyMode::ebpf;
  config_.cgroup = folder_ + "/no-cgroup";
  config_.bpffs = folder_ + "/no-bpffs";
  const AgentConfig good = config_;
  for (const auto& [spoil, want] : cases) {
    config_ = good;
    spoil(config_);
    const auto started = start();
    ASSERT_FALSE(started) << want;
    EXPECT_NE(started.error().message.find(want), std::string::npos) << started.error().message;
    agent_.reset();
  }
}

}  // namespace
}  // namespace fairlead::agent
