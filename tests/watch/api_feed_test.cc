#include <filesystem>
#include <fstream>

#include "api_feed_lab.h"

namespace fairlead::watch {
namespace {

TEST_F(ApiFeed, AsksForBookmarksAndATimeout) {
  std::vector<std::string> targets;
  net::HttpServer server(loop_, log_, [&](net::HttpRequest request, auto responder) {
    targets.push_back(request.target);
    responder->send(net::HttpResponse::json(
        200, R"({"kind": "ServiceList", "metadata": {"resourceVersion": "7"}, "items": []})"));
  });
  const auto bound = server.listen({*Ip::parse("127.0.0.1"), 0});
  connect({.unix_path = "", .host = "127.0.0.1", .port = bound->port, .tls = nullptr});
  ASSERT_TRUE(run_until([&] { return targets.size() >= 2; }));
  feed_.reset();
  EXPECT_EQ(targets[0], "/api/v1/services?limit=500");
  const std::string head =
      "/api/v1/services?watch=true&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=";
  ASSERT_TRUE(targets[1].starts_with(head)) << targets[1];
  EXPECT_TRUE(parse_int(targets[1].substr(head.size()), 300, 600)) << targets[1];
}

TEST_F(ApiFeed, AsksForTheSelectedFieldsOnly) {
  options_.kinds = {api::Kind::pod};
  options_.field_selectors = {{api::Kind::pod, "spec.nodeName=a"}};
  start("pods hang");
  ASSERT_TRUE(run_until([&] { return server_->requests_of("pods") == 1; }));
  EXPECT_EQ(requests(), "pods limit=500 fieldSelector=spec.nodeName=a");
}

TEST_F(ApiFeed, DeliversNothingBeforeEveryKindIsListed) {
  options_.kinds = {api::Kind::service, api::Kind::node};
  start(R"(services list 10 a=80 b=80
           services watch -b@11; +c=80@12
           nodes status 503 starting
           nodes hang)");
  options_.request_timeout = std::chrono::milliseconds(200);
  ASSERT_TRUE(run_until([&] { return server_->requests_of("nodes") >= 2; }));
  run_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(ticks_.empty());
  EXPECT_FALSE(feed_->status().synced);
}

TEST_F(ApiFeed, TheFirstTickHasEveryKind) {
  options_.kinds = {};
  start("services list 10 a=80\nservices watch\nnodes list 5 n1 n2\nnodes watch");
  ASSERT_TRUE(run_until_services("a=80"));
  EXPECT_EQ(ticks_.size(), 1u);
  EXPECT_EQ(ticks_[0].snapshot->count(api::Kind::node), 2u);
  EXPECT_TRUE(ticks_[0].changes.everything);
}

TEST_F(ApiFeed, AnEmptyClusterIsATickToo) {
  options_.kinds = {};
  start("");
  ASSERT_TRUE(run_until_services(""));
  EXPECT_TRUE(ticks_[0].changes.everything);
}

TEST_F(ApiFeed, ARelistNeverShowsLessThanItShould) {
  start(R"(services list 10 a=80 b=80 c=80
           services watch error 410 old
           services list 20 continue=t a=80
           services status 500 broken
           services list 20 continue=t a=80
           services list 20 c=81
           services watch)");
  ASSERT_TRUE(run_until_services("a=80 c=81"));
  for (const Tick& tick : ticks_) {
    if (tick.services == "a=80 c=81") continue;
    EXPECT_EQ(tick.services, "a=80 b=80 c=80");
  }
}

TEST_F(ApiFeed, NamesTheTroubleAndForgetsItWhenItIsOver) {
  options_.min_backoff = std::chrono::milliseconds(60);
  start(R"(services status 403 services is forbidden: no role
           services list 10 a=80
           services watch +b=80@11; line nonsense)");
  ASSERT_TRUE(run_until_error("services: 403 Forbidden: services is forbidden: no role"));
  ASSERT_TRUE(run_until_error("services: not a watch event: invalid JSON"));
  ASSERT_TRUE(run_until_no_error());
  EXPECT_EQ(services(), "a=80 b=80");
}

TEST_F(ApiFeed, ComesBackWhenTheServerDoes) {
  char dir[] = "/tmp/fairlead-watch-XXXXXX";
  ASSERT_NE(::mkdtemp(dir), nullptr);
  const std::string path = cat(dir, "/api.sock");
  options_.max_backoff = std::chrono::milliseconds(20);
  connect({.unix_path = path, .host = "", .port = 0, .tls = nullptr});
  ASSERT_TRUE(run_until_error("services: "));
  EXPECT_TRUE(ticks_.empty());

  server_ = std::make_unique<FakeApiServer>(loop_, "services list 10 a=80\nservices watch");
  ASSERT_TRUE(server_->listen_unix(path));
  ASSERT_TRUE(run_until_services("a=80"));
  ASSERT_TRUE(run_until([&] { return server_->requests_of("services") == 2; }));
  ASSERT_TRUE(run_until_no_error());

  server_->stop();
  ASSERT_TRUE(run_until_error("services: "));
  run_for(std::chrono::milliseconds(100));
  EXPECT_EQ(services(), "a=80");  // nothing is lost while it is away

  server_ = std::make_unique<FakeApiServer>(loop_, "services watch +b=80@11");
  ASSERT_TRUE(server_->listen_unix(path));
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  EXPECT_EQ(requests(), "services watch 10");  // no list
  feed_.reset();
  std::filesystem::remove_all(dir);
}

TEST_F(ApiFeed, KeepsTheLastGoodVersionOfAnObjectThatCannotBeDecoded) {
  start(R"(services list 10 a=80 b=70000
           services watch ~a=70001@11; +c=80@12)");
  ASSERT_TRUE(run_until_services("a=80 c=80"));
  EXPECT_EQ(join(feed_->status().bad_objects, "\n"),
            "Service n/a: spec.ports[0].port: 70001 is not in 1..65535\n"
            "Service n/b: spec.ports[0].port: 70000 is not in 1..65535");
  EXPECT_TRUE(feed_->status().errors.empty());
  server_->step("services", "~a=81@13");
  server_->step("services", "-b@14");
  ASSERT_TRUE(run_until_services("a=81 c=80"));
  EXPECT_TRUE(run_until([&] { return feed_->status().bad_objects.empty(); }));
}

TEST_F(ApiFeed, ARelistKeepsBadObjectsThatAreStillThere) {
  start(R"(services list 10 a=80 b=80
           services watch error 410 old
           services list 20 a=70000 c=80
           services watch)");
  ASSERT_TRUE(run_until_services("a=80 c=80"));
  EXPECT_EQ(feed_->status().bad_objects.size(), 1u);
}

TEST_F(ApiFeed, GivesUpOnAListThatHangs) {
  options_.request_timeout = std::chrono::milliseconds(50);
  start("services hang\nservices list 10 a=80\nservices watch");
  ASSERT_TRUE(run_until_services("a=80"));
  EXPECT_EQ(count("fairlead_feed_errors_total"), 1u);
}

TEST_F(ApiFeed, StartsASilentWatchAgainWithoutAList) {
  options_.watch_idle = std::chrono::milliseconds(50);
  start("services list 10 a=80\nservices watch\nservices hang\nservices watch +b=80@11");
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  EXPECT_TRUE(requests().starts_with(
      "services limit=500\nservices watch 10\nservices watch 10\nservices watch 10"))
      << requests();
}

TEST_F(ApiFeed, DoesNotSpinOnAServerThatEndsEveryWatch) {
  options_.min_backoff = std::chrono::milliseconds(40);
  std::string script = "services list 10 a=80\n";
  for (int i = 0; i < 200; ++i) script += "services watch end\n";
  start(script);
  run_for(std::chrono::milliseconds(500));
  EXPECT_LT(server_->requests_of("services"), 10u);
}

TEST_F(ApiFeed, GathersABurstIntoFewTicks) {
  options_.coalesce = std::chrono::milliseconds(30);
  std::string script = "services list 10 a=80\nservices watch ";
  for (int i = 0; i < 200; ++i) script += cat("~a=", 100 + i, '@', 11 + i, "; ");
  start(script);
  ASSERT_TRUE(run_until_services("a=299"));
  EXPECT_LT(ticks_.size(), 8u);
  EXPECT_EQ(count("fairlead_feed_events_total", {{"kind", "Service"}, {"type", "modified"}}), 200u);
  EXPECT_EQ(count("fairlead_feed_events_total", {{"kind", "Service"}, {"type", "listed"}}), 1u);
}

TEST_F(ApiFeed, TellsWhatChanged) {
  start("services list 10 a=80 b=80\nservices watch");
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  ASSERT_TRUE(run_until([&] { return server_->requests_of("services") == 2; }));
  server_->step("services", "~b=81@11");
  ASSERT_TRUE(run_until_services("a=80 b=81"));
  const api::Changes& changes = ticks_.back().changes;
  EXPECT_FALSE(changes.everything);
  EXPECT_EQ(changes.objects, (std::set<api::Change>{{api::Kind::service, {"n", "b"}}}));
  EXPECT_EQ(changes.services, (std::set<api::ObjectKey>{{"n", "b"}}));
}

TEST_F(ApiFeed, SendsItsHeadersAndReadsTheTokenFileEachTime) {
  char dir[] = "/tmp/fairlead-watch-XXXXXX";
  ASSERT_NE(::mkdtemp(dir), nullptr);
  options_.token_file = cat(dir, "/token");
  std::ofstream(options_.token_file) << "first\n";
  headers_.add("X-Test", "yes");
  start("services list 10 a=80\nservices watch");
  ASSERT_TRUE(run_until([&] { return server_->requests_of("services") == 2; }));
  EXPECT_EQ(server_->last_headers().get("Authorization"), "Bearer first");
  EXPECT_EQ(server_->last_headers().get("X-Test"), "yes");
  EXPECT_EQ(server_->last_headers().get("Accept"), "application/json");
  std::ofstream(options_.token_file) << "second\n";
  server_->step("services", "bookmark@11");
  server_->step("services", "end");
  ASSERT_TRUE(run_until([&] { return server_->requests_of("services") == 3; }));
  EXPECT_EQ(server_->last_headers().get("Authorization"), "Bearer second");
  std::filesystem::remove_all(dir);
}

TEST_F(ApiFeed, MayEndInsideItsSink) {
  server_ = std::make_unique<FakeApiServer>(loop_, "services list 10 a=80\nservices watch");
  bool ticked = false;
  feed_ = make_api_feed(loop_, server_->listen(), headers_, options_, log_, registry_,
                        [&](const auto&, const api::Changes&) {
                          ticked = true;
                          feed_.reset();
                        });
  ASSERT_TRUE(run_until([&] { return ticked; }));
  run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(feed_, nullptr);
}

TEST_F(ApiFeed, SaysItsSource) {
  connect({.unix_path = "/run/x.sock", .host = "", .port = 0, .tls = nullptr});
  EXPECT_EQ(feed_->status().source, "unix:///run/x.sock");
  connect({.unix_path = "", .host = "fd00::1", .port = 6443, .tls = nullptr});
  EXPECT_EQ(feed_->status().source, "http://[fd00::1]:6443");
  EXPECT_FALSE(feed_->status().synced);
}

TEST_F(ApiFeed, AWatchThatIsNotAnsweredIsTrouble) {
  options_.watch_idle = std::chrono::milliseconds(40);
  options_.min_backoff = std::chrono::milliseconds(60);
  start("services list 10 a=80\nservices hang\nservices watch +b=80@11");
  ASSERT_TRUE(run_until_error("services: no answer to the watch"));
  ASSERT_TRUE(run_until_services("a=80 b=80"));
  EXPECT_TRUE(run_until_no_error());
  EXPECT_EQ(count("fairlead_feed_errors_total"), 1u);
}

TEST_F(ApiFeed, CountsRequestsAsClientGoDoes) {
  start("services list 10 a=80\nservices status 503 starting\nservices watch");
  ASSERT_TRUE(run_until([&] { return server_->requests_of("services") == 3; }));
  ASSERT_TRUE(run_until_no_error());
  const auto requests_with = [&](std::string_view code) {
    uint64_t total = 0;
    const std::string text = registry_.text();
    for (const auto line : split(text, '\n')) {
      if (!line.starts_with("rest_client_requests_total{")) continue;
      EXPECT_NE(line.find(",host=\"127.0.0.1:"), std::string_view::npos) << line;
      EXPECT_NE(line.find(",method=\"GET\"}"), std::string_view::npos) << line;
      if (line.find(cat("code=\"", code, '"')) == std::string_view::npos) continue;
      total += static_cast<uint64_t>(*parse_int(line.substr(line.rfind(' ') + 1)));
    }
    return total;
  };
  EXPECT_EQ(requests_with("200"), 2u);
  EXPECT_EQ(requests_with("503"), 1u);
  EXPECT_EQ(requests_with("<error>"), 0u);
  server_->stop();
  EXPECT_TRUE(run_until([&] { return requests_with("<error>") > 0; }));
}

}  // namespace
}  // namespace fairlead::watch
