// get, list and watch over the API; documents that are no resources.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/list_token.h"
#include "rest_support.h"

namespace fairlead::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

class RestReadTest : public testing::Test {
 protected:
  void make(RestRig& on, std::string_view name, std::string_view ns = "default",
            std::string_view labels = "{}") {
    Answer made = on.call(cat("POST /api/v1/namespaces/", ns, "/configmaps"),
                          cat(R"({"metadata":{"name":")", name, R"(","labels":)", labels, "}}"));
    EXPECT_EQ(made.status, 201) << made.body;
  }
  void make(std::string_view name, std::string_view ns = "default",
            std::string_view labels = "{}") {
    make(rig, name, ns, labels);
  }
  static std::vector<std::string> names(const Answer& answer) {
    std::vector<std::string> out;
    const json::value list = answer.document();
    for (const json::value& item : find(list, "items")->get_array())
      out.emplace_back(find_string(item, "metadata", "name"));
    return out;
  }
  void turn(int milliseconds) {
    auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (std::chrono::steady_clock::now() < until)
      rig.loop.run_once(std::chrono::milliseconds(2));
  }
  RestRig rig;
};

TEST_F(RestReadTest, TheClusterBeginsWithItsNamespacesAndTheApiService) {
  EXPECT_THAT(names(rig.call("GET /api/v1/namespaces")),
              ElementsAre("default", "kube-node-lease", "kube-public", "kube-system"));
  Answer service = rig.call("GET /api/v1/namespaces/default/services/kubernetes");
  EXPECT_EQ(service.text("spec", "clusterIP"), "10.96.0.1");
  Answer slice =
      rig.call("GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
  EXPECT_THAT(slice.body, HasSubstr(R"("addresses":["192.0.2.1"])"));
  EXPECT_THAT(slice.body, HasSubstr(R"("port":6443)"));
  Answer endpoints = rig.call("GET /api/v1/namespaces/default/endpoints/kubernetes");
  EXPECT_THAT(endpoints.body, HasSubstr(R"("ip":"192.0.2.1")"));
}

TEST_F(RestReadTest, OldClientsReadEndpointSlicesInTheirVersion) {
  std::string path = "/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices";
  Answer one = rig.call(cat("GET ", path, "/kubernetes"));
  EXPECT_EQ(one.text("apiVersion"), "discovery.k8s.io/v1beta1");
  Answer list = rig.call(cat("GET ", path));
  EXPECT_EQ(list.text("apiVersion"), "discovery.k8s.io/v1beta1");
  EXPECT_THAT(list.body, testing::Not(HasSubstr("k8s.io/v1\"")));
  auto stream = rig.watch(cat(path, "?watch=true"));
  EXPECT_THAT(stream->body, HasSubstr(R"("apiVersion":"discovery.k8s.io/v1beta1")"));
  EXPECT_EQ(rig.call(cat("DELETE ", path, "/kubernetes")).status, 405);
}

TEST_F(RestReadTest, TheOldVersionIsSaidOfTheObjectOnly) {
  ASSERT_EQ(
      rig.call("POST /apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
               R"({"metadata":{"name":"s","ownerReferences":[{"apiVersion":"discovery.k8s.io/v1",
                   "kind":"EndpointSlice","name":"o","uid":"u"}]},"addressType":"IPv4"})")
          .status,
      201);
  const json::value slice =
      rig.call("GET /apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices/s").document();
  EXPECT_EQ(find_string(slice, "apiVersion"), "discovery.k8s.io/v1beta1");
  const json::value& owner = find(slice, "metadata", "ownerReferences")->get_array()[0];
  EXPECT_EQ(find_string(owner, "apiVersion"), "discovery.k8s.io/v1");
}

TEST_F(RestReadTest, BootstrapRunsAgainWithoutAChange) {
  auto disk = std::make_shared<FakeDisk>();
  uint64_t first = RestRig(disk).start;
  EXPECT_EQ(RestRig(disk).start, first);
}

TEST_F(RestReadTest, ListsANamespaceOrAll) {
  make("b");
  make("a");
  make("c", "kube-public");
  Answer one = rig.call(cat("GET ", kMaps));
  EXPECT_THAT(names(one), ElementsAre("a", "b"));
  EXPECT_EQ(one.text("kind"), "ConfigMapList");
  EXPECT_EQ(one.text("metadata", "resourceVersion"), cat(rig.store.revision()));
  EXPECT_THAT(names(rig.call("GET /api/v1/configmaps")), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names(rig.call("GET /api/v1/namespaces/nowhere/configmaps")), IsEmpty());
  EXPECT_EQ(rig.call("GET /api/v1/namespaces/kube-public/configmaps/a").status, 404);
}

