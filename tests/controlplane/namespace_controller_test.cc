// The controllers against a whole server in this process, over its unix socket: as users see them.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "api/json.h"
#include "base/text.h"
#include "controlplane/server.h"
#include "net/http_client.h"

namespace fairlead::controlplane {
namespace {

class Controllers : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-controllers-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    start();
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    Config config;
    config.data_dir = folder_ + "/data";
    config.listen = {Ip::v4(0x7f000001), 0};
    config.unix_socket = folder_ + "/api.sock";
    server_ = std::make_unique<Server>(config, Log(sink_), registry_);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
  }

  net::HttpResponse call(std::string method, std::string path, std::string body = {},
                         std::string type = "application/json") {
    net::HttpTarget target;
    target.unix_path = folder_ + "/api.sock";
    net::HttpRequest request{.method = std::move(method), .target = std::move(path)};
    if (!body.empty()) request.headers.set("Content-Type", std::move(type));
    request.body = std::move(body);
    auto response = net::fetch(target, std::move(request));
    EXPECT_TRUE(response) << (response ? "" : response.error().message);
    return response ? *response : net::HttpResponse{};
  }
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  // Ready addresses of a Service's slices, sorted, as one string.
  std::string addresses(const std::string& service) {
    const auto list = parse_json(
        call("GET", cat("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector="
                        "kubernetes.io/service-name%3D",
                        service))
            .body);
    std::vector<std::string> out;
    slices_ = find(*list, "items")->get_array().size();
    for (const auto& slice : find(*list, "items")->get_array()) {
      for (const auto& endpoint : find(slice, "endpoints")->get_array()) {
        if (find(endpoint, "conditions", "ready")->get_bool()) {
          out.emplace_back(find(endpoint, "addresses")->get_array()[0].get_string());
        }
      }
    }
    std::sort(out.begin(), out.end());
    return join(out, " ");
  }
  void make_pod(const std::string& name, const std::string& ip) {
    EXPECT_EQ(call("POST", "/api/v1/namespaces/default/pods",
                   cat(R"({"metadata":{"name":")", name,
                       R"(","labels":{"app":"web"}},"spec":{"nodeName":"n","containers":)",
                       R"([{"name":"c","image":"i"}]}})"))
                  .status,
              201);
    EXPECT_EQ(call("PATCH", cat("/api/v1/namespaces/default/pods/", name, "/status"),
                   cat(R"({"status":{"phase":"Running","podIP":")", ip, R"(","podIPs":[{"ip":")",
                       ip, R"("}],"conditions":[{"type":"Ready","status":"True"}]}})"),
                   "application/merge-patch+json")
                  .status,
              200);
  }
  void make_service(const std::string& name) {
    EXPECT_EQ(call("POST", "/api/v1/namespaces/default/services",
                   cat(R"({"metadata":{"name":")", name,
                       R"("},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})"))
                  .status,
              201);
  }

  std::string folder_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<Server> server_;
  size_t slices_ = 0;
};

TEST_F(Controllers, TopologyModeHintsAndSaysSoInEvents) {
  const auto make_node = [&](const std::string& name, const std::string& zone) {
    EXPECT_EQ(call("POST", "/api/v1/nodes",
                   cat(R"({"metadata":{"name":")", name,
                       R"(","labels":{"topology.kubernetes.io/zone":")", zone, R"("}}})"))
                  .status,
              201);
    EXPECT_EQ(call("PATCH", cat("/api/v1/nodes/", name, "/status"),
                   R"({"status":{"allocatable":{"cpu":"2"},)"
                   R"("conditions":[{"type":"Ready","status":"True"}]}})",
                   "application/merge-patch+json")
                  .status,
              200);
  };
  const auto events = [&] {
    const auto list = parse_json(
        call("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb")
            .body);
    std::vector<std::string> out;
    for (const auto& event : find(*list, "items")->get_array()) {
      out.push_back(cat(find_string(event, "reason"), ": ", find_string(event, "message")));
    }
    std::sort(out.begin(), out.end());
    return join(out, "\n");
  };
  const auto hints = [&] {
    const auto list = call("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
    size_t count = 0;
    for (size_t at = list.body.find("forZones"); at != list.body.npos;
         at = list.body.find("forZones", at + 1)) {
      ++count;
    }
    return count;
  };
  make_node("n", "a");
  make_pod("p1", "10.0.0.1");
  make_pod("p2", "10.0.0.2");
  make_service("web");
  call("PATCH", "/api/v1/namespaces/default/services/web",
       R"({"metadata":{"annotations":{"service.kubernetes.io/topology-mode":"Auto"}}})",
       "application/merge-patch+json");
  const std::string alone =
      "TopologyAwareHintsDisabled: Nodes only ready in one zone, addressType: IPv4";
  EXPECT_TRUE(eventually([&] { return events() == alone; })) << events();
  EXPECT_EQ(hints(), 0u);
  make_node("m", "b");
  EXPECT_TRUE(eventually([&] { return hints() == 2; }));
  const std::string enabled =
      "\nTopologyAwareHintsEnabled: Topology Aware Hints has been enabled, addressType: IPv4";
  EXPECT_TRUE(eventually([&] { return events().ends_with(enabled); })) << events();
  call("PATCH", "/api/v1/namespaces/default/services/web", R"({"metadata":{"annotations":null}})",
       "application/merge-patch+json");
  EXPECT_TRUE(eventually([&] { return hints() == 0; }));
}

