// Delete over the API: at once, in steps, by selection, by eviction and by age.
#include <gmock/gmock.h>

#include "rest_support.h"
namespace fairlead::controlplane {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;
TEST_F(RestWriteTest, DeleteAnswersAStatusOrTheObject) {
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  std::string uid = rig.call(cat("GET ", kMaps, "/a")).text("metadata", "uid");
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a"), R"({"preconditions":{"uid":"other"}})").status,
            409);
  EXPECT_EQ(
      rig.call(cat("DELETE ", kMaps, "/a"), R"({"preconditions":{"resourceVersion":"1"}})").status,
      409);
  Answer gone =
      rig.call(cat("DELETE ", kMaps, "/a"),
               cat(R"({"propagationPolicy":"Background","preconditions":{"uid":")", uid, "\"}}"));
  EXPECT_EQ(gone.status, 200);
  EXPECT_EQ(gone.text("status"), "Success");
  EXPECT_EQ(gone.text("details", "uid"), uid);
  EXPECT_EQ(gone.text("details", "kind"), "configmaps");
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a")).status, 404);
  ASSERT_EQ(rig.call(cat("POST ", kPods), pod_text("p")).status, 201);
  EXPECT_EQ(rig.call(cat("DELETE ", kPods, "/p")).text("kind"), "Pod");
}

// Deletions of one pod, in order; what each leaves behind.
struct GraceStep {
  std::string options;
  std::string left;  // "gone", or deletionGracePeriodSeconds
};
struct GraceCase {
  const char* what;
  std::string node, phase, extra;
  std::vector<GraceStep> steps;
};

class RestGraceTest : public RestWriteTest, public testing::WithParamInterface<GraceCase> {};

