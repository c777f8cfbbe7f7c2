// What the schema says of a document: unknown fields, values of a wrong type, and what is pruned.
#include "controlplane/objects/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

const ObjectRules& rules() {
  static const ObjectRules loaded = *ObjectRules::load();
  return loaded;
}

TEST(ObjectRules, UnknownFieldsAndNullsArePruned) {
  json::value document = *parse_json(
      R"({"apiVersion": "v1", "kind": "ConfigMap", "extra": 1, "metadata": {"name": "a", "x": {},
          "creationTimestamp": null, "labels": {"a": null, "b": "c"}}, "data": {"k": null}})");
  rules().prune("v1", "ConfigMap", document);
  EXPECT_TRUE(same_value(document, *parse_json(R"({"apiVersion": "v1", "kind": "ConfigMap",
      "metadata": {"name": "a", "labels": {"a": "", "b": "c"}}, "data": {"k": ""}})")))
      << document;
}

TEST(ObjectRules, UnknownFieldsAreNamedAsTheApiServerDoes) {
  json::value service = *parse_json(
      R"({"apiVersion": "v1", "kind": "Service", "spec": {"portz": [], "ports": [{"prot": 1}]}})");
  EXPECT_THAT(rules().strict_problems("v1", "Service", service),
              testing::UnorderedElementsAre("unknown field \"spec.portz\"",
                                            "unknown field \"spec.ports[0].prot\""));
  EXPECT_TRUE(rules().type_problems("v1", "Service", service).empty());
  rules().prune("v1", "Service", service);
  EXPECT_TRUE(rules().strict_problems("v1", "Service", service).empty());
  EXPECT_EQ(json::serialize(service.at("spec")), R"({"ports":[{}]})");
}

TEST(ObjectRules, ValuesOfAWrongTypeAreNamed) {
  const json::value service = *parse_json(
      R"({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "eighty"}]}})");
  EXPECT_EQ(rules().type_problems("v1", "Service", service).size(), 1u);
}

}  // namespace
}  // namespace fairlead::controlplane
