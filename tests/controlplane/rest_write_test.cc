// Create, update, patch and delete over the API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rest_support.h"

namespace fairlead::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
constexpr const char* kPods = "/api/v1/namespaces/default/pods";
constexpr const char* kServices = "/api/v1/namespaces/default/services";
constexpr const char* kMerge = "application/merge-patch+json";

std::string map_text(std::string_view name, std::string_view data = "v") {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name,
             R"("},"data":{"k":")", data, R"("}})");
}

std::string pod_text(std::string_view name, std::string_view node = "",
                     std::string_view extra = "") {
  return cat(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")", name, "\"", extra,
             R"(},"spec":{"containers":[{"name":"c","image":"i"}])",
             node.empty() ? "" : cat(R"(,"nodeName":")", node, "\""), "}}");
}

class RestWriteTest : public testing::Test {
 protected:
  RestRig rig;
};

TEST_F(RestWriteTest, CreateFillsInWhatTheServerOwns) {
  Answer made = rig.call(cat("POST ", kMaps),
                         R"({"metadata":{"name":"a","uid":"mine","generation":7,"selfLink":"x",
                             "creationTimestamp":null,"deletionTimestamp":"2020-01-01T00:00:00Z",
                             "managedFields":[{"manager":"m"}]},"data":{"k":"v"}})");
  ASSERT_EQ(made.status, 201) << made.body;
  json::value object = made.document();
  EXPECT_EQ(find_string(object, "apiVersion"), "v1");
  EXPECT_EQ(find_string(object, "kind"), "ConfigMap");
  EXPECT_EQ(find_string(object, "metadata", "namespace"), "default");
  EXPECT_EQ(find_string(object, "metadata", "resourceVersion"), cat(rig.start + 1));
  EXPECT_EQ(find_string(object, "metadata", "uid").size(), 36U);
  EXPECT_EQ(find_string(object, "metadata", "creationTimestamp"), to_rfc3339(rig.clock.wall()));
  for (const char* absent : {"deletionTimestamp", "managedFields", "selfLink", "generation"})
    EXPECT_EQ(find(object, "metadata", absent), nullptr) << absent;
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a")).body, made.body);
}

struct CreateCase {
  const char* what;
  std::string path, body;
  int code;
  std::string reason, message;
  std::string type = "application/json";
};

class RestCreateTest : public RestWriteTest, public testing::WithParamInterface<CreateCase> {};

