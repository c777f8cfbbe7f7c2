// The OpenAPI documents as kubectl reads them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/openapi.h"
#include "controlplane/resource.h"

namespace fairlead::controlplane {
namespace {

const api::Schema& schema() {
  static const api::Schema loaded = *api::Schema::load();
  return loaded;
}

std::vector<OpenApiKind> served(const ResourceTable& table) {
  std::vector<OpenApiKind> out;
  for (const Resource& row : table.all())
    out.push_back({row.group, row.version, row.kind, row.plural, row.namespaced, row.has_status(),
                   row.schema});
  return out;
}

class RulesOpenapi : public testing::Test {
 protected:
  json::value parsed(const std::string& text) const {
    auto value = parse_json(text);
    EXPECT_TRUE(value.has_value()) << text.substr(0, 200);
    return value ? *value : json::value(json::object());
  }
  json::value document(std::string_view group, std::string_view version) const {
    return parsed(openapi_v3_document(schema(), kinds_, group, version));
  }

  ResourceTable table_;
  std::vector<OpenApiKind> kinds_ = served(table_);
};

std::set<std::string> parameters(const json::value& operation) {
  std::set<std::string> out;
  for (const json::value& row : operation.at("parameters").get_array())
    if (row.at("in") == "query") out.emplace(find_string(row, "name"));
  return out;
}

// Every "$ref" must lead to a schema of the same document.
void check_references(const json::value& value, const json::object& schemas) {
  if (value.is_array())
    for (const json::value& item : value.get_array()) check_references(item, schemas);
  if (!value.is_object()) return;
  for (const auto& member : value.get_object()) {
    check_references(member.value(), schemas);
    if (member.key() != "$ref" || !member.value().is_string()) continue;
    std::string_view target = view(member.value().get_string());
    ASSERT_TRUE(target.starts_with("#/components/schemas/")) << target;
    target.remove_prefix(std::string_view("#/components/schemas/").size());
    EXPECT_TRUE(schemas.contains(target)) << target;
  }
}

TEST_F(RulesOpenapi, TheIndexNamesEveryGroupVersion) {
  const json::value index = parsed(openapi_v3_index(schema(), kinds_));
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
  EXPECT_EQ(openapi_v3_index(schema(), kinds_), openapi_v3_index(schema(), kinds_));
}

TEST_F(RulesOpenapi, EveryKindHasItsPathsAndPatchParameters) {
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
    const auto names = parameters(patch);
    EXPECT_TRUE(names.contains("fieldValidation") && names.contains("dryRun"));
    EXPECT_TRUE(same_value(
        patch.at("x-kubernetes-group-version-kind"),
        json::object{{"group", kind.group}, {"kind", kind.kind}, {"version", kind.version}}));
    EXPECT_EQ(patch.at("x-kubernetes-action"), "patch");
  }
}

TEST_F(RulesOpenapi, EveryKindHasASchemaThatSaysSo) {
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
    check_references(whole, schemas);
  }
}

TEST_F(RulesOpenapi, MergeKeysAreThere) {
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
  }
}

TEST_F(RulesOpenapi, AnUnknownGroupVersionHasNoDocument) {
  EXPECT_EQ(openapi_v3_document(schema(), kinds_, "", "v2"), "");
  EXPECT_EQ(openapi_v3_document(schema(), kinds_, "apps", "v1"), "");
}

TEST_F(RulesOpenapi, Version2IsJsonWithTheSameDefinitions) {
  const json::value whole = parsed(openapi_v2_json(schema(), kinds_));
  EXPECT_EQ(whole.at("swagger"), "2.0");
  for (const OpenApiKind& kind : kinds_)
    EXPECT_TRUE(whole.at("definitions").get_object().contains(kind.definition)) << kind.kind;
}

// Fields of a protobuf message, all of them length-delimited: field number -> contents. Empty when
// the bytes are not such a message.
std::multimap<uint64_t, std::string_view> fields(std::string_view bytes) {
  std::multimap<uint64_t, std::string_view> out;
  const auto varint = [&]() -> std::optional<uint64_t> {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  };
  while (!bytes.empty()) {
    const auto key = varint();
    if (!key || (*key & 7) != 2) return {};
    const auto size = varint();
    if (!size || *size > bytes.size()) return {};
    out.emplace(*key >> 3, bytes.substr(0, *size));
    bytes.remove_prefix(*size);
  }
  return out;
}

TEST_F(RulesOpenapi, Version2IsAlsoADocumentMessage) {
  const std::string bytes = openapi_v2_protobuf(schema(), kinds_);
  const auto document = fields(bytes);  // 1 swagger, 2 info, 8 paths, 9 definitions
  std::set<uint64_t> numbers;
  for (const auto& [number, contents] : document) numbers.insert(number);
  ASSERT_EQ(numbers, (std::set<uint64_t>{1, 2, 8, 9}));
  EXPECT_EQ(document.find(1)->second, "2.0");
  EXPECT_EQ(fields(document.find(2)->second).find(1)->second, "Kubernetes");
  std::set<std::string_view> names;
  for (const auto& [number, named] : fields(document.find(9)->second)) {
    const auto schema_fields = fields(named);
    ASSERT_TRUE(schema_fields.contains(1));
    names.insert(schema_fields.find(1)->second);
  }
  for (const OpenApiKind& kind : kinds_) EXPECT_TRUE(names.contains(kind.definition)) << kind.kind;
  EXPECT_GE(fields(document.find(8)->second).size(), kinds_.size());
}

}  // namespace
}  // namespace fairlead::controlplane