TEST_F(RestReadTest, ListsBySelectors) {
  make("a", "default", R"({"app":"web"})");
  make("b", "default", R"({"app":"db"})");
  EXPECT_THAT(names(rig.call(cat("GET ", kMaps, "?labelSelector=app%3Dweb"))), ElementsAre("a"));
  EXPECT_THAT(names(rig.call(cat("GET ", kMaps, "?labelSelector=app%20notin%20(web)"))),
              ElementsAre("b"));
  EXPECT_THAT(names(rig.call(cat("GET ", kMaps, "?fieldSelector=metadata.name%3Db"))),
              ElementsAre("b"));
  Answer bad = rig.call(cat("GET ", kMaps, "?fieldSelector=spec.x%3Db"));
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.text("message"), "field label not supported: spec.x");
}

TEST_F(RestReadTest, PagesComeFromOneState) {
  for (int i = 0; i < 7; ++i) make(cat("m", i));
  Answer first = rig.call(cat("GET ", kMaps, "?limit=3"));
  EXPECT_THAT(names(first), ElementsAre("m0", "m1", "m2"));
  EXPECT_EQ(find(first.document(), "metadata", "remainingItemCount")->get_int64(), 4);
  std::string revision = first.text("metadata", "resourceVersion");
  make("m3x");  // after the first page: not in the second
  rig.call(cat("DELETE ", kMaps, "/m4"));
  Answer second =
      rig.call(cat("GET ", kMaps, "?limit=3&continue=", first.text("metadata", "continue")));
  EXPECT_THAT(names(second), ElementsAre("m3", "m4", "m5"));
  EXPECT_EQ(second.text("metadata", "resourceVersion"), revision);
  Answer third =
      rig.call(cat("GET ", kMaps, "?limit=3&continue=", second.text("metadata", "continue")));
  EXPECT_THAT(names(third), ElementsAre("m6"));
  EXPECT_EQ(third.text("metadata", "continue"), "");
}

TEST_F(RestReadTest, PagesOfASelectionDoNotCountTheRest) {
  for (int i = 0; i < 4; ++i) make(cat("m", i), "default", R"({"a":"b"})");
  Answer page = rig.call(cat("GET ", kMaps, "?limit=2&labelSelector=a"));
  EXPECT_EQ(find(page.document(), "metadata", "remainingItemCount"), nullptr);
  EXPECT_NE(page.text("metadata", "continue"), "");
}

TEST_F(RestReadTest, APageOfAForgottenStateIsExpiredButGoesOn) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig small(disk, {.min_history = 2, .max_history = 3, .history_bytes = 1 << 20});
  for (int i = 0; i < 4; ++i) make(small, cat("m", i));
  Answer first = small.call(cat("GET ", kMaps, "?limit=2"));
  for (int i = 0; i < 5; ++i) make(small, cat("n", i));
  Answer second =
      small.call(cat("GET ", kMaps, "?limit=9&continue=", first.text("metadata", "continue")));
  EXPECT_EQ(second.status, 410);
  EXPECT_EQ(second.text("reason"), "Expired");
  Answer third =
      small.call(cat("GET ", kMaps, "?limit=9&continue=", second.text("metadata", "continue")));
  EXPECT_EQ(third.status, 200);
  EXPECT_THAT(names(third), ElementsAre("m2", "m3", "n0", "n1", "n2", "n3", "n4"));
}

struct OptionCase {
  const char* what;
  std::string query;  // $RV is the newest revision, $OLD the one before the last change
  int code;
  std::string names;  // of the list, or part of the message
};

class RestListOptionTest : public RestReadTest, public testing::WithParamInterface<OptionCase> {};