INSTANTIATE_TEST_SUITE_P(
    Table, RestCreateTest,
    testing::Values(
        CreateCase{"OtherNamespace", kMaps,
                   R"({"metadata":{"name":"a","namespace":"kube-system"}})", 400, "BadRequest",
                   "does not match the namespace sent on the request"},
        CreateCase{"OtherKind", kMaps, R"({"apiVersion":"v1","kind":"Secret"})", 400, "BadRequest",
                   "of kind Secret in v1, but the path takes ConfigMap in v1"},
        CreateCase{"OtherVersion", kMaps, R"({"apiVersion":"v2","kind":"ConfigMap"})", 400,
                   "BadRequest", "ConfigMap in v2"},
        CreateCase{"NoName", kMaps, R"({"data":{}})", 422, "Invalid",
                   "name or generateName is required"},
        CreateCase{"BadName", kMaps, R"({"metadata":{"name":"Not_A_Name"}})", 422, "Invalid",
                   "metadata.name"},
        CreateCase{"WithRevision", kMaps, R"({"metadata":{"name":"a","resourceVersion":"5"}})", 400,
                   "BadRequest", "resourceVersion should not be set"},
        CreateCase{"MissingNamespace", "/api/v1/namespaces/nowhere/configmaps", map_text("a"), 404,
                   "NotFound", "namespaces \"nowhere\" not found"},
        CreateCase{"NotJson", kMaps, "{\"metadata\":", 400, "BadRequest", ""},
        CreateCase{"NotAnObject", kMaps, "[1]", 400, "BadRequest", "not a JSON object"},
        CreateCase{"Empty", kMaps, " ", 400, "BadRequest", "no body"},
        CreateCase{"OtherType", kMaps, "<a/>", 415, "UnsupportedMediaType", "application/xml",
                   "application/xml"},
        CreateCase{"BrokenProtobuf", kMaps, "k8s", 400, "BadRequest", "",
                   "application/vnd.kubernetes.protobuf"},
        CreateCase{"TwoYamlDocuments", kMaps, "a: 1\n---\nb: 2\n", 400, "BadRequest",
                   "2 YAML documents", "application/yaml"},
        CreateCase{"WrongType", kServices,
                   R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":"eighty"}]}})", 400,
                   "BadRequest", "cannot be handled as a Service"},
        CreateCase{"PortOutOfRange", kServices,
                   R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":70000}]}})", 422, "Invalid",
                   "spec.ports[0].port"},
        CreateCase{
            "TakenAddress", kServices,
            R"({"metadata":{"name":"s"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":1}]}})",
            422, "Invalid", "provided IP is already allocated"},
        CreateCase{"BadDryRun", cat(kMaps, "?dryRun=Some"), map_text("a"), 400, "BadRequest",
                   "\"Some\" is not All"},
        CreateCase{"BadValidation", cat(kMaps, "?fieldValidation=Maybe"), map_text("a"), 400,
                   "BadRequest", "\"Maybe\" is not Ignore, Warn or Strict"},
        CreateCase{"StrictUnknown", cat(kMaps, "?fieldValidation=Strict"),
                   R"({"metadata":{"name":"a"},"dat":{},"data":{"x":"1","x":"2"}})", 400,
                   "BadRequest",
                   R"(strict decoding error: unknown field "dat", duplicate field "data.x")"}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(RestCreateTest, IsRefusedWithAReason) {
  const CreateCase& c = GetParam();
  Answer answer = rig.call(cat("POST ", c.path), c.body, c.type);
  EXPECT_EQ(answer.status, c.code) << answer.body;
  EXPECT_EQ(answer.text("reason"), c.reason);
  EXPECT_THAT(answer.text("message"), HasSubstr(c.message));
  EXPECT_EQ(rig.store.revision(), rig.start);
}

TEST_F(RestWriteTest, TakesYaml) {
  Answer made = rig.call(cat("POST ", kMaps), "metadata:\n  name: from-yaml\ndata:\n  k: \"1\"\n",
                         "application/yaml");
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.text("data", "k"), "1");
}

TEST_F(RestWriteTest, GeneratesNames) {
  std::string body = R"({"metadata":{"generateName":"web-"}})";
  std::string first = rig.call(cat("POST ", kMaps), body).text("metadata", "name");
  std::string second = rig.call(cat("POST ", kMaps), body).text("metadata", "name");
  EXPECT_THAT(first, testing::StartsWith("web-"));
  EXPECT_EQ(first.size(), 9U);
  EXPECT_NE(first, second);
}

TEST_F(RestWriteTest, WarnsAboutUnknownFieldsAndDropsThem) {
  std::string body = R"({"metadata":{"name":"a"},"dat":{"k":"\"v\""}})";
  Answer warned = rig.call(cat("POST ", kMaps), body);
  EXPECT_EQ(warned.status, 201);
  EXPECT_EQ(warned.headers.get("Warning"), R"(299 - "unknown field \"dat\"")");
  EXPECT_EQ(find(warned.document(), "dat"), nullptr);
  Answer ignored = rig.call(cat("POST ", kMaps, "?fieldValidation=Ignore"),
                            R"({"metadata":{"name":"b"},"dat":{}})");
  EXPECT_EQ(ignored.status, 201);
  EXPECT_FALSE(ignored.headers.has("Warning"));
  EXPECT_EQ(find(ignored.document(), "dat"), nullptr);
}

