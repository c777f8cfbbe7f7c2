// The OpenAPI v3 documents, read the way kubectl reads them.
#include <functional>

#include "controlplane/objects/openapi_parts.h"
#include "tests/controlplane/openapi_kinds.h"

namespace fairlead::controlplane {
namespace {

class OpenApiV3 : public OpenApiTest {
 protected:
  json::value document(std::string_view group, std::string_view version) const {
    return parsed(openapi_v3_document(schema_, kinds_, group, version));
  }
};

std::set<std::string> parameters(const json::value& operation) {
  std::set<std::string> out;
  for (const json::value& row : operation.at("parameters").get_array())
    if (row.at("in") == "query") out.emplace(find_string(row, "name"));
  return out;
}

// Every "$ref" must lead to a schema of the same document. Returns how many there are.
size_t check_references(const json::value& value, const json::object& schemas) {
  size_t count = 0;
  if (value.is_array())
    for (const json::value& item : value.get_array()) count += check_references(item, schemas);
  if (!value.is_object()) return count;
  constexpr std::string_view prefix = "#/components/schemas/";
  for (const auto& member : value.get_object()) {
    count += check_references(member.value(), schemas);
    if (member.key() != "$ref" || !member.value().is_string()) continue;
    ++count;
    const std::string_view target = view(member.value().get_string());
    EXPECT_TRUE(target.starts_with(prefix) && schemas.contains(target.substr(prefix.size())))
        << target;
    EXPECT_EQ(value.get_object().size(), 1u) << "a reference has no siblings: " << value;
  }
  return count;
}

TEST_F(OpenApiV3, TheIndexNamesEveryGroupVersion) {
  const json::value index = parsed(openapi_v3_index(schema_, kinds_));
  std::set<std::string> want;
  for (const std::string& version : table_.group_versions())
    want.insert(cat(version.find('/') == std::string::npos ? "api/" : "apis/", version));
  std::set<std::string> got;
  for (const auto& path : index.at("paths").get_object()) {
    got.emplace(view(path.key()));
    EXPECT_TRUE(find_string(path.value(), "serverRelativeURL")
                    .starts_with(cat("/openapi/v3/", view(path.key()), "?hash=")));
  }
  EXPECT_EQ(got, want);
  EXPECT_EQ(openapi_v3_index(schema_, kinds_), openapi_v3_index(schema_, kinds_));
}

TEST_F(OpenApiV3, EveryKindHasItsPathsAndPatchParameters) {
  for (const OpenApiKind& kind : kinds_) {
    SCOPED_TRACE(kind.kind);
    const json::value whole = document(kind.group, kind.version);
    const std::string root = kind.group.empty() ? cat("/api/", kind.version)
                                                : cat("/apis/", kind.group, "/", kind.version);
    const std::string many =
        cat(root, kind.namespaced ? "/namespaces/{namespace}/" : "/", kind.plural);
    const json::object& paths = whole.at("paths").get_object();
    ASSERT_TRUE(paths.contains(many));
    ASSERT_TRUE(paths.contains(many + "/{name}"));
    EXPECT_EQ(paths.contains(many + "/{name}/status"), kind.has_status);
    const json::value& patch = paths.at(many + "/{name}").at("patch");
    // kubectl >= 1.29 asks: does the PATCH of this kind have such a parameter?
    EXPECT_THAT(parameters(patch),
                testing::IsSupersetOf({"dryRun", "fieldManager", "fieldValidation"}));
    EXPECT_TRUE(same_value(
        patch.at("x-kubernetes-group-version-kind"),
        json::object{{"group", kind.group}, {"kind", kind.kind}, {"version", kind.version}}));
    EXPECT_EQ(patch.at("x-kubernetes-action"), "patch");
  }
}

TEST_F(OpenApiV3, EveryKindHasASchemaThatSaysSo) {
  for (const OpenApiKind& kind : kinds_) {
    SCOPED_TRACE(kind.kind);
    const json::value whole = document(kind.group, kind.version);
    const json::object& schemas = whole.at("components").at("schemas").get_object();
    ASSERT_TRUE(schemas.contains(kind.definition));
    const json::object* found = schemas.at(kind.definition).if_object();
    ASSERT_NE(found, nullptr);
    const json::array* rows = array_at(*found, "x-kubernetes-group-version-kind");
    ASSERT_NE(rows, nullptr);
    ASSERT_EQ(rows->size(), 1u);
    EXPECT_EQ(find_string(rows->front(), "group"), kind.group);
    EXPECT_EQ(find_string(rows->front(), "version"), kind.version);
    EXPECT_EQ(find_string(rows->front(), "kind"), kind.kind);
    EXPECT_GT(check_references(whole, schemas), 5u);
  }
}

TEST_F(OpenApiV3, MergeKeysAreThere) {
  const json::value whole = document("", "v1");
  struct Row {
    std::string_view definition, field, key;
  };
  constexpr Row rows[] = {
      {"io.k8s.api.core.v1.ServiceSpec", "ports", "port"},
      {"io.k8s.api.core.v1.PodSpec", "containers", "name"},
      {"io.k8s.api.core.v1.Container", "env", "name"},
      {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "uid"}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.field);
    const json::value& field =
        whole.at("components").at("schemas").at(row.definition).at("properties").at(row.field);
    EXPECT_EQ(find_string(field, "x-kubernetes-patch-merge-key"), row.key);
    EXPECT_THAT(std::string(find_string(field, "x-kubernetes-patch-strategy")),
                testing::HasSubstr("merge"));
    if (row.field == "ports") {
      EXPECT_FALSE(find_string(field, "description").empty());
    }
  }
}

TEST_F(OpenApiV3, AnIntOrStringIsEither) {
  const json::value whole = document("", "v1");
  const json::value& type =
      *find(whole, "components", "schemas", "io.k8s.apimachinery.pkg.util.intstr.IntOrString");
  EXPECT_EQ(find_string(type, "format"), "int-or-string");
  EXPECT_EQ(find(type, "oneOf")->get_array().size(), 2u);
}

TEST_F(OpenApiV3, AnUnknownGroupVersionHasNoDocument) {
  EXPECT_EQ(openapi_v3_document(schema_, kinds_, "", "v2"), "");
  EXPECT_EQ(openapi_v3_document(schema_, kinds_, "apps", "v1"), "");
  EXPECT_EQ(openapi_v3_document(schema_, kinds_, "networking.k8s.io", "v2"), "");
}

// `kubectl explain` goes from the resource's path to its kind to its schema.
TEST_F(OpenApiV3, PathsLeadToKinds) {
  const json::value whole = document("", "v1");
  for (std::string_view path : {"/api/v1/services", "/api/v1/namespaces/{namespace}/services",
                                "/api/v1/namespaces/{namespace}/services/{name}",
                                "/api/v1/namespaces/{namespace}/services/{name}/status",
                                "/api/v1/nodes", "/api/v1/nodes/{name}"}) {
    const json::value* found = find(whole, "paths", path);
    ASSERT_NE(found, nullptr) << path;
    EXPECT_FALSE(find_string(*found, "get", "x-kubernetes-group-version-kind", "kind").empty())
        << path;
  }
  EXPECT_EQ(find(whole, "paths", "/api/v1/namespaces/{namespace}/nodes"), nullptr);
  const json::value& service = *find(whole, "components", "schemas", "io.k8s.api.core.v1.Service");
  EXPECT_EQ(json::serialize(*find(service, "x-kubernetes-group-version-kind")),
            R"([{"group":"","kind":"Service","version":"v1"}])");
  EXPECT_FALSE(find_string(service, "description").empty());
}

TEST_F(OpenApiV3, DescriptionsAreOfFieldsThatExist) {
  const auto definitions = openapi_definitions(schema_, kinds_);
  EXPECT_FALSE(openapi_description("io.k8s.api.core.v1.Service").empty());
  EXPECT_TRUE(openapi_description("io.k8s.api.core.v1.Service", "nothing").empty());
  EXPECT_TRUE(openapi_description("io.k8s.api.core.v1.NoSuchKind").empty());
  for (const auto& [name, definition] : definitions) {
    const json::object* properties = object_at(definition, "properties");
    if (properties == nullptr) continue;
    for (const auto& property : *properties)
      EXPECT_EQ(string_at(property.value().get_object(), "description"),
                openapi_description(name, view(property.key())));
  }
}

}  // namespace
}  // namespace fairlead::controlplane
