// Common metadata, and the kinds of the cluster: tests/controlplane/rules/.
#include "controlplane/objects/rules.h"
#include "tests/controlplane/rules_support.h"

namespace fairlead::controlplane {
namespace {

class RulesMetadata : public testing::TestWithParam<TextCase> {};
TEST_P(RulesMetadata, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesMetadata, testing::ValuesIn(read_cases("rules/metadata.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class RulesCluster : public testing::TestWithParam<TextCase> {};
TEST_P(RulesCluster, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesCluster, testing::ValuesIn(read_cases("rules/cluster.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class RulesPod : public testing::TestWithParam<TextCase> {};
TEST_P(RulesPod, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesPod, testing::ValuesIn(read_cases("rules/pod.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

TEST(RulesMetadataLimits, AnnotationsTakeAQuarterOfAMebibyte) {
  const auto errors = [](size_t bytes) {
    const json::object annotations{{"a", std::string(bytes - 1, 'x')}};  // the key counts too
    return to_string(
        admit_create(
            "v1", "ConfigMap",
            json::object{
                {"metadata", {{"name", "a"}, {"namespace", "b"}, {"annotations", annotations}}}})
            .errors);
  };
  EXPECT_EQ(errors(256 * 1024), "[]");
  EXPECT_EQ(errors(256 * 1024 + 1),
            "metadata.annotations: Too long: may not be more than 262144 bytes");
}

TEST(RulesStrict, UnknownFieldsAreNamedAndPruned) {
  const ObjectRules rules = *ObjectRules::load();
  json::value service = *parse_json(
      R"({"apiVersion": "v1", "kind": "Service", "spec": {"prots": [], "ports": [{"prot": 1}]}})");
  EXPECT_EQ(rules.strict_problems("v1", "Service", service).size(), 2u);
  EXPECT_TRUE(rules.type_problems("v1", "Service", service).empty());
  rules.prune("v1", "Service", service);
  EXPECT_TRUE(rules.strict_problems("v1", "Service", service).empty());
  EXPECT_EQ(json::serialize(service.at("spec")), R"({"ports":[{}]})");
}

TEST(RulesStrict, ValuesOfAWrongTypeAreNamed) {
  const ObjectRules rules = *ObjectRules::load();
  const json::value service = *parse_json(
      R"({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "eighty"}]}})");
  EXPECT_EQ(rules.type_problems("v1", "Service", service).size(), 1u);
}

}  // namespace
}  // namespace fairlead::controlplane