INSTANTIATE_TEST_SUITE_P(
    Table, RestListOptionTest,
    testing::Values(
        OptionCase{"Newest", "", 200, "a b"}, OptionCase{"Any", "resourceVersion=0", 200, "a b"},
        OptionCase{"NotOlder", "resourceVersion=$RV", 200, "a b"},
        OptionCase{"NotOlderThanOld", "resourceVersion=$OLD&resourceVersionMatch=NotOlderThan", 200,
                   "a b"},
        OptionCase{"ExactlyOld", "resourceVersion=$OLD&resourceVersionMatch=Exact", 200, "a"},
        OptionCase{"ExactlyNew", "resourceVersion=$RV&resourceVersionMatch=Exact", 200, "a b"},
        OptionCase{"TooNew", "resourceVersion=999999", 504, "Too large resource version: 999999"},
        OptionCase{"NoNumber", "resourceVersion=x", 400, "is not a revision"},
        OptionCase{"MatchAlone", "resourceVersionMatch=Exact", 422,
                   "forbidden unless resourceVersion"},
        OptionCase{"ExactZero", "resourceVersion=0&resourceVersionMatch=Exact", 422,
                   "forbidden for resourceVersion"},
        OptionCase{"UnknownMatch", "resourceVersion=1&resourceVersionMatch=Newer", 422,
                   "not supported"},
        OptionCase{"MatchWithToken", "resourceVersion=1&resourceVersionMatch=Exact&continue=x", 422,
                   "continue"},
        OptionCase{"BadToken", "continue=%21%21", 400, "not a token"},
        OptionCase{"BadLimit", "limit=-1", 400, "limit"},
        OptionCase{"LimitZero", "limit=0", 200, "a b"},
        OptionCase{"LimitOne", "limit=1", 200, "a"}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(RestListOptionTest, IsObeyed) {
  make("a");
  uint64_t old = rig.store.revision();
  make("b");
  std::string query = GetParam().query;
  for (auto [mark, value] : {std::pair{"$RV", rig.store.revision()}, {"$OLD", old}})
    if (size_t at = query.find(mark); at != std::string::npos)
      query.replace(at, std::string_view(mark).size(), cat(value));
  Answer answer = rig.call(cat("GET ", kMaps, "?", query));
  EXPECT_EQ(answer.status, GetParam().code) << answer.body;
  if (answer.status == 200)
    EXPECT_EQ(join(names(answer), " "), GetParam().names);
  else
    EXPECT_THAT(answer.text("message"), HasSubstr(GetParam().names));
}

TEST_F(RestReadTest, AnswersTablesWhenAsked) {
  make("a");
  Answer table = rig.call(cat("GET ", kMaps), "", "", kTable);
  EXPECT_EQ(table.text("kind"), "Table");
  EXPECT_THAT(table.body, HasSubstr(R"("cells":["a",0,)"));
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a"), "", "", kTable).text("kind"), "Table");
  EXPECT_EQ(rig.call(cat("GET ", kMaps), "", "", "text/html").status, 406);
}

TEST_F(RestReadTest, WatchesFromNowOnOrFromARevision) {
  make("a");
  auto fresh = rig.watch(cat(kMaps, "?watch=true"));
  auto zero = rig.watch(cat(kMaps, "?watch=true&resourceVersion=0"));
  auto later = rig.watch(cat(kMaps, "?watch=true&resourceVersion=", rig.store.revision()));
  auto one = rig.watch(cat(kMaps, "/b?watch=true"));
  auto named = rig.watch(cat(kMaps, "?watch=true&fieldSelector=metadata.name%3Da"));
  make("b");
  rig.call(cat("DELETE ", kMaps, "/a"));
  EXPECT_EQ(fresh->headers.get("Content-Type"), "application/json");
  EXPECT_THAT(fresh->events(), ElementsAre("ADDED a", "ADDED b", "DELETED a"));
  EXPECT_EQ(zero->events(), fresh->events());
  EXPECT_THAT(later->events(), ElementsAre("ADDED b", "DELETED a"));
  EXPECT_THAT(one->events(), ElementsAre("ADDED b"));
  EXPECT_THAT(named->events(), ElementsAre("ADDED a", "DELETED a"));
  fresh->gone();
  turn(5);
  EXPECT_EQ(rig.hub.watchers(), 4U);
}

TEST_F(RestReadTest, AWatchFromAForgottenOrUnknownRevisionIsExpired) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig small(disk, {.min_history = 2, .max_history = 3, .history_bytes = 1 << 20});
  for (int i = 0; i < 9; ++i) make(small, cat("m", i));
  for (uint64_t revision : {uint64_t{1}, small.store.revision() + 100}) {
    auto stream = small.watch(cat(kMaps, "?watch=true&resourceVersion=", revision));
    EXPECT_EQ(stream->status, 200);
    EXPECT_TRUE(stream->finished);
    EXPECT_THAT(stream->events(), ElementsAre("ERROR Expired"));
    EXPECT_THAT(stream->body, HasSubstr(R"("code":410)"));
  }
}

TEST_F(RestReadTest, AWatchCanBeginWithAMarkedList) {
  make("a");
  std::string path = cat(kMaps, "?watch=true&sendInitialEvents=true");
  auto stream = rig.watch(cat(path, "&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"));
  EXPECT_THAT(stream->body, HasSubstr("k8s.io/initial-events-end"));
  EXPECT_EQ(rig.call(cat("GET ", path)).status, 422);
  EXPECT_EQ(rig.call(cat("GET ", path, "&resourceVersionMatch=NotOlderThan")).status, 422);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "?watch=true&resourceVersionMatch=NotOlderThan")).status,
            422);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "?watch=true&timeoutSeconds=x")).status, 400);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "?watch=true&resourceVersion=x")).status, 400);
}