TEST_F(RestWriteTest, RefusesASecondObjectOfTheName) {
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  Answer again = rig.call(cat("POST ", kMaps), map_text("a"));
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.text("reason"), "AlreadyExists");
  EXPECT_EQ(again.text("message"), R"(configmaps "a" already exists)");
}

TEST_F(RestWriteTest, DryRunChangesNothing) {
  Answer made = rig.call(cat("POST ", kServices, "?dryRun=All"),
                         R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(rig.call(cat("GET ", kServices, "/s")).status, 404);
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  uint64_t before = rig.store.revision();
  EXPECT_EQ(rig.call(cat("PATCH ", kMaps, "/a?dryRun=All"), R"({"data":{"k":"w"}})", kMerge)
                .text("data", "k"),
            "w");
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a"), R"({"dryRun":["All"]})").status, 200);
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a?dryRun=All")).status, 200);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a")).text("data", "k"), "v");
  EXPECT_EQ(rig.store.revision(), before);
}

// A list of updates to ConfigMap a (revision = start + 1, data.k = v).
struct UpdateCase {
  const char* what;
  std::string method, body;
  int code;
  std::string message;     // of the error
  uint64_t revisions = 0;  // that it made
};

class RestUpdateTest : public RestWriteTest, public testing::WithParamInterface<UpdateCase> {};

INSTANTIATE_TEST_SUITE_P(
    Table, RestUpdateTest,
    testing::Values(
        UpdateCase{"Unconditional", "PUT", R"({"metadata":{"name":"a"},"data":{"k":"w"}})", 200, "",
                   1},
        UpdateCase{"FromTheHead", "PUT",
                   R"({"metadata":{"name":"a","resourceVersion":"$RV"},"data":{"k":"w"}})", 200, "",
                   1},
        UpdateCase{"FromAnOlderState", "PUT",
                   R"({"metadata":{"name":"a","resourceVersion":"1"},"data":{"k":"w"}})", 409,
                   "the object has been modified"},
        UpdateCase{"NothingNew", "PUT", R"({"metadata":{"name":"a"},"data":{"k":"v"}})", 200, ""},
        UpdateCase{"OtherName", "PUT", R"({"metadata":{"name":"b"}})", 400,
                   "does not match the name on the URL"},
        UpdateCase{"OtherNamespace", "PUT", R"({"metadata":{"name":"a","namespace":"b"}})", 400,
                   "does not match the namespace on the URL"},
        UpdateCase{"OtherUid", "PUT", R"({"metadata":{"name":"a","uid":"x"}})", 409,
                   "Precondition failed: UID"},
        UpdateCase{"MergePatch", "PATCH", R"({"data":{"k":"w"}})", 200, "", 1},
        UpdateCase{"MergePatchNothingNew", "PATCH", R"({"data":{"k":"v"}})", 200, ""},
        UpdateCase{"MergePatchRemoves", "PATCH", R"({"data":{"k":null}})", 200, "", 1},
        UpdateCase{"MergePatchFromAnOlderState", "PATCH",
                   R"({"metadata":{"resourceVersion":"1"},"data":{"k":"w"}})", 409, "modified"},
        UpdateCase{"MergePatchRenames", "PATCH", R"({"metadata":{"name":"b"}})", 400, "on the URL"},
        UpdateCase{"MergePatchWrongType", "PATCH", R"({"data":{"k":{"deep":1}}})", 400,
                   "cannot be handled as a ConfigMap"},
        UpdateCase{"MergePatchLabels", "PATCH", R"({"metadata":{"labels":{"a":"b"}}})", 200, "", 1},
        UpdateCase{"MergePatchBadLabel", "PATCH", R"({"metadata":{"labels":{"a":"b c"}}})", 422,
                   "metadata.labels"},
        UpdateCase{"SystemFieldsStay", "PATCH",
                   R"({"metadata":{"creationTimestamp":"2000-01-01T00:00:00Z","generation":9}})",
                   200, ""}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(RestUpdateTest, FollowsTheRules) {
  const UpdateCase& c = GetParam();
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  std::string body = c.body;
  if (size_t at = body.find("$RV"); at != std::string::npos)
    body.replace(at, 3, cat(rig.start + 1));
  Answer answer = rig.call(cat(c.method, " ", kMaps, "/a"), body,
                           c.method == "PATCH" ? kMerge : "application/json");
  EXPECT_EQ(answer.status, c.code) << answer.body;
  if (c.code != 200) {
    EXPECT_THAT(answer.text("message"), HasSubstr(c.message));
  }
  EXPECT_EQ(rig.store.revision(), rig.start + 1 + c.revisions);
}

TEST_F(RestWriteTest, AnUpdateOfNothingIsNotFoundOrACreate) {
  EXPECT_EQ(rig.call(cat("PUT ", kMaps, "/a"), map_text("a")).status, 404);
  Answer lease = rig.call("PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/l",
                          R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"x"}})");
  EXPECT_EQ(lease.status, 201) << lease.body;
  Answer blind = rig.call("PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/l",
                          R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"y"}})");
  EXPECT_EQ(blind.status, 422);
  EXPECT_THAT(blind.text("message"), HasSubstr("must be specified for an update"));
}

