// A whole agent in this process, fed by a folder of manifests and asked over its socket. The proxy
// is off, so it needs no root; what else it serves is the test's choice, before start().
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "agent/agent.h"
#include "net/http_client.h"

namespace fairlead::agent {

class WholeAgent : public ::testing::Test {
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

  // A Service with one endpoint.
  static constexpr std::string_view manifest = R"(
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

  std::string folder_;
  AgentConfig config_;
  MemoryLogSink sink_;
  std::unique_ptr<Agent> agent_;
  std::thread thread_;
};

}  // namespace fairlead::agent
