// Secret, ConfigMap, EndpointSlice and Endpoints: tests/controlplane/rules/{data,endpoints}.txt.
#include "tests/controlplane/rules_support.h"

namespace fairlead::controlplane {
namespace {

class RulesData : public testing::TestWithParam<TextCase> {};
TEST_P(RulesData, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesData, testing::ValuesIn(read_cases("rules/data.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class RulesEndpoints : public testing::TestWithParam<TextCase> {};
TEST_P(RulesEndpoints, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesEndpoints,
                         testing::ValuesIn(read_cases("rules/endpoints.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

// Sizes are not worth a file of a megabyte.
TEST(RulesDataLimits, AMebibyteIsAllThatOneObjectHolds) {
  const auto errors = [](std::string_view kind, std::string value) {
    return to_string(admit_create("v1", kind,
                                  json::object{{"metadata", {{"name", "a"}, {"namespace", "b"}}},
                                               {"data", json::object{{"a", std::move(value)}}}})
                         .errors);
  };
  const std::string full(1 << 20, 'x');
  EXPECT_EQ(errors("ConfigMap", full), "[]");
  EXPECT_EQ(errors("ConfigMap", full + "x"), "data: Too long: may not be more than 1048576 bytes");
  EXPECT_EQ(errors("Secret", base64_encode(full)), "[]");
  EXPECT_EQ(errors("Secret", base64_encode(full + "x")),
            "data: Too long: may not be more than 1048576 bytes");
}

TEST(RulesDataLimits, ASliceHoldsAThousandEndpoints) {
  const auto errors = [](size_t endpoints, size_t addresses) {
    const json::object endpoint{{"addresses", json::array(addresses, "10.0.0.1")}};
    return to_string(admit_create("discovery.k8s.io/v1", "EndpointSlice",
                                  json::object{{"metadata", {{"name", "a"}, {"namespace", "b"}}},
                                               {"addressType", "IPv4"},
                                               {"endpoints", json::array(endpoints, endpoint)}})
                         .errors);
  };
  EXPECT_EQ(errors(1000, 1), "[]");
  EXPECT_EQ(errors(1001, 1), "endpoints: Too many: 1001: must have at most 1000 items");
  EXPECT_EQ(errors(1, 100), "[]");
  EXPECT_EQ(errors(1, 101), "endpoints[0].addresses: Too many: 101: must have at most 100 items");
}

}  // namespace
}  // namespace fairlead::controlplane