TEST_F(RestWriteTest, PatchesInEachFormat) {
  ASSERT_EQ(
      rig.call(
             cat("POST ", kServices),
             R"({"metadata":{"name":"s"},"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81}]}})")
          .status,
      201);
  std::string path = cat("PATCH ", kServices, "/s");
  Answer strategic = rig.call(path, R"({"spec":{"ports":[{"port":80,"targetPort":8080}]}})",
                              "application/strategic-merge-patch+json");
  ASSERT_EQ(strategic.status, 200) << strategic.body;
  json::value service = strategic.document();
  EXPECT_EQ(find(service, "spec", "ports")->get_array().size(), 2U);
  Answer pointed = rig.call(path, R"([{"op":"replace","path":"/spec/ports/1/name","value":"c"}])",
                            "application/json-patch+json");
  ASSERT_EQ(pointed.status, 200) << pointed.body;
  EXPECT_THAT(pointed.body, HasSubstr(R"("name":"c")"));
  Answer failed = rig.call(path, R"([{"op":"test","path":"/spec/type","value":"x"}])",
                           "application/json-patch+json");
  EXPECT_EQ(failed.status, 422) << failed.body;
  EXPECT_EQ(rig.call(path, "{}", "application/json-patch+json").status, 400);
  EXPECT_EQ(rig.call(path, "{}", "application/json").status, 415);
  Answer apply = rig.call(path, "{}", "application/apply-patch+yaml");
  EXPECT_EQ(apply.status, 415);
  EXPECT_THAT(apply.text("message"), HasSubstr("server-side apply is not supported"));
}

TEST_F(RestWriteTest, GenerationCountsSpecChangesOnly) {
  std::string path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
  auto generation = [&](const Answer& answer) {
    const json::value document = answer.document();
    const json::value* number = find(document, "metadata", "generation");
    return number == nullptr ? 0 : number->get_int64();
  };
  EXPECT_EQ(
      generation(rig.call(
          cat("POST ", path),
          R"({"metadata":{"name":"i"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})")),
      1);
  path += "/i";
  EXPECT_EQ(
      generation(rig.call(cat("PATCH ", path), R"({"metadata":{"labels":{"a":"b"}}})", kMerge)), 1);
  EXPECT_EQ(generation(rig.call(cat("PATCH ", path, "/status"),
                                R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"}]}}})",
                                kMerge)),
            1);
  EXPECT_EQ(
      generation(rig.call(cat("PATCH ", path), R"({"spec":{"ingressClassName":"x"}})", kMerge)), 2);
}

