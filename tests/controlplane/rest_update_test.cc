// Update and patch over the API, of objects and of their subresources.
#include <gmock/gmock.h>

#include "rest_support.h"
namespace fairlead::controlplane {
namespace {
using testing::HasSubstr;
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

}  // namespace
}  // namespace fairlead::controlplane
