#include "api/schema.h"

#include <gtest/gtest.h>

#include "api/kinds.h"

namespace fairlead::api {
namespace {

using Base = TypeSchema::Base;

class SchemaTest : public testing::Test {
 protected:
  std::string check(std::string_view version, std::string_view kind, std::string_view text,
                    bool strict = true) {
    const auto document = parse_json(text);
    if (!document) return document.error().message;
    std::string out;
    for (const auto& problem : schema_.check(version, kind, *document, strict)) {
      out += (out.empty() ? "" : "; ") + problem.to_string();
    }
    return out;
  }

  Schema schema_ = *Schema::load();
};

TEST_F(SchemaTest, KnowsKindsByVersion) {
  for (const KindInfo& kind : kinds()) {
    EXPECT_TRUE(schema_.knows(kind.api_version, kind.name)) << kind.name;
  }
  EXPECT_TRUE(schema_.knows("apps/v1", "Deployment"));
  EXPECT_TRUE(schema_.knows("autoscaling/v2", "HorizontalPodAutoscaler"));
  EXPECT_FALSE(schema_.knows("v1", "Deployment"));
  EXPECT_FALSE(schema_.knows("extensions/v1beta1", "Ingress"));
  EXPECT_EQ(schema_.definition_name("v1", "Service"), "io.k8s.api.core.v1.Service");
  EXPECT_EQ(schema_.definition_name("v1", "service"), "");
}

TEST_F(SchemaTest, ChecksDocuments) {
  struct Case {
    std::string_view version, kind, document, problems;
  };
  const Case cases[] = {
      {"v1", "Service", R"({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}],
        "selector": {"a": "b"}}})",
       ""},
      {"v1", "Service", R"({"spec": {"port": []}})", "unknown field \"spec.port\""},
      {"v1", "Service", R"({"spec": {"ports": [{"prot": 80, "port": 80}]}})",
       "unknown field \"spec.ports[0].prot\""},
      {"v1", "Service", R"({"spec": {"ports": [{}]}})", "spec.ports[0].port: missing"},
      {"v1", "Service", R"({"spec": {"ports": [{"port": null}]}})", "spec.ports[0].port: missing"},
      {"v1", "Service", R"({"spec": {"ports": {"port": 80}}})",
       "spec.ports: expected a list, found an object"},
      {"v1", "Service", R"({"spec": {"ports": [{"port": "80"}]}})",
       "spec.ports[0].port: expected an integer, found a string"},
      {"v1", "Service", R"({"spec": {"ports": [{"port": 80, "targetPort": true}]}})",
       "spec.ports[0].targetPort: expected an integer or a string, found a boolean"},
      {"v1", "Service", R"({"spec": {"ports": [{"port": 4294967296}]}})",
       "spec.ports[0].port: 4294967296 is not a 32-bit integer"},
      {"v1", "Service", R"({"spec": {"selector": {"a": 1}}})",
       "spec.selector[a]: expected a string, found an integer"},
      {"v1", "Service", R"({"metadata": {"labels": ["a"]}})",
       "metadata.labels: expected an object, found a list"},
      {"v1", "Service", R"({"spec": {"publishNotReadyAddresses": "true"}})",
       "spec.publishNotReadyAddresses: expected true or false, found a string"},
      {"v1", "Service", R"({"metadata": {"creationTimestamp": null}, "spec": null})", ""},
      {"v1", "Service", R"({"metadata": {"creationTimestamp": "2026-01-02T03:04:05Z",
        "deletionTimestamp": "2026-01-02T03:04:05.123456+02:00"}})",
       ""},
      {"v1", "Service", R"({"metadata": {"creationTimestamp": "yesterday"}})",
       "metadata.creationTimestamp: is not an RFC 3339 time"},
      {"v1", "Service", R"({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"x": {}}}}]}})",
       ""},
      {"v1", "Service", "[]", "expected an object, found a list"},
      {"v1", "Service", "null", "expected an object, found null"},
      {"v1", "Secret", R"({"data": {"a": "AAEC"}, "stringData": {"b": "x"}})", ""},
      {"v1", "Secret", R"({"data": {"a": "not base64"}})", "data[a]: is not base64"},
      {"v1", "Pod", R"({"spec": {"containers": [{"name": "c", "resources": {"limits":
        {"cpu": "100m", "memory": 1024, "x": "1.5Gi", "y": "1e3", "z": 0.5}}}]}})",
       ""},
      {"v1", "Pod", R"({"spec": {"containers": [{"name": "c", "resources": {"limits":
        {"cpu": "lots"}}}]}})",
       "spec.containers[0].resources.limits[cpu]: is not a quantity like 500m or 2Gi"},
      {"v1", "Pod", R"({"spec": {}})", "spec.containers: missing"},
      {"v1", "Pod", R"({"spec": {"containers": [{"imagePullPolicy": 1}]}})",
       "spec.containers[0].imagePullPolicy: expected a string, found an integer; "
       "spec.containers[0].name: missing"},
      {"networking.k8s.io/v1", "Ingress",
       R"({"spec": {"rules": [{"host": "a", "http": {"paths": [{"path": "/"}]}}]}})",
       "spec.rules[0].http.paths[0].backend: missing; spec.rules[0].http.paths[0].pathType: "
       "missing"},
      {"v1", "Nonsense", "{}", "kind: no kind 'Nonsense' in version 'v1'"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(check(c.version, c.kind, c.document), c.problems) << c.document;
}

