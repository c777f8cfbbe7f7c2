// Create over the API.
#include <gmock/gmock.h>

#include "rest_support.h"
namespace fairlead::controlplane {
namespace {
using testing::HasSubstr;
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

}  // namespace
}  // namespace fairlead::controlplane
