// A whole agent on a folder of manifests: what it answers over its socket and how it ends.
#include "tests/agent/whole_agent.h"

namespace fairlead::agent {
namespace {

class AgentOnManifests : public WholeAgent {
 protected:
  void SetUp() override {
    WholeAgent::SetUp();
    config_.dns = false;
    config_.ingress_http = {{Ip::v4(0x7f000001), 0}};
    config_.ingress_https.clear();
    config_.ingress_workers = 1;
  }
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
