// A whole API on a disk in memory, driven by requests without sockets.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "controlplane/bootstrap.h"
#include "controlplane/rest.h"
#include "store_support.h"

namespace fairlead::controlplane {

// What came back on one request.
struct Answer {
  int status = 0;  // 0: nothing yet
  net::Headers headers;
  std::string body;  // whole, or what the stream has carried so far
  bool streaming = false, finished = false;
  std::function<void()> gone;

  json::value document() const { return parsed(body); }
  std::string text(auto... keys) const { return std::string(find_string(document(), keys...)); }
  // The lines of a watch as "ADDED name@revision".
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    for (std::string_view line : split(body, '\n')) {
      if (line.empty()) continue;
      json::value event = parsed(line);
      const json::value& object = *find(event, "object");
      std::string_view name = find_string(object, "metadata", "name");
      out.push_back(cat(find_string(event, "type"), " ",
                        name.empty() ? find_string(object, "reason") : name));
    }
    return out;
  }
};

class FakeResponder final : public net::Responder {
 public:
  explicit FakeResponder(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  ~FakeResponder() override { answer_->gone = nullptr; }
  void send(net::HttpResponse response) override {
    answer_->status = response.status;
    answer_->headers = std::move(response.headers);
    answer_->body = std::move(response.body);
    answer_->finished = true;
  }
  void start(net::HttpResponse head) override {
    answer_->status = head.status;
    answer_->headers = std::move(head.headers);
    answer_->streaming = true;
  }
  void write(std::string_view bytes) override { answer_->body += bytes; }
  void finish() override { answer_->finished = true; }
  size_t unsent_bytes() const override { return 0; }
  void on_gone(std::move_only_function<void()> gone) override {
    auto shared = std::make_shared<std::move_only_function<void()>>(std::move(gone));
    answer_->gone = [shared] { (*shared)(); };
  }

 private:
  std::shared_ptr<Answer> answer_;
};

class RestRig {
 public:
  explicit RestRig(std::shared_ptr<FakeDisk> disk = std::make_shared<FakeDisk>(),
                   Hub::Options hub_options = {})
      : disk_(std::move(disk)),
        log_(sink),
        store(loop, resources, std::make_unique<FakeLog>(disk_), log_, registry, {}),
        hub(loop, resources, clock, registry, hub_options),
        rules(ObjectRules::load().value()),
        writer(store, resources, rules, {{*Cidr::parse("10.96.0.0/16")}, 30000, 32767}, clock),
        api({loop, resources, rules, store, hub, writer, clock, registry, 1000}, log_) {
    EXPECT_TRUE(store.load([this](const StoreEvent& event) { hub.publish(event); }));
    hub.set_floor(store.compacted());
    writer.adopt_services();
    bool filled = false;
    bootstrap(store, resources, writer,
              {*Cidr::parse("10.96.0.0/16"), {*Ip::parse("192.0.2.1"), 6443}, {}},
              [&](const Result<void>& outcome) {
                filled = true;
                EXPECT_TRUE(outcome) << outcome.error().message;
              });
    for (int turn = 0; !filled && turn < 1000; ++turn) loop.run_once(std::chrono::milliseconds(10));
    EXPECT_TRUE(filled);
    EXPECT_EQ(call("GET /readyz").status, 500);  // not before somebody says so
    api.set_ready();
    start = store.revision();
  }

  std::shared_ptr<Answer> send(net::HttpRequest request) {
    if (!request.peer.uid && request.peer.certificate_user.empty()) request.peer.uid = 0;
    auto answer = std::make_shared<Answer>();
    api.handle(std::move(request), std::make_unique<FakeResponder>(answer));
    return answer;
  }
  // One request, until it is answered. `line` is "GET /path".
  Answer call(std::string_view line, std::string body = {}, std::string_view content_type = {},
              std::string_view accept = {}) {
    auto answer = send(request(line, std::move(body), content_type, accept));
    for (int turn = 0; answer->status == 0 && turn < 1000; ++turn)
      loop.run_once(std::chrono::milliseconds(10));
    EXPECT_NE(answer->status, 0) << line;
    return *answer;
  }
  std::shared_ptr<Answer> watch(std::string_view path) { return send(request(cat("GET ", path))); }
  net::HttpRequest request(std::string_view line, std::string body = {},
                           std::string_view content_type = {}, std::string_view accept = {}) {
    size_t space = line.find(' ');
    net::HttpRequest out{.method = std::string(line.substr(0, space)),
                         .target = std::string(line.substr(space + 1)),
                         .body = std::move(body)};
    if (!content_type.empty()) out.headers.add("Content-Type", std::string(content_type));
    if (!accept.empty()) out.headers.add("Accept", std::string(accept));
    return out;
  }
  void settle() {
    for (int turn = 0; store.pending() > 0 && turn < 1000; ++turn)
      loop.run_once(std::chrono::milliseconds(10));
  }

 private:
  std::shared_ptr<FakeDisk> disk_;
  MemoryLogSink sink;
  Log log_;

 public:
  net::EventLoop loop;
  FakeClock clock;
  Registry registry;
  ResourceTable resources;
  Store store;
  Hub hub;
  ObjectRules rules;
  Writer writer;
  Api api;
  uint64_t start = 0;  // the revision after bootstrap
};

inline constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
inline constexpr const char* kPods = "/api/v1/namespaces/default/pods";
inline constexpr const char* kServices = "/api/v1/namespaces/default/services";
inline constexpr const char* kMerge = "application/merge-patch+json";

inline std::string map_text(std::string_view name, std::string_view data = "v") {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name,
             R"("},"data":{"k":")", data, R"("}})");
}

inline std::string pod_text(std::string_view name, std::string_view node = "",
                            std::string_view extra = "") {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")", name, "\"", extra,
             R"(},"spec":{"containers":[{"name":"c","image":"i"}])",
             node.empty() ? "" : cat(R"(,"nodeName":")", node, "\""), "}}");
}

class RestWriteTest : public testing::Test {
 protected:
  RestRig rig;
};

}  // namespace fairlead::controlplane
