// Defaults, validation and immutable fields, case by case: tests/controlplane/admission/*.txt.
#include <gtest/gtest.h>

#include "controlplane/objects/admission.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/rules.h"
#include "tests/controlplane/text_cases.h"

namespace fairlead::controlplane {
namespace {

const ObjectRules& rules() {
  static const ObjectRules loaded = *ObjectRules::load();
  return loaded;
}

// Every member of `part` is in `whole`; list items one by one.
bool contains(const json::value& whole, const json::value& part) {
  if (part.is_array()) {
    if (!whole.is_array() || whole.get_array().size() != part.get_array().size()) return false;
    for (size_t i = 0; i < part.get_array().size(); ++i)
      if (!contains(whole.get_array()[i], part.get_array()[i])) return false;
    return true;
  }
  if (!part.is_object()) return same_value(whole, part);
  for (const auto& member : part.get_object()) {
    const json::value* found = find(whole, view(member.key()));
    if (found == nullptr || !contains(*found, member.value())) return false;
  }
  return true;
}

const json::value* at_path(const json::value& value, std::string_view path) {
  const json::value* at = &value;
  for (std::string_view step : split(path, '.')) {
    if (at->is_array()) {
      const auto index = parse_int(step, 0, static_cast<int64_t>(at->get_array().size()) - 1);
      at = index ? &at->get_array()[static_cast<size_t>(*index)] : nullptr;
    } else {
      at = find(*at, step);
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

json::value complete(const TextCase& test, json::value document) {
  json::object& object = document.get_object();
  if (!object.contains("metadata")) {
    json::object& metadata = make_object(object, "metadata");
    metadata["name"] = "web";
    if (!test.has("cluster")) metadata["namespace"] = "default";
  }
  return document;
}

void check(const TextCase& test, const Admitted& got) {
  std::vector<std::string> errors;
  for (const FieldError& error : got.errors) errors.push_back(error.to_string());
  if (test.has("contains"))
    EXPECT_THAT(to_string(got.errors), testing::HasSubstr(test.text("contains")));
  else
    EXPECT_EQ(errors, test.lines("errors"));
  EXPECT_EQ(got.warnings, test.lines("warnings"));
  if (test.has("with")) {
    EXPECT_TRUE(contains(got.object, test.json("with")))
        << "got  " << json::serialize(got.object) << "\nwith " << test.text("with");
  }
  for (std::string_view path : split(test.text("without"), ' '))
    EXPECT_TRUE(path.empty() || at_path(got.object, path) == nullptr) << path;
}

// What is admitted fits the schema, and admitting it again changes nothing.
void check_stable(const Admitted& got) {
  if (!got.errors.empty()) return;
  const std::string version(find_string(got.object, "apiVersion")),
      kind(find_string(got.object, "kind"));
  if (!rules().schema().knows(version, kind)) return;
  EXPECT_EQ(rules().strict_problems(version, kind, got.object), std::vector<std::string>());
  EXPECT_EQ(rules().type_problems(version, kind, got.object), std::vector<std::string>());
  const Admitted again = admit_update(version, kind, got.object, got.object);
  EXPECT_EQ(to_string(again.errors), "[]");
  EXPECT_TRUE(same_value(again.object, got.object)) << json::serialize(got.object) << "\n"
                                                    << json::serialize(again.object);
}

Admitted create(const json::value& document) {
  return admit_create(find_string(document, "apiVersion"), find_string(document, "kind"), document);
}

class Create : public testing::TestWithParam<TextCase> {};
TEST_P(Create, Case) {
  const json::value document = GetParam().json("object");
  ASSERT_TRUE(document.is_object()) << document;
  const Admitted got = create(complete(GetParam(), document));
  check(GetParam(), got);
  check_stable(got);
}
INSTANTIATE_TEST_SUITE_P(Table, Create, testing::ValuesIn(read_cases("admission/create.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class CreateSpec : public testing::TestWithParam<TextCase> {};
TEST_P(CreateSpec, Case) {
  const TextCase& test = GetParam();
  const json::value spec = test.json("spec");
  ASSERT_TRUE(spec.is_object()) << spec;
  const std::string_view kind = test.file.ends_with("pod.txt") ? "Pod" : "Service";
  json::object document{{"apiVersion", "v1"}, {"kind", kind}, {"spec", spec}};
  if (test.has("status")) document["status"] = test.json("status");
  const Admitted got = create(complete(test, document));
  check(test, got);
  check_stable(got);
}
INSTANTIATE_TEST_SUITE_P(Service, CreateSpec,
                         testing::ValuesIn(read_cases("admission/service.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);
INSTANTIATE_TEST_SUITE_P(Pod, CreateSpec, testing::ValuesIn(read_cases("admission/pod.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class Update : public testing::TestWithParam<TextCase> {};
TEST_P(Update, Case) {
  const TextCase& test = GetParam();
  const json::value old = test.json("old"), next = test.json("new");
  ASSERT_TRUE(old.is_object() && next.is_object()) << old << next;
  const Admitted before = create(complete(test, old));
  ASSERT_EQ(to_string(before.errors), "[]");
  const Admitted got = admit_update(find_string(next, "apiVersion"), find_string(next, "kind"),
                                    before.object, complete(test, next));
  check(test, got);
  check_stable(got);
}
INSTANTIATE_TEST_SUITE_P(Table, Update, testing::ValuesIn(read_cases("admission/update.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

TEST(AdmissionLimits, AnnotationsAndDataHaveASize) {
  json::value map{{"apiVersion", "v1"},
                  {"kind", "ConfigMap"},
                  {"metadata",
                   {{"name", "a"},
                    {"namespace", "default"},
                    {"annotations", {{"k", std::string(256 * 1024, 'x')}}}}},
                  {"data", {{"k", std::string(1024 * 1024 + 1, 'x')}}}};
  const Admitted got = create(map);
  EXPECT_EQ(to_string(got.errors),
            "[metadata.annotations: Too long: may not be more than 262144 bytes, "
            "data: Too long: may not be more than 1048576 bytes]");
}

TEST(AdmissionLimits, ASliceHasAThousandEndpoints) {
  json::array endpoints(1001, json::object{{"addresses", {"10.0.0.1"}}});
  const Admitted got = create({{"apiVersion", "discovery.k8s.io/v1"},
                               {"kind", "EndpointSlice"},
                               {"metadata", {{"name", "a"}, {"namespace", "default"}}},
                               {"addressType", "IPv4"},
                               {"endpoints", endpoints}});
  EXPECT_EQ(to_string(got.errors), "endpoints: Too many: 1001: must have at most 1000 items");
}

TEST(AdmissionLimits, WhatIsNoObjectIsRefused) {
  EXPECT_EQ(to_string(admit_create("v1", "Pod", json::array()).errors),
            ": Invalid value: []string{}: must be an object");
  EXPECT_FALSE(admit_update("v1", "Pod", nullptr, json::object()).errors.empty());
}

// Members of a wrong type count as absent; nothing may crash on them.
TEST(AdmissionLimits, IllTypedMembersAreHarmless) {
  for (std::string_view kind :
       {"Pod", "Service", "Namespace", "Node", "Secret", "ConfigMap", "Event", "Endpoints"})
    for (const json::value& wrong :
         {json::value(1), json::value("x"), json::value(nullptr), json::value(json::array{1, "a"}),
          json::value(json::object{{"ports", json::array{1, nullptr}}, {"containers", 7}})})
      for (std::string_view field :
           {"metadata", "spec", "status", "data", "stringData", "subsets", "involvedObject"}) {
        const json::value document = json::object{{field, wrong}};
        (void)admit_create("v1", kind, document);
        (void)admit_update("v1", kind, document, document);
        (void)admit_update("v1", kind, json::object(), document);
      }
}

TEST(Prune, UnknownFieldsAndNullsGo) {
  json::value document = *parse_json(
      R"({"apiVersion": "v1", "kind": "ConfigMap", "extra": 1, "metadata": {"name": "a", "x": {},
          "creationTimestamp": null, "labels": {"a": null, "b": "c"}}, "data": {"k": null}})");
  rules().prune("v1", "ConfigMap", document);
  EXPECT_TRUE(same_value(document, *parse_json(R"({"apiVersion": "v1", "kind": "ConfigMap",
      "metadata": {"name": "a", "labels": {"a": "", "b": "c"}}, "data": {"k": ""}})")))
      << document;
}

TEST(StrictProblems, AreWordedAsTheApiServerDoes) {
  const auto document = *parse_json(
      R"({"apiVersion": "v1", "kind": "Service", "spec": {"portz": [], "ports": [{"prot": 1}]}})");
  EXPECT_THAT(rules().strict_problems("v1", "Service", document),
              testing::UnorderedElementsAre("unknown field \"spec.portz\"",
                                            "unknown field \"spec.ports[0].prot\""));
}

}  // namespace
}  // namespace fairlead::controlplane