TEST_F(RestReadTest, AWatchEndsAtItsTimeout) {
  auto stream = rig.watch(cat(kMaps, "?watch=true&timeoutSeconds=1&allowWatchBookmarks=true"));
  turn(1200);
  EXPECT_TRUE(stream->finished);
  EXPECT_EQ(rig.hub.watchers(), 0U);
}

TEST_F(RestReadTest, WatchesSurviveARestartWithinTheHistory) {
  auto disk = std::make_shared<FakeDisk>();
  uint64_t seen = 0;
  {
    RestRig first(disk);
    make(first, "a");
    seen = first.store.revision();
    make(first, "b");
  }
  RestRig second(disk);
  auto stream = second.watch(cat(kMaps, "?watch=true&resourceVersion=", seen));
  EXPECT_THAT(stream->events(), ElementsAre("ADDED b"));
}

struct DocumentCase {
  const char* target;
  int code;
  const char* part;
};

constexpr DocumentCase kDocuments[] = {
    {"GET /", 200, R"("/apis/discovery.k8s.io/v1")"},
    {"GET /api", 200, "APIVersions"},
    {"GET /api/", 200, "APIVersions"},
    {"GET /api/v1", 200, "APIResourceList"},
    {"GET /api/v2", 404, "404 page not found"},
    {"GET /apis", 200, "APIGroupList"},
    {"GET /apis/networking.k8s.io", 200, "APIGroup"},
    {"GET /apis/networking.k8s.io/v1", 200, "ingressclasses"},
    {"GET /apis/apps", 404, "404 page not found"},
    {"GET /apis/apps/v1", 404, "404 page not found"},
    {"GET /version", 200, "v1.32.0"},
    {"GET /healthz", 200, "ok"},
    {"GET /livez?verbose", 200, "[+]store ok"},
    {"GET /readyz", 200, "ok"},
    {"GET /metrics", 200, "fairlead_apiserver_requests_total"},
    {"GET /openapi/v3", 200, R"("api/v1")"},
    {"GET /openapi/v3/api/v1", 200, "io.k8s.api.core.v1.Service"},
    {"GET /openapi/v3/apis/networking.k8s.io/v1", 200, "io.k8s.api.networking.v1.Ingress"},
    {"GET /openapi/v3/apis/apps/v1", 404, "404 page not found"},
    {"GET /openapi/v2", 200, "swagger"},
    {"GET /openapi/v4", 404, "404 page not found"},
    {"GET /nowhere", 404, "404 page not found"},
    {"POST /version", 405, "MethodNotAllowed"},
    {"GET /api/v1/widgets", 404, "could not find the requested resource"},
    {"POST /api/v1/namespaces/default/configmaps/a", 405, "MethodNotAllowed"},
};

TEST_F(RestReadTest, ServesDocumentsThatAreNoResources) {
  for (const DocumentCase& c : kDocuments) {
    Answer answer = rig.call(c.target);
    EXPECT_EQ(answer.status, c.code) << c.target;
    EXPECT_THAT(answer.body, HasSubstr(c.part)) << c.target;
  }
  Answer v2 = rig.call("GET /openapi/v2", "", "",
                       "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
  EXPECT_EQ(v2.headers.get("Content-Type"),
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
}

TEST_F(RestReadTest, StrangersGetNothing) {
  net::HttpRequest request = rig.request("GET /api/v1/secrets");
  request.peer.uid = 4711;
  EXPECT_EQ(rig.send(request)->status, 403);
  request.target = "/api/v1/widgets";  // nor what is not there
  EXPECT_EQ(rig.send(request)->status, 403);
  request.target = "/healthz";
  EXPECT_EQ(rig.send(request)->status, 200);
}

}  // namespace
}  // namespace fairlead::controlplane
