// What an agent asks the API server for: what it serves, and no more. Secrets of other types, other
// nodes and, without need, pods never cross the wire.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "agent/agent.h"
#include "api/kinds.h"
#include "net/http_server.h"

namespace fairlead::agent {
namespace {

// Empty lists, watches that stay open.
class EmptyCluster {
 public:
  explicit EmptyCluster(const std::string& socket)
      : server_(loop_, Log(sink_), [this](net::HttpRequest request, auto responder) {
          answer(request, std::move(responder));
        }) {
    EXPECT_TRUE(server_.listen_unix(socket));
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~EmptyCluster() {
    loop_.stop();
    thread_.join();
  }
  // Lists, without their page size, in alphabetical order.
  std::set<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::string token() {
    const std::lock_guard lock(mutex_);
    return token_;
  }

 private:
  void answer(const net::HttpRequest& request, std::unique_ptr<net::Responder> responder) {
    std::string kind, selector;
    bool watching = false;
    for (const api::KindInfo& one : api::kinds()) {
      if (api::collection_path(one) == request.path()) kind = one.name;
    }
    for (const auto& [name, value] : net::parse_query(request.query())) {
      if (name == "fieldSelector") selector = cat("?", value);
      watching = watching || name == "watch";
    }
    {
      const std::lock_guard lock(mutex_);
      if (!watching) asked_.insert(std::string(request.path()) + selector);
      token_ = request.headers.get("Authorization");
    }
    if (!watching) {
      return responder->send(net::HttpResponse::json(
          200,
          cat(R"({"kind":")", kind, R"(List","metadata":{"resourceVersion":"1"},"items":[]})")));
    }
    responder->start(net::HttpResponse::json(200, ""));
    held_.push_back(std::move(responder));
  }

  MemoryLogSink sink_;
  net::EventLoop loop_;
  std::mutex mutex_;
  std::set<std::string> asked_;
  std::string token_;
  std::vector<std::unique_ptr<net::Responder>> held_;
  net::HttpServer server_;
  std::thread thread_;
};

const std::set<std::string> always = {"/api/v1/namespaces", "/api/v1/nodes?metadata.name=node-1",
                                      "/api/v1/services",
                                      "/apis/discovery.k8s.io/v1/endpointslices"};
const std::set<std::string> for_ingress = {"/api/v1/secrets?type=kubernetes.io/tls",
                                           "/apis/networking.k8s.io/v1/ingressclasses",
                                           "/apis/networking.k8s.io/v1/ingresses"};

struct Case {
  const char* name;
  bool ingress;
  const char* pods;  // "": no DNS, else the mode of the Corefile
  std::set<std::string> more;
};

class FeedOptionsOf : public testing::TestWithParam<Case> {};

TEST_P(FeedOptionsOf, AskForWhatIsServed) {
  char name[] = "/tmp/fairlead-feed-options-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string folder = name;
  const auto cluster = std::make_unique<EmptyCluster>(folder + "/api.sock");
  std::ofstream(folder + "/kubeconfig")
      << "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
      << "clusters: [{name: c, cluster: {server: \"unix://" << folder << "/api.sock\"}}]\n"
      << "users: [{name: c, user: {token: t0ken}}]\n"
      << "contexts: [{name: c, context: {cluster: c, user: c}}]\n";
  std::ofstream(folder + "/Corefile") << ".:5399 {\n    kubernetes cluster.local {\n        pods "
                                      << GetParam().pods << "\n    }\n}\n";
  const Ip mine = Ip::v4(0x7f000003 | ((static_cast<uint32_t>(getpid()) & 0xffff) << 8));
  AgentConfig config;
  config.kubeconfig = folder + "/kubeconfig";
  config.node_name = "Node-1";
  config.proxy_mode = ProxyMode::none;
  config.ingress = GetParam().ingress;
  config.ingress_http = {{mine, 0}};
  config.ingress_https.clear();
  config.ingress_workers = config.dns_workers = 1;
  config.dns = *GetParam().pods != '\0';
  config.dns_bind = {mine};
  config.corefile = folder + "/Corefile";
  config.healthz_listen = config.metrics_listen = {mine, 0};
  config.socket = folder + "/agent.sock";
  MemoryLogSink sink;
  auto agent = std::make_unique<Agent>(config, "test", Log(sink));
  const auto started = agent->start();
  ASSERT_TRUE(started) << started.error().message;
  std::thread thread([&] { agent->run(); });

  std::set<std::string> want = always;
  want.insert(GetParam().more.begin(), GetParam().more.end());
  for (int i = 0; i < 500 && cluster->asked().size() < want.size(); ++i) usleep(10'000);
  usleep(50'000);  // and nothing else comes
  EXPECT_EQ(cluster->asked(), want);
  EXPECT_EQ(cluster->token(), "Bearer t0ken");
  agent->stop();
  thread.join();
  agent.reset();
  std::filesystem::remove_all(folder);
}

std::set<std::string> with_pods() { return {"/api/v1/pods"}; }

INSTANTIATE_TEST_SUITE_P(, FeedOptionsOf,
                         testing::Values(Case{"NothingButTheProxy", false, "", {}},
                                         Case{"Ingress", true, "", for_ingress},
                                         Case{"DnsWithoutPods", false, "disabled", {}},
                                         Case{"DnsThatMakesPodNamesUp", false, "insecure", {}},
                                         Case{"DnsThatLooksForPods", false, "verified",
                                              with_pods()}),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace fairlead::agent