INSTANTIATE_TEST_SUITE_P(
    Table, RestGraceTest,
    testing::Values(
        GraceCase{"NotScheduled", "", "Pending", "", {{"", "gone"}}},
        GraceCase{"Succeeded", "n1", "Succeeded", "", {{"", "gone"}}},
        GraceCase{"Failed", "n1", "Failed", "", {{R"({"gracePeriodSeconds":60})", "gone"}}},
        GraceCase{
            "Running", "n1", "Running", "", {{"", "30"}, {R"({"gracePeriodSeconds":0})", "gone"}}},
        GraceCase{"OwnGrace", "n1", "Running", "", {{R"({"gracePeriodSeconds":5})", "5"}}},
        GraceCase{
            "Shortened", "n1", "Running", "", {{"", "30"}, {R"({"gracePeriodSeconds":2})", "2"}}},
        GraceCase{"NotLengthened",
                  "n1",
                  "Running",
                  "",
                  {{R"({"gracePeriodSeconds":5})", "5"},
                   {R"({"gracePeriodSeconds":50})", "5"},
                   {"", "5"}}},
        GraceCase{"Forced", "n1", "Running", "", {{R"({"gracePeriodSeconds":0})", "gone"}}},
        GraceCase{"Finalizer",
                  "",
                  "Pending",
                  R"(,"finalizers":["example.org/x"])",
                  {{"", "0"}, {"", "0"}}},
        GraceCase{"FinalizerAndGrace",
                  "n1",
                  "Running",
                  R"(,"finalizers":["example.org/x"])",
                  {{"", "30"}, {R"({"gracePeriodSeconds":0})", "0"}}}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(RestGraceTest, LeavesWhatANodeStillHasToConfirm) {
  const GraceCase& c = GetParam();
  Answer made = rig.call(cat("POST ", kPods), pod_text("p", c.node, c.extra));
  ASSERT_EQ(made.status, 201) << made.body;
  rig.call(cat("PATCH ", kPods, "/p/status"), cat(R"({"status":{"phase":")", c.phase, "\"}}"),
           kMerge);
  for (const GraceStep& step : c.steps) {
    Answer answer = rig.call(cat("DELETE ", kPods, "/p"), step.options);
    EXPECT_EQ(answer.status, 200) << answer.body;
    Answer left = rig.call(cat("GET ", kPods, "/p"));
    std::string state = "gone";
    if (left.status == 200) {
      const json::value document = left.document();
      EXPECT_NE(find_string(document, "metadata", "deletionTimestamp"), "");
      state = cat(find(document, "metadata", "deletionGracePeriodSeconds")->get_int64());
    }
    EXPECT_EQ(state, step.left) << step.options;
  }
}

TEST_F(RestWriteTest, FinalizersHoldAnObjectUntilTheLastIsTaken) {
  ASSERT_EQ(rig.call(cat("POST ", kMaps),
                     R"({"metadata":{"name":"a","finalizers":["example.org/x","example.org/y"]}})")
                .status,
            201);
  auto watch = rig.watch(cat(kMaps, "?watch=true&resourceVersion=", rig.store.revision()));
  Answer marked = rig.call(cat("DELETE ", kMaps, "/a"));
  EXPECT_EQ(marked.status, 200);
  EXPECT_EQ(marked.text("kind"), "ConfigMap");
  EXPECT_NE(marked.text("metadata", "deletionTimestamp"), "");
  Answer more =
      rig.call(cat("PATCH ", kMaps, "/a"),
               R"({"metadata":{"finalizers":["example.org/x","example.org/z"]}})", kMerge);
  EXPECT_EQ(more.status, 422);
  EXPECT_THAT(more.text("message"), HasSubstr("no new finalizers can be added"));
  EXPECT_EQ(rig.call(cat("PATCH ", kMaps, "/a"), R"({"metadata":{"finalizers":["example.org/y"]}})",
                     kMerge)
                .status,
            200);
  Answer last = rig.call(cat("PATCH ", kMaps, "/a"), R"({"metadata":{"finalizers":null}})", kMerge);
  EXPECT_EQ(last.status, 200) << last.body;
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a")).status, 404);
  EXPECT_THAT(watch->events(), ElementsAre("MODIFIED a", "MODIFIED a", "DELETED a"));
}

TEST_F(RestWriteTest, ANamespaceEndsInTwoSteps) {
  ASSERT_EQ(rig.call("POST /api/v1/namespaces", R"({"metadata":{"name":"web"}})").status, 201);
  Answer made = rig.call("GET /api/v1/namespaces/web");
  EXPECT_EQ(made.text("status", "phase"), "Active");
  EXPECT_EQ(made.text("metadata", "labels", "kubernetes.io/metadata.name"), "web");
  EXPECT_THAT(made.body, HasSubstr(R"("finalizers":["kubernetes"])"));
  ASSERT_EQ(rig.call("POST /api/v1/namespaces/web/configmaps", map_text("a")).status, 201);

  Answer ending = rig.call("DELETE /api/v1/namespaces/web");
  EXPECT_EQ(ending.status, 200);
  EXPECT_EQ(ending.text("status", "phase"), "Terminating");
  EXPECT_EQ(rig.call("DELETE /api/v1/namespaces/web").status, 409);
  Answer refused = rig.call("POST /api/v1/namespaces/web/configmaps", map_text("b"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr(R"("reason":"NamespaceTerminating")"));
  EXPECT_THAT(refused.text("message"), HasSubstr("because it is being terminated"));
  // Neither an update nor a status write takes the finalizer away; finalize does.
  EXPECT_EQ(
      rig.call("PATCH /api/v1/namespaces/web", R"({"spec":{"finalizers":[]}})", kMerge).status,
      200);
  EXPECT_EQ(rig.call("GET /api/v1/namespaces/web").status, 200);
  EXPECT_EQ(rig.call("DELETE /api/v1/namespaces/web/configmaps").status, 200);
  Answer finalized = rig.call("PUT /api/v1/namespaces/web/finalize",
                              R"({"metadata":{"name":"web"},"spec":{"finalizers":[]}})");
  EXPECT_EQ(finalized.status, 200) << finalized.body;
  EXPECT_EQ(rig.call("GET /api/v1/namespaces/web").status, 404);
}

TEST_F(RestWriteTest, SystemNamespacesStay) {
  for (const char* name : {"default", "kube-system", "kube-public"}) {
    Answer refused = rig.call(cat("DELETE /api/v1/namespaces/", name));
    EXPECT_EQ(refused.status, 403);
    EXPECT_THAT(refused.text("message"), HasSubstr("may not be deleted"));
  }
  EXPECT_EQ(rig.call("GET /api/v1/namespaces/kube-node-lease").status, 200);
}

TEST_F(RestWriteTest, DeletesACollectionBySelector) {
  for (const char* name : {"a", "b", "c"})
    rig.call(cat("POST ", kMaps), cat(R"({"metadata":{"name":")", name, R"(","labels":{"x":")",
                                      std::string_view(name) == "c" ? "no" : "yes", "\"}}}"));
  Answer removed = rig.call(cat("DELETE ", kMaps, "?labelSelector=x%3Dyes"));
  EXPECT_EQ(removed.status, 200) << removed.body;
  EXPECT_EQ(find(removed.document(), "items")->get_array().size(), 2U);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a")).status, 404);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/c")).status, 200);
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "?labelSelector=%3D")).status, 400);
}

TEST_F(RestWriteTest, EvictsAPod) {
  ASSERT_EQ(rig.call(cat("POST ", kPods), pod_text("p")).status, 201);
  std::string path = cat("POST ", kPods, "/p/eviction");
  EXPECT_EQ(rig.call(path, R"({"kind":"Eviction","metadata":{"name":"q"}})").status, 400);
  EXPECT_EQ(rig.call(path, R"({"kind":"Pod"})").status, 400);
  Answer evicted =
      rig.call(path, R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}})");
  EXPECT_EQ(evicted.status, 201) << evicted.body;
  EXPECT_EQ(rig.call(cat("GET ", kPods, "/p")).status, 404);
  EXPECT_EQ(rig.call(path, R"({"kind":"Eviction"})").status, 404);
}

TEST_F(RestWriteTest, OldEventsAreSwept) {
  std::string events = "/api/v1/namespaces/default/events";
  std::string body =
      R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"reason":"R","message":"m","type":"Normal"})";
  Answer made = rig.call(cat("POST ", events), body);
  ASSERT_EQ(made.status, 201) << made.body;
  rig.clock.advance(std::chrono::minutes(59));
  rig.writer.sweep();
  rig.settle();
  EXPECT_EQ(rig.call(cat("GET ", events, "/e")).status, 200);
  rig.clock.advance(std::chrono::minutes(2));
  rig.writer.sweep();
  rig.settle();
  EXPECT_EQ(rig.call(cat("GET ", events, "/e")).status, 404);
}

}  // namespace
}  // namespace fairlead::controlplane