TEST_F(SchemaTest, TimesAreThoseThatGoReads) {
  const std::pair<std::string_view, bool> cases[] = {
      {"2026-01-02T03:04:05Z", true},
      {"0001-01-01T00:00:00Z", true},
      {"9999-12-31T23:59:59.999999999-11:59", true},
      {"2026-01-02T03:04:05.1+00:00", true},
      {"", false},
      {"2026", false},
      {"202", false},
      {"-026-01-02T03:04:05Z", false},
      {"20x6-01-02T03:04:05Z", false},
      {"2026-01-02", false},
      {"2026-01-02T03:04:05", false},
      {"2026-01-02t03:04:05Z", false},
      {"2026-01-02T03:04:05z", false},
      {"2026-01-02 03:04:05Z", false},
      {"2026-13-02T03:04:05Z", false},
      {"2026-04-31T03:04:05Z", false},
      {"2026-02-29T03:04:05Z", false},
      {"2028-02-29T03:04:05Z", true},
      {"1900-02-29T03:04:05Z", false},
      {"2026-01-02T24:04:05Z", false},
      {"2026-01-02T03:04:05.Z", false},
      {"2026-01-02T03:04:05+xx:yy", false},
      {"2026-01-02T03:04:05+0200", false},
      {"2026-01-02T03:04:05Z ", false},
  };
  for (const auto& [text, good] : cases) {
    const json::value document = {{"metadata", {{"creationTimestamp", text}}}};
    EXPECT_EQ(schema_.check("v1", "Service", document).empty(), good) << text;
  }
}

TEST_F(SchemaTest, UnknownFieldsAreNoProblemUnlessStrict) {
  EXPECT_EQ(check("v1", "Service", R"({"x": 1, "spec": {"y": [{"z": 1}]}})", false), "");
}

TEST_F(SchemaTest, ReportsAtMostAHundredProblems) {
  json::object spec;
  for (int i = 0; i < 1000; ++i) spec["x" + std::to_string(i)] = 1;
  EXPECT_EQ(schema_.check("v1", "Service", json::object{{"spec", spec}}).size(), 100u);
}

TEST_F(SchemaTest, WalksFields) {
  const TypeSchema* service = schema_.find("v1", "Service");
  ASSERT_NE(service, nullptr);
  const TypeSchema* ports = schema_.field(*schema_.field(*service, "spec"), "ports");
  ASSERT_NE(ports, nullptr);
  EXPECT_EQ(ports->base, Base::list);
  EXPECT_EQ(ports->list_type, "map");
  EXPECT_EQ(ports->list_map_keys, (std::vector<std::string>{"port", "protocol"}));
  EXPECT_EQ(ports->patch_merge_key, "port");
  EXPECT_EQ(ports->patch_strategy, "merge");
  const TypeSchema* port = schema_.item(*ports);
  EXPECT_EQ(schema_.field(*port, "targetPort")->base, Base::int_or_string);
  EXPECT_EQ(schema_.field(*port, "nothing"), nullptr);
  EXPECT_TRUE(schema_.member(*port, "port")->required);
  EXPECT_FALSE(schema_.member(*port, "name")->required);
  // A map's value type answers to every name.
  const TypeSchema* labels = schema_.field(*schema_.field(*service, "metadata"), "labels");
  EXPECT_EQ(schema_.field(*labels, "anything")->base, Base::string);
}

TEST_F(SchemaTest, MergeAttributesBesideARefAreKept) {
  const TypeSchema* spec = schema_.field(*schema_.find("apps/v1", "Deployment"), "spec");
  const auto* strategy = schema_.member(*spec, "strategy");
  ASSERT_NE(strategy, nullptr);
  EXPECT_EQ(strategy->type.patch_strategy, "retainKeys");
  EXPECT_EQ(schema_.resolve(strategy->type).base, Base::object);
}

// Every definition of the table, against what the table itself says.
TEST_F(SchemaTest, ReadsEveryDefinition) {
  const auto names = schema_.definition_names();
  EXPECT_EQ(names.size(), 638u);
  for (const std::string_view name : names) {
    const TypeSchema* type = schema_.definition(name);
    ASSERT_NE(type, nullptr) << name;
    const auto json = parse_json(schema_.definition_text(name));
    ASSERT_TRUE(json) << name;
    const json::value* properties = find(*json, "properties");
    EXPECT_EQ(type->fields.size(), properties == nullptr ? 0 : properties->as_object().size());
    for (const auto& field : type->fields) {
      EXPECT_TRUE(field.type.ref.empty() || schema_.definition(field.type.ref)) << field.name;
    }
  }
  EXPECT_EQ(schema_.definition("io.k8s.nothing"), nullptr);
  EXPECT_EQ(schema_.definition_text("io.k8s.nothing"), "");
}

TEST_F(SchemaTest, DocumentsMayNestAsRecursiveTypesDo) {
  // JSONSchemaProps refers to itself.
  std::string document = R"({"type": "object"})";
  for (int i = 0; i < 15; ++i) document = R"({"properties": {"a": )" + document + "}}";
  EXPECT_EQ(check("apiextensions.k8s.io/v1", "CustomResourceDefinition",
                  R"({"spec": {"group": "g", "names": {"kind": "K", "plural": "ks"},
                  "scope": "Namespaced", "versions": [{"name": "v1", "served": true,
                  "storage": true, "schema": {"openAPIV3Schema": )" +
                      document + "}}]}}"),
            "");
}

}  // namespace
}  // namespace fairlead::api
