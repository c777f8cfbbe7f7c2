// Documents that are JSON and nothing else that was asked for: members of a wrong type where the
// server looks before any schema does. Each is refused, or taken as if the member were absent;
// afterwards the server still answers.
#include <gmock/gmock.h>

#include "rest_support.h"

namespace fairlead::controlplane {
namespace {

struct HostileCase {
  const char* line;  // method and path; map "a" and pod "p" exist
  const char* body;
  int code;
  const char* content_type = "application/json";
};

constexpr const char* kPatch = "application/merge-patch+json";
constexpr const char* kJsonPatch = "application/json-patch+json";
constexpr const char* kStrategic = "application/strategic-merge-patch+json";

#define MAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
const HostileCase kHostile[] = {
    // Bodies that are no object.
    {"POST " MAPS, "null", 400},
    {"POST " MAPS, "7", 400},
    {"POST " MAPS, "\"text\"", 400},
    {"POST " MAPS, "[{}]", 400},
    {"PUT " MAPS "/a", "null", 400},
    {"PUT " MAPS "/a", "[]", 400},
    {"PUT " PODS "/p/status", "[]", 400},
    {"PUT /api/v1/namespaces/default/finalize", "null", 400},
    // What names the object.
    {"POST " MAPS, R"({"metadata":7})", 400},
    {"POST " MAPS, R"({"metadata":["name"]})", 400},
    {"POST " MAPS, R"({"metadata":null})", 422},
    {"POST " MAPS, R"({"metadata":{"name":7}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":null,"generateName":null}})", 422},
    {"POST " MAPS, R"({"metadata":{"name":{"a":1}}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","namespace":[]}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","resourceVersion":5}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","labels":[1]}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","labels":{"x":1}}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","finalizers":{"0":"x"}}})", 400},
    {"POST " MAPS, R"({"metadata":{"name":"b","ownerReferences":["x"]}})", 400},
    {"POST " MAPS, R"({"kind":7,"metadata":{"name":"b"}})", 400},
    {"POST " MAPS, R"({"kind":["ConfigMap"],"metadata":{"name":"b"}})", 400},
    {"POST " MAPS, R"({"apiVersion":{"v":1},"metadata":{"name":"b"}})", 400},
    {"PUT " MAPS "/a", R"({"metadata":"a"})", 400},
    {"PUT " MAPS "/a", R"({"metadata":{"name":"a","uid":[]}})", 400},
    {"PUT " MAPS "/a", R"({"metadata":{"name":"a","resourceVersion":{}}})", 400},
    {"PUT " MAPS "/a", R"({"metadata":{"name":"a","generation":"x"}})", 400},
    // Parts that subresources take over.
    {"PUT " PODS "/p/status", R"({"metadata":7,"status":{}})", 400},
    {"PUT " PODS "/p/status", R"({"metadata":null,"status":null})", 200},
    {"PUT " PODS "/p/status", R"({"status":[1]})", 400},
    {"PATCH " PODS "/p/status", R"({"status":7})", 400, kPatch},
    {"PATCH " PODS "/p/status", R"({"metadata":null,"spec":null,"status":null})", 200, kPatch},
    {"PUT /api/v1/namespaces/web/finalize", R"({"spec":7})", 400},
    {"PUT /api/v1/namespaces/web/finalize", R"({"spec":{"finalizers":"kubernetes"}})", 400},
    {"PUT /api/v1/namespaces/web", R"({"spec":[]})", 400},
    {"PATCH /api/v1/namespaces/web", R"({"spec":null,"status":null})", 200, kPatch},
    // Patches.
    {"PATCH " MAPS "/a", "null", 400, kPatch},
    {"PATCH " MAPS "/a", "[]", 400, kPatch},
    {"PATCH " MAPS "/a", R"({"metadata":null})", 200, kPatch},
    {"PATCH " MAPS "/a", R"({"metadata":"x"})", 400, kPatch},
    {"PATCH " MAPS "/a", R"({"metadata":{"name":null,"namespace":null,"uid":null}})", 200, kPatch},
    {"PATCH " MAPS "/a", R"({"apiVersion":null,"kind":null,"data":null})", 200, kPatch},
    {"PATCH " MAPS "/a", "{}", 400, kJsonPatch},
    {"PATCH " MAPS "/a", "[7]", 400, kJsonPatch},
    {"PATCH " MAPS "/a", R"([{"op":7,"path":{}}])", 400, kJsonPatch},
    {"PATCH " MAPS "/a", R"([{"op":"replace","path":"/metadata","value":[]}])", 400, kJsonPatch},
    {"PATCH " MAPS "/a", R"([{"op":"replace","path":"","value":null}])", 400, kJsonPatch},
    {"PATCH " MAPS "/a", R"([{"op":"remove","path":"/metadata"}])", 200, kJsonPatch},
    {"PATCH " PODS "/p", R"({"spec":{"containers":{"name":"c"}}})", 400, kStrategic},
    {"PATCH " PODS "/p", R"({"spec":{"containers":[7]}})", 422, kStrategic},
    {"PATCH " PODS "/p", R"({"spec":{"containers":[{"name":{}}]}})", 400, kStrategic},
    {"PATCH " PODS "/p", R"({"spec":7})", 400, kStrategic},
    // Options of a deletion, and an eviction.
    {"DELETE " MAPS "/a?dryRun=All", "[]", 400},
    {"DELETE " MAPS "/a?dryRun=All", R"({"preconditions":7})", 200},
    {"DELETE " MAPS "/a?dryRun=All", R"({"preconditions":{"uid":7,"resourceVersion":[]}})", 200},
    {"DELETE " MAPS "/a?dryRun=All", R"({"gracePeriodSeconds":"30"})", 400},
    {"DELETE " MAPS "/a?dryRun=All", R"({"gracePeriodSeconds":1e300})", 400},
    {"DELETE " MAPS "/a?dryRun=All", R"({"gracePeriodSeconds":18446744073709551615})", 400},
    {"DELETE " MAPS "/a", R"({"dryRun":["All",7]})", 400},
    {"DELETE " MAPS, R"({"dryRun":[null]})", 400},
    {"POST " PODS "/p/eviction", "7", 400},
    {"POST " PODS "/p/eviction", R"({"kind":["Eviction"]})", 400},
    {"POST " PODS "/p/eviction", R"({"kind":"Eviction","deleteOptions":{"dryRun":[{}]}})", 400},
};
#undef MAPS
#undef PODS

