// The client of commands and labs: against the control plane itself, and against servers that do
// not answer as one.
#include "cli/api_client.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "base/text.h"
#include "cli/lab/objects.h"
#include "controlplane/server.h"
#include "net/http_server.h"

namespace fairlead::cli {
namespace {

std::string temporary_folder() {
  char name[] = "/tmp/fairlead-client-XXXXXX";
  return mkdtemp(name);
}

net::HttpTarget on_socket(const std::string& path) {
  net::HttpTarget target;
  target.unix_path = path;
  return target;
}

class RealServer : public testing::Test {
 protected:
  void SetUp() override {
    controlplane::Config config;
    config.data_dir = folder_ + "/data";
    config.listen = {Ip::v4(0x7f000001), 0};
    config.unix_socket = folder_ + "/api.sock";
    config.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
    server_ = std::make_unique<controlplane::Server>(config, Log(sink_), registry_);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
    ASSERT_TRUE(client_.wait_ready(std::chrono::seconds(20)));
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::vector<std::string> names(api::Kind kind, const std::string& selector = {}) {
    std::vector<std::string> out;
    const auto items = client_.list(api::info(kind), selector);
    EXPECT_TRUE(items) << items.error().message;
    if (!items) return out;
    for (const auto& item : *items) out.emplace_back(find_string(item, "metadata", "name"));
    return out;
  }

  std::string folder_ = temporary_folder();
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<controlplane::Server> server_;
  ApiClient client_{on_socket(folder_ + "/api.sock")};
};

TEST_F(RealServer, TakesALabsObjectsTwice) {
  LabOptions options;
  options.nodes = 3;
  options.clients = 2;
  const auto objects = lab_objects(*plan_lab(options));
  for (int round = 0; round < 2; ++round) {
    for (const auto& object : objects) {
      const auto done = client_.apply(object);
      ASSERT_TRUE(done) << done.error().message;
    }
  }
  EXPECT_EQ(names(api::Kind::node, cat(lab_label, "=lab")),
            (std::vector<std::string>{"node1", "node2", "node3"}));
  EXPECT_EQ(names(api::Kind::pod, "app=client"), (std::vector<std::string>{"client", "client2"}));
  EXPECT_TRUE(names(api::Kind::node, cat(lab_label, "=other")).empty());
}

TEST_F(RealServer, RemovesWhatIsThereAndMindsNotWhatIsNot) {
  const auto& kind = api::info(api::Kind::config_map);
  const json::value object{{"apiVersion", "v1"},
                           {"kind", "ConfigMap"},
                           {"metadata", {{"name", "a"}, {"namespace", "default"}}}};
  ASSERT_TRUE(client_.apply(object));
  EXPECT_TRUE(client_.remove(kind, {"default", "a"}));
  EXPECT_TRUE(client_.remove(kind, {"default", "a"}));
  EXPECT_TRUE(client_.remove(kind, {"nowhere", "a"}));
}

TEST_F(RealServer, ErrorsAreTheServersOwnWords) {
  const auto refused = client_.apply({{"apiVersion", "v1"},
                                      {"kind", "Service"},
                                      {"metadata", {{"name", "a"}, {"namespace", "default"}}},
                                      {"spec", {{"ports", json::array{{{"port", 0}}}}}}});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("Service a: ")) << refused.error().message;
  EXPECT_NE(refused.error().message.find("spec.ports[0].port"), std::string::npos);
  EXPECT_EQ(client_.apply({{"apiVersion", "v1"}, {"kind", "Servce"}}).error().message,
            "cannot apply a Servce");
  EXPECT_NE(client_.list(api::info(api::Kind::pod), "a in (").error().message.find("list of pods"),
            std::string::npos);
}

TEST(Collections, AreInTheNamespaceWhereThereIsOne) {
  EXPECT_EQ(collection_of(api::info(api::Kind::pod), "shop"), "/api/v1/namespaces/shop/pods");
  EXPECT_EQ(collection_of(api::info(api::Kind::pod), ""), "/api/v1/pods");
  EXPECT_EQ(collection_of(api::info(api::Kind::node), "shop"), "/api/v1/nodes");
  EXPECT_EQ(collection_of(api::info(api::Kind::ingress), "a"),
            "/apis/networking.k8s.io/v1/namespaces/a/ingresses");
}

// One answer to everything.
class OddServer : public testing::Test {
 protected:
  void start(int status, std::string body) {
    server_ = std::make_unique<net::HttpServer>(loop_, Log(sink_), [=](auto, auto responder) {
      responder->send(net::HttpResponse::text(status, body));
    });
    ASSERT_TRUE(server_->listen_unix(folder_ + "/api.sock"));
    thread_ = std::thread([this] { loop_.run(); });
  }
  void TearDown() override {
    loop_.stop();
    if (thread_.joinable()) thread_.join();
    std::filesystem::remove_all(folder_);
  }
  std::string folder_ = temporary_folder();
  MemoryLogSink sink_;
  net::EventLoop loop_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
  ApiClient client_{on_socket(folder_ + "/api.sock")};
};

struct Odd {
  int status;
  std::string_view body, want;
};

class OddAnswers : public OddServer, public testing::WithParamInterface<Odd> {};

TEST_P(OddAnswers, AreErrorsThatSayWhatCame) {
  start(GetParam().status, std::string(GetParam().body));
  const auto done = client_.list(api::info(api::Kind::pod));
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find(GetParam().want), std::string::npos) << done.error().message;
  EXPECT_TRUE(done.error().message.starts_with("list of pods: "));
}

INSTANTIATE_TEST_SUITE_P(, OddAnswers,
                         testing::Values(Odd{502, "<html>no upstream</html>", "502 Bad Gateway"},
                                         Odd{503, "", "503 Service Unavailable"},
                                         Odd{401, "{}", "401 Unauthorized"},
                                         Odd{403, R"({"message":"no role"})", "no role"},
                                         Odd{200, "hello", "JSON"}, Odd{200, "", "JSON"}));

TEST_F(OddServer, ReadinessIsWaitedForAndThenTheLastAnswerIsSaid) {
  EXPECT_FALSE(client_.wait_ready(std::chrono::milliseconds(50)));
  start(500, "etcd is away");
  const auto ready = client_.wait_ready(std::chrono::milliseconds(50));
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().message, "not ready: etcd is away");
}

}  // namespace
}  // namespace fairlead::cli
