#include <filesystem>
#include <fstream>

#include "fake_api_server.h"
#include "feed_fixture.h"

namespace fairlead::watch {
namespace {

class ApiFeed : public FeedFixture {
 protected:
  ApiFeed() {
    options_.min_backoff = std::chrono::milliseconds(2);
    options_.kinds = {api::Kind::service};
  }
  void start(std::string_view script) {
    server_ = std::make_unique<FakeApiServer>(loop_, script);
    connect(server_->listen());
  }
  void connect(net::HttpTarget target) {
    feed_ = make_api_feed(loop_, std::move(target), headers_, options_, log_, registry_, sink());
  }
  std::string requests() const { return join(server_->requests(), "\n"); }
  uint64_t count(std::string_view metric, Labels labels = {{"kind", "Service"}}) {
    return registry_.counter(metric, "", labels).value();
  }

  Registry registry_;
  FeedOptions options_;
  net::Headers headers_;
  std::unique_ptr<FakeApiServer> server_;
};

// Scripts for the Service watch: what the feed ends up with, and what it asked for on the way.
struct Case {
  std::string_view name;
  std::string_view script;
  std::string_view services;
  std::string_view requests;
  uint64_t relists, errors;
};

const Case cases[] = {
    {"ListsAndWatches",
     R"(services list 10 a=80 b=80
        services watch +c=80@11; ~a=81@12; -b@13)",
     "a=81 c=80", "services limit=500\nservices watch 10", 0, 0},
    {"FollowsPages",
     R"(services list 10 continue=t1 a=80
        services list 10 continue=t/2= b=80
        services list 10 c=80
        services watch +d=80@11)",
     "a=80 b=80 c=80 d=80",
     "services limit=500\nservices limit=500 continue=t1\nservices limit=500 continue=t/2=\n"
     "services watch 10",
     0, 0},
    {"AnEndedWatchGoesOnWhereItWas",
     R"(services list 10 a=80
        services watch +b=80@11; end
        services watch +c=80@12; cut
        services watch +d=80@13)",
     "a=80 b=80 c=80 d=80",
     "services limit=500\nservices watch 10\nservices watch 11\nservices watch 12", 0, 1},
    {"BookmarksMoveTheVersion",
     R"(services list 10 a=80
        services watch bookmark@50; end
        services watch +b=80@51)",
     "a=80 b=80", "services limit=500\nservices watch 10\nservices watch 50", 0, 0},
    {"AnExpiredWatchListsAgainAndDropsWhatIsGone",
     R"(services list 10 a=80 b=80
        services watch +c=80@11; error 410 too old resource version
        services list 30 b=82 d=80
        services watch +e=80@31)",
     "b=82 d=80 e=80",
     "services limit=500\nservices watch 10\nservices limit=500\nservices watch 30", 1, 0},
    {"GoneAsAnHttpStatusListsAgain",
     R"(services list 10 a=80
        services status 410 too old
        services list 30 b=80
        services watch)",
     "b=80", "services limit=500\nservices watch 10\nservices limit=500\nservices watch 30", 1, 0},
    {"AnExpiredPageStartsTheListAgain",
     R"(services list 10 continue=t1 a=80
        services status 410 continue token expired
        services list 20 b=80
        services watch)",
     "b=80",
     "services limit=500\nservices limit=500 continue=t1\nservices limit=500\n"
     "services watch 20",
     1, 0},
    {"GarbageInAWatchGoesOnFromTheLastGoodVersion",
     R"(services list 10 a=80
        services watch +b=80@11; line <html>hello</html>; +x=80@99
        services watch +c=80@12)",
     "a=80 b=80 c=80", "services limit=500\nservices watch 10\nservices watch 11", 0, 1},
    {"GarbageAgainAndAgainListsAgain",
     R"(services list 10 a=80
        services watch line {}
        services watch line {"type": "ADDED"}
        services watch line {"type": "DANCED", "object": {}}
        services list 20 b=80
        services watch)",
     "b=80",
     "services limit=500\nservices watch 10\nservices watch 10\nservices watch 10\n"
     "services limit=500\nservices watch 20",
     1, 3},
    {"AnotherKindInTheWatchIsAnError",
     R"(services list 10 a=80
        services watch line {"type": "ADDED", "object": {"kind": "Pod", "metadata": {"name": "p", "resourceVersion": "11"}}}
        services watch +b=80@11)",
     "a=80 b=80", "services limit=500\nservices watch 10\nservices watch 10", 0, 1},
    {"ALineThatIsCutOffIsNotUsed",
     R"(services list 10 a=80
        services watch part {"type": "ADDED", "object": {"metadata": {"name"; end
        services watch +b=80@11)",
     "a=80 b=80", "services limit=500\nservices watch 10\nservices watch 10", 0, 1},
    {"AnEventInPiecesIsPutTogether",
     R"(services list 10 a=80
        services watch part {"type": "BOOKMARK", "object": {"metadata":; part {"resourceVersion":; line "60"}}}; end
        services watch +b=80@61)",
     "a=80 b=80", "services limit=500\nservices watch 10\nservices watch 60", 0, 0},
    {"AnEndlessLineIsAnError",
     R"(services list 10 a=80
        services watch long 9000000
        services watch +b=80@11)",
     "a=80 b=80", "services limit=500\nservices watch 10\nservices watch 10", 0, 1},
    {"AWatchErrorGoesOnFromTheLastVersion",
     R"(services list 10 a=80
        services watch +b=80@11; error 500 etcd leader changed
        services watch +c=80@12)",
     "a=80 b=80 c=80", "services limit=500\nservices watch 10\nservices watch 11", 0, 1},
    {"ServerErrorsAreRetried",
     R"(services status 500 etcd is away
        services status 429 slow down
        services list 10 a=80
        services status 503 starting
        services watch +b=80@11)",
     "a=80 b=80",
     "services limit=500\nservices limit=500\nservices limit=500\nservices watch 10\n"
     "services watch 10",
     0, 3},
    {"ListsThatAreNoneAreRetried",
     R"(services body hello
        services body {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []}
        services body {"kind": "ServiceList", "metadata": {}, "items": []}
        services body {"kind": "ServiceList", "metadata": {"resourceVersion": "1"}, "items": {}}
        services body {"kind": "ServiceList"
        services torn {"kind": "ServiceList"
        services list 10 a=80
        services watch)",
     "a=80",
     "services limit=500\nservices limit=500\nservices limit=500\nservices limit=500\n"
     "services limit=500\nservices limit=500\nservices limit=500\nservices watch 10",
     0, 6},
    {"AContinueTokenThatRepeatsIsAnError",
     R"(services list 10 continue=t a=80
        services list 10 continue=t b=80
        services list 10 c=80
        services watch)",
     "c=80",
     "services limit=500\nservices limit=500 continue=t\nservices limit=500\nservices watch 10", 0,
     1},
    {"ItemsMayBeNull",
     R"(services body {"kind": "ServiceList", "metadata": {"resourceVersion": "7"}, "items": null}
        services watch +a=80@8)",
     "a=80", "services limit=500\nservices watch 7", 0, 0},
};

class Scripted : public ApiFeed, public testing::WithParamInterface<Case> {};

TEST_P(Scripted, EndsWhereItShould) {
  const Case& c = GetParam();
  start(c.script);
  EXPECT_TRUE(run_until_services(c.services)) << services();
  EXPECT_TRUE(run_until([&] { return requests() == c.requests; })) << requests();
  EXPECT_TRUE(run_until_no_error()) << errors();
  EXPECT_EQ(count("fairlead_feed_relists_total"), c.relists);
  EXPECT_EQ(count("fairlead_feed_errors_total"), c.errors);
  ASSERT_FALSE(ticks_.empty());
  EXPECT_TRUE(ticks_.front().changes.everything);
  EXPECT_TRUE(feed_->status().synced);
}

INSTANTIATE_TEST_SUITE_P(ApiFeed, Scripted, testing::ValuesIn(cases),
                         [](const auto& each) { return std::string(each.param.name); });

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

}  // namespace
}  // namespace fairlead::watch