class RestHostileTest : public RestWriteTest {};

TEST_F(RestHostileTest, IllTypedMembersAreRefusedOrAbsent) {
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  ASSERT_EQ(rig.call(cat("POST ", kPods), pod_text("p", "n1")).status, 201);
  ASSERT_EQ(rig.call("POST /api/v1/namespaces", R"({"metadata":{"name":"web"}})").status, 201);
  for (const HostileCase& c : kHostile) {
    SCOPED_TRACE(cat(c.line, " ", c.body));
    const uint64_t before = rig.store.revision();
    const Answer answer = rig.call(c.line, c.body, c.content_type);
    EXPECT_EQ(answer.status, c.code) << answer.body;
    if (c.code >= 400) {
      EXPECT_EQ(answer.text("kind"), "Status");
      EXPECT_EQ(rig.store.revision(), before);
    }
    for (const std::string& path : {cat(kMaps, "/a"), cat(kPods, "/p")}) {
      const Answer still = rig.call(cat("GET ", path));
      ASSERT_EQ(still.status, 200) << path;
      EXPECT_EQ(still.text("metadata", "uid").size(), 36U);
      EXPECT_FALSE(still.text("metadata", "name").empty());
    }
  }
}

// What a URL says may be any bytes; an answer that quotes it is JSON all the same.
TEST_F(RestHostileTest, AnswersAreUtf8) {
  for (const char* line :
       {"GET /api/v1/\xdc\xff", "GET /api/v1/%FF%FE", "\xdc /api/v1/pods",
        "GET /api/v1/pods?labelSelector=%DC", "GET /api/v1/pods?fieldSelector=a%80%3D1",
        "GET /api/v1/pods?limit=%FF", "GET /api/v1/pods?includeObject=%C3%28",
        "GET /api/v1/namespaces/%ED%A0%80/pods/p", "DELETE /api/v1/namespaces/default/pods/%FF",
        "PUT /api/v1/namespaces/default/pods/%FF"}) {
    SCOPED_TRACE(line);
    const Answer answer = rig.call(line, pod_text("p"));
    EXPECT_GE(answer.status, 400);
    EXPECT_LT(answer.status, 500);
    EXPECT_TRUE(parse_json(answer.body).has_value()) << answer.body;
    EXPECT_FALSE(answer.text("message").empty());
  }
}

// A wait that no clock can express is cut to the longest one that it can.
TEST_F(RestHostileTest, DeletionsWaitAtMostSixtyEightYears) {
  struct GraceCase {
    const char* own;  // the pod's terminationGracePeriodSeconds
    const char* options;
    int64_t want_s;
  };
  const GraceCase cases[] = {
      {"30", R"({"gracePeriodSeconds":9223372036854775807})", 2147483647},
      {"30", R"({"gracePeriodSeconds":2147483647})", 2147483647},
      {"9223372036854775807", "", 2147483647},
      {"-1", "", 1},
      {"-9223372036854775808", "", 1},
      {"7", "", 7},
  };
  int number = 0;
  for (const GraceCase& c : cases) {
    SCOPED_TRACE(cat(c.own, " ", c.options));
    const std::string name = cat("p", number++);
    Answer made = rig.call(cat("POST ", kPods),
                           cat(R"({"metadata":{"name":")", name, R"("},"spec":{"nodeName":"n1",)",
                               R"("terminationGracePeriodSeconds":)", c.own,
                               R"(,"containers":[{"name":"c","image":"i"}]}})"));
    ASSERT_EQ(made.status, 201) << made.body;
    Answer marked = rig.call(cat("DELETE ", kPods, "/", name), c.options);
    ASSERT_EQ(marked.status, 200) << marked.body;
    const json::value document = marked.document();
    EXPECT_EQ(find(document, "metadata", "deletionGracePeriodSeconds")->get_int64(), c.want_s);
    EXPECT_EQ(marked.text("metadata", "deletionTimestamp"),
              to_rfc3339(rig.clock.wall() + std::chrono::seconds(c.want_s)));
  }
}

}  // namespace
}  // namespace fairlead::controlplane