TEST_F(RestWriteTest, StatusAndSpecAreKeptApart) {
  ASSERT_EQ(rig.call(cat("POST ", kPods), pod_text("p", "n1")).status, 201);
  std::string path = cat(kPods, "/p");
  EXPECT_EQ(rig.call(cat("GET ", path)).text("status", "phase"), "Pending");
  // The main resource ignores a status ...
  Answer main =
      rig.call(cat("PATCH ", path),
               R"({"metadata":{"labels":{"a":"1"}},"status":{"phase":"Running"}})", kMerge);
  EXPECT_EQ(main.text("status", "phase"), "Pending");
  // ... and /status a spec, but not annotations.
  Answer status = rig.call(cat("PATCH ", path, "/status"),
                           R"({"metadata":{"annotations":{"seen":"yes"},
                                           "ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}]},
                               "spec":{"nodeName":"n2"},"status":{"phase":"Running","podIP":"10.0.0.1"}})",
                           kMerge);
  ASSERT_EQ(status.status, 200) << status.body;
  EXPECT_EQ(status.text("spec", "nodeName"), "n1");
  EXPECT_EQ(status.text("status", "phase"), "Running");
  EXPECT_EQ(status.text("metadata", "annotations", "seen"), "yes");
  EXPECT_EQ(find(status.document(), "metadata", "ownerReferences"), nullptr);
  EXPECT_EQ(rig.call(cat("GET ", path, "/status")).text("status", "podIP"), "10.0.0.1");
}

TEST_F(RestWriteTest, AllocatesAndFreesServiceAddresses) {
  auto create = [&](std::string_view name, std::string_view spec) {
    return rig.call(cat("POST ", kServices),
                    cat(R"({"metadata":{"name":")", name, R"("},"spec":)", spec, "}"));
  };
  Answer first = create("a", R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_EQ(first.status, 201) << first.body;
  std::string ip = first.text("spec", "clusterIP");
  EXPECT_THAT(ip, testing::StartsWith("10.96."));
  std::string wants = cat(R"({"clusterIP":")", ip, R"(","ports":[{"port":80}]})");
  EXPECT_EQ(create("b", wants).status, 422);
  EXPECT_EQ(rig.call(cat("DELETE ", kServices, "/a")).status, 200);
  EXPECT_EQ(create("b", wants).status, 201);
}

TEST_F(RestWriteTest, AFailedCommitIsAnErrorAndGivesAddressesBack) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig other(disk);
  disk->fail_with("database or disk is full");
  std::string body =
      R"({"metadata":{"name":"s"},"spec":{"clusterIP":"10.96.0.77","ports":[{"port":80}]}})";
  Answer refused = other.call(cat("POST ", kServices), body);
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(refused.text("message"), HasSubstr("database or disk is full"));
  EXPECT_EQ(other.call("GET /readyz").status, 500);
  EXPECT_EQ(other.call("GET /livez").status, 200);
  EXPECT_EQ(other.call(cat("GET ", kServices, "/s")).status, 404);
  disk->fail_with("");
  EXPECT_EQ(other.call(cat("POST ", kServices), body).status, 201);
  EXPECT_EQ(other.call("GET /readyz").status, 200);
}

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

TEST_F(RestWriteTest, WritesInFlightBuildOnEachOther) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig slow(disk);
  disk->delay_ms = 30;
  std::vector<std::shared_ptr<Answer>> answers;
  answers.push_back(slow.send(slow.request(cat("POST ", kMaps), map_text("a"))));
  for (int i = 0; i < 10; ++i)
    answers.push_back(slow.send(
        slow.request(cat("PATCH ", kMaps, "/a"), cat(R"({"data":{"k)", i, R"(":"v"}})"), kMerge)));
  answers.push_back(slow.send(slow.request(cat("POST ", kMaps), map_text("a"))));
  slow.settle();
  EXPECT_EQ(answers.front()->status, 201);
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(answers[static_cast<size_t>(i)]->status, 200);
  EXPECT_EQ(answers.back()->status, 409);
  EXPECT_EQ(find(slow.call(cat("GET ", kMaps, "/a")).document(), "data")->get_object().size(), 11U);
}

}  // namespace
}  // namespace fairlead::controlplane
