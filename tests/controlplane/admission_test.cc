// Defaults, validation and immutable fields of every kind: tests/controlplane/admission/*.txt.
#include "tests/controlplane/admission_cases.h"

namespace fairlead::controlplane {
namespace {

class Admission : public testing::TestWithParam<TextCase> {};
TEST_P(Admission, Case) { run_admission(GetParam()); }

using Name = testing::TestParamInfo<TextCase>;
auto cases(std::string_view file) {
  return testing::ValuesIn(read_cases(cat("controlplane/admission/", file)));
}

INSTANTIATE_TEST_SUITE_P(Metadata, Admission, cases("metadata.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(Cluster, Admission, cases("cluster.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(Data, Admission, cases("data.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(Endpoints, Admission, cases("endpoints.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(Ingress, Admission, cases("ingress.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(Pod, Admission, cases("pod.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(ServiceCreate, Admission, cases("service_create.txt"), case_name<Name>);
INSTANTIATE_TEST_SUITE_P(ServiceUpdate, Admission, cases("service_update.txt"), case_name<Name>);

// Sizes are not worth a file of a megabyte.
TEST(AdmissionLimits, AMebibyteIsAllThatOneObjectHolds) {
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

TEST(AdmissionLimits, AnnotationsTakeAQuarterOfAMebibyte) {
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

TEST(AdmissionLimits, ASliceHoldsAThousandEndpoints) {
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

TEST(AdmissionLimits, WhatIsNoObjectIsRefused) {
  EXPECT_EQ(to_string(admit_create("v1", "Pod", json::array()).errors),
            ": Invalid value: []string{}: must be an object");
  EXPECT_FALSE(admit_update("v1", "Pod", nullptr, json::object()).errors.empty());
}

// Members of a wrong type count as absent; nothing may crash on them.
TEST(AdmissionLimits, IllTypedMembersAreHarmless) {
  constexpr std::pair<std::string_view, std::string_view> kinds[] = {
      {"v1", "Pod"},
      {"v1", "Service"},
      {"v1", "Namespace"},
      {"v1", "Node"},
      {"v1", "Secret"},
      {"v1", "ConfigMap"},
      {"v1", "Event"},
      {"v1", "Endpoints"},
      {"coordination.k8s.io/v1", "Lease"},
      {"discovery.k8s.io/v1", "EndpointSlice"},
      {"networking.k8s.io/v1", "Ingress"},
      {"networking.k8s.io/v1", "IngressClass"}};
  for (const auto& [version, kind] : kinds)
    for (const json::value& wrong :
         {json::value(1), json::value("x"), json::value(nullptr), json::value(json::array{1, "a"}),
          json::value(json::object{{"ports", json::array{1, nullptr}},
                                   {"containers", 7},
                                   {"rules", json::array{json::array{}, "x"}},
                                   {"parameters", json::array{}}})})
      for (std::string_view field :
           {"metadata", "spec", "status", "data", "stringData", "binaryData", "type", "immutable",
            "subsets", "involvedObject", "addressType", "endpoints", "ports"}) {
        const json::value document = json::object{{field, wrong}};
        (void)admit_create(version, kind, document);
        (void)admit_update(version, kind, document, document);
        (void)admit_update(version, kind, json::object(), document);
        (void)admit_update(version, kind, document, json::object());
      }
}

}  // namespace
}  // namespace fairlead::controlplane