TEST_F(Controllers, SlicesFollowPodsAndServices) {
  make_service("web");
  EXPECT_TRUE(eventually([&] { return addresses("web").empty() && slices_ == 1; }));
  make_pod("a", "10.244.0.1");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1"; }));
  make_pod("b", "10.244.0.2");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1 10.244.0.2"; }));
  EXPECT_EQ(slices_, 1u);  // the echo of a write is waited for: no slice is made twice
  call("PATCH", "/api/v1/namespaces/default/pods/a", R"({"metadata":{"labels":{"app":"x"}}})",
       "application/merge-patch+json");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.2"; }));
  call("DELETE", "/api/v1/namespaces/default/pods/b", R"({"gracePeriodSeconds":0})");
  EXPECT_TRUE(eventually([&] { return addresses("web").empty(); }));
  call("PATCH", "/api/v1/namespaces/default/services/web", R"({"spec":{"selector":{"app":"x"}}})",
       "application/merge-patch+json");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1"; }));
  call("DELETE", "/api/v1/namespaces/default/services/web");
  EXPECT_TRUE(eventually([&] { return addresses("web").empty() && slices_ == 0; }));
}

TEST_F(Controllers, WhatHappenedWhileNobodyWatchedIsMadeGood) {
  make_service("web");
  make_pod("a", "10.244.0.1");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1"; }));
  server_.reset();
  start();
  make_pod("b", "10.244.0.2");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1 10.244.0.2"; }));
  EXPECT_EQ(slices_, 1u);
}

TEST_F(Controllers, ASliceThatSomebodyDeletesComesBack) {
  make_service("web");
  make_pod("a", "10.244.0.1");
  ASSERT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1"; }));
  call("DELETE", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices");
  EXPECT_TRUE(eventually([&] { return addresses("web") == "10.244.0.1"; }));
}

TEST_F(Controllers, ADeletedNamespaceIsEmptiedAndGoes) {
  EXPECT_EQ(call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"team"}})").status, 201);
  for (const char* name : {"one", "two"}) {
    EXPECT_EQ(call("POST", "/api/v1/namespaces/team/configmaps",
                   cat(R"({"metadata":{"name":")", name, R"("}})"))
                  .status,
              201);
  }
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/team").status, 200);
  EXPECT_TRUE(eventually([&] { return call("GET", "/api/v1/namespaces/team").status == 404; }));
  EXPECT_EQ(call("GET", "/api/v1/namespaces/team/configmaps/one").status, 404);
}

TEST_F(Controllers, AFinalizerHoldsItsNamespaceUntilItIsTakenAway) {
  call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"held"}})");
  call("POST", "/api/v1/namespaces/held/configmaps",
       R"({"metadata":{"name":"x","finalizers":["example.com/wait"]}})");
  call("DELETE", "/api/v1/namespaces/held");
  EXPECT_TRUE(eventually([&] {
    const auto object = parse_json(call("GET", "/api/v1/namespaces/held/configmaps/x").body);
    return object && !find_string(*object, "metadata", "deletionTimestamp").empty();
  }));
  EXPECT_EQ(call("GET", "/api/v1/namespaces/held").status, 200);
  call("PATCH", "/api/v1/namespaces/held/configmaps/x", R"({"metadata":{"finalizers":null}})",
       "application/merge-patch+json");
  EXPECT_TRUE(eventually([&] { return call("GET", "/api/v1/namespaces/held").status == 404; }));
}

}  // namespace
}  // namespace fairlead::controlplane
