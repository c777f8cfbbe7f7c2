#include "api_feed_lab.h"

namespace fairlead::watch {
namespace {

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

}  // namespace
}  // namespace fairlead::watch
