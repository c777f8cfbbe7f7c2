// The OpenAPI v2 document, as JSON and as gnostic's protobuf message.
#include "controlplane/objects/protobuf_wire.h"
#include "tests/controlplane/openapi_kinds.h"

namespace fairlead::controlplane {
namespace {

class OpenApiV2 : public OpenApiTest {};

TEST_F(OpenApiV2, HasADefinitionOfEveryKind) {
  const json::value whole = parsed(openapi_v2_json(schema_, kinds_));
  EXPECT_EQ(whole.at("swagger"), "2.0");
  for (const OpenApiKind& kind : kinds_)
    EXPECT_TRUE(whole.at("definitions").get_object().contains(kind.definition)) << kind.kind;
}

// A reader of gnostic's messages, by field number.
using Fields = std::multimap<uint32_t, std::string>;
Fields fields_of(std::string_view bytes) {
  Fields out;
  WireReader reader(bytes);
  while (!reader.done()) {
    const auto field = reader.next();
    if (!field) {
      ADD_FAILURE() << "malformed protobuf";
      break;
    }
    out.emplace(field->number, field->type == 0 ? cat(field->varint) : std::string(field->bytes));
  }
  return out;
}
std::string first(const Fields& fields, uint32_t number) {
  const auto found = fields.find(number);
  return found == fields.end() ? std::string() : found->second;
}

// Definitions as {name: Schema message}.
std::map<std::string, Fields> named_schemas(std::string_view message) {
  std::map<std::string, Fields> out;
  for (const auto& [number, bytes] : fields_of(message)) {
    const Fields named = fields_of(bytes);
    out.emplace(first(named, 1), fields_of(first(named, 2)));
  }
  return out;
}

TEST_F(OpenApiV2, TheProtobufDocumentSaysWhatTheJsonSays) {
  const auto parsed = *parse_json(openapi_v2_json(schema_, kinds_));
  const Fields document = fields_of(openapi_v2_protobuf(schema_, kinds_));
  std::set<uint32_t> numbers;  // 1 swagger, 2 info, 8 paths, 9 definitions
  for (const auto& [number, bytes] : document) numbers.insert(number);
  EXPECT_EQ(numbers, (std::set<uint32_t>{1, 2, 8, 9}));
  EXPECT_EQ(first(document, 1), "2.0");
  EXPECT_EQ(first(fields_of(first(document, 2)), 1), "Kubernetes");
  const auto definitions = named_schemas(first(document, 9));
  const json::object& expected = find(parsed, "definitions")->get_object();
  ASSERT_EQ(definitions.size(), expected.size());
  for (const auto& entry : expected) {
    const auto found = definitions.find(std::string(view(entry.key())));
    ASSERT_NE(found, definitions.end()) << entry.key();
    const json::object& definition = entry.value().get_object();
    EXPECT_EQ(first(found->second, 4), string_at(definition, "description"));
    const json::object* properties = object_at(definition, "properties");
    if (properties == nullptr) continue;
    const auto fields = named_schemas(first(found->second, 25));
    ASSERT_EQ(fields.size(), properties->size()) << entry.key();
    for (const auto& property : *properties) {
      const json::object& type = property.value().get_object();
      const Fields& message = fields.at(std::string(view(property.key())));
      EXPECT_EQ(first(message, 1), string_at(type, "$ref"));
      EXPECT_EQ(first(message, 2), string_at(type, "format"));
      EXPECT_EQ(first(fields_of(first(message, 22)), 1), string_at(type, "type"));
      EXPECT_EQ(message.contains(23), type.contains("items"));
      EXPECT_EQ(message.contains(21), type.contains("additionalProperties"));
    }
  }
}

TEST_F(OpenApiV2, ExtensionsAreYaml) {
  const Fields document = fields_of(openapi_v2_protobuf(schema_, kinds_));
  const auto definitions = named_schemas(first(document, 9));
  const auto spec = named_schemas(first(definitions.at("io.k8s.api.core.v1.ServiceSpec"), 25));
  std::map<std::string, std::string> extensions;
  const Fields& ports = spec.at("ports");
  for (auto [at, end] = ports.equal_range(31); at != end; ++at) {
    const Fields named = fields_of(at->second);
    extensions[first(named, 1)] = first(fields_of(first(named, 2)), 2);
  }
  EXPECT_EQ(extensions["x-kubernetes-patch-merge-key"], "\"port\"");
  EXPECT_EQ(extensions["x-kubernetes-list-map-keys"], R"(["port","protocol"])");
}

TEST_F(OpenApiV2, PatchOperationsHaveParameters) {
  const Fields document = fields_of(openapi_v2_protobuf(schema_, kinds_));
  const Fields paths = fields_of(first(document, 8));
  size_t patched = 0;  // items, and the /status of those that have one
  for (const OpenApiKind& kind : kinds_) patched += kind.has_status ? 2 : 1;
  EXPECT_EQ(paths.count(2), patched);
  for (const auto& [number, bytes] : paths) {
    const Fields named = fields_of(bytes);
    const Fields patch = fields_of(first(fields_of(first(named, 2)), 8));
    std::set<std::string> names;
    for (auto [at, end] = patch.equal_range(8); at != end; ++at) {
      const Fields query =
          fields_of(first(fields_of(first(fields_of(first(fields_of(at->second), 1)), 2)), 3));
      EXPECT_EQ(first(query, 2), "query");
      names.insert(first(query, 4));
    }
    EXPECT_THAT(names, testing::IsSupersetOf({"dryRun", "fieldManager", "fieldValidation"}))
        << first(named, 1);
    EXPECT_EQ(first(fields_of(first(patch, 13)), 1).substr(0, 13), "x-kubernetes-");
  }
}

}  // namespace
}  // namespace fairlead::controlplane
