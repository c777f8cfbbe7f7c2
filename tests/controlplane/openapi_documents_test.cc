// The OpenAPI documents, read the way kubectl reads them.
#include "controlplane/objects/openapi.h"

#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/openapi_parts.h"
#include "controlplane/objects/protobuf_wire.h"

namespace fairlead::controlplane {
namespace {

const OpenApiKind kKinds[] = {
    {"", "v1", "Service", "services", true, true, "io.k8s.api.core.v1.Service"},
    {"", "v1", "Pod", "pods", true, true, "io.k8s.api.core.v1.Pod"},
    {"", "v1", "Node", "nodes", false, true, "io.k8s.api.core.v1.Node"},
    {"discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true, false,
     "io.k8s.api.discovery.v1.EndpointSlice"},
    {"networking.k8s.io", "v1", "Ingress", "ingresses", true, true,
     "io.k8s.api.networking.v1.Ingress"},
};

const api::Schema& schema() {
  static const api::Schema loaded = *api::Schema::load();
  return loaded;
}

json::value v3(std::string_view group, std::string_view version) {
  const auto parsed = parse_json(openapi_v3_document(schema(), kKinds, group, version));
  return parsed ? *parsed : json::value();
}

// Every "$ref" of a document, as the texts.
void collect_references(const json::value& value, std::set<std::string>& out) {
  if (value.is_array())
    for (const json::value& item : value.get_array()) collect_references(item, out);
  if (!value.is_object()) return;
  for (const auto& member : value.get_object()) {
    if (member.key() == "$ref" && member.value().is_string())
      out.emplace(view(member.value().get_string()));
    collect_references(member.value(), out);
  }
}

TEST(OpenApiV3, TheIndexNamesEveryGroupVersion) {
  const auto index = *parse_json(openapi_v3_index(schema(), kKinds));
  const json::object& paths = find(index, "paths")->get_object();
  std::vector<std::string> keys;
  for (const auto& path : paths) {
    keys.emplace_back(view(path.key()));
    EXPECT_TRUE(find_string(path.value(), "serverRelativeURL")
                    .starts_with(cat("/openapi/v3/", view(path.key()), "?hash=")));
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"api/v1", "apis/discovery.k8s.io/v1",
                                            "apis/networking.k8s.io/v1"}));
}

TEST(OpenApiV3, AnUnknownGroupVersionHasNoDocument) {
  EXPECT_EQ(openapi_v3_document(schema(), kKinds, "apps", "v1"), "");
  EXPECT_EQ(openapi_v3_document(schema(), kKinds, "networking.k8s.io", "v2"), "");
}

TEST(OpenApiV3, EveryReferenceLeadsToASchema) {
  for (std::string_view group : {"", "discovery.k8s.io", "networking.k8s.io"}) {
    const json::value document = v3(group, "v1");
    std::set<std::string> references;
    collect_references(document, references);
    EXPECT_GT(references.size(), 5u);
    constexpr std::string_view prefix = "#/components/schemas/";
    for (const std::string& reference : references) {
      ASSERT_TRUE(reference.starts_with(prefix)) << reference;
      EXPECT_NE(find(document, "components", "schemas", reference.substr(prefix.size())), nullptr)
          << reference;
    }
  }
}

TEST(OpenApiV3, AReferenceHasNoSiblings) {
  const std::function<void(const json::value&)> walk = [&](const json::value& value) {
    if (value.is_array())
      for (const json::value& item : value.get_array()) walk(item);
    if (!value.is_object()) return;
    const json::object& object = value.get_object();
    const json::value* reference = object.if_contains("$ref");
    if (reference != nullptr && reference->is_string()) {
      EXPECT_EQ(object.size(), 1u) << value;
    }
    for (const auto& member : object) walk(member.value());
  };
  walk(*find(v3("", "v1"), "components"));
}

// kubectl >= 1.29 asks: does the PATCH of this kind have such a parameter?
TEST(OpenApiV3, PatchOperationsSayWhatTheServerDoes) {
  std::map<std::string, std::set<std::string>> parameters;
  for (std::string_view group : {"", "discovery.k8s.io", "networking.k8s.io"}) {
    const json::value document = v3(group, "v1");
    for (const auto& path : find(document, "paths")->get_object()) {
      const json::value* patch = find(path.value(), "patch");
      if (patch == nullptr) continue;
      const json::value& gvk = *find(*patch, "x-kubernetes-group-version-kind");
      EXPECT_EQ(find_string(gvk, "group"), group);
      EXPECT_EQ(find_string(gvk, "version"), "v1");
      for (const json::value& parameter : find(*patch, "parameters")->get_array())
        parameters[std::string(find_string(gvk, "kind"))].emplace(find_string(parameter, "name"));
    }
  }
  EXPECT_EQ(parameters.size(), 5u);
  for (const auto& [kind, names] : parameters)
    EXPECT_THAT(names, testing::IsSupersetOf({"dryRun", "fieldManager", "fieldValidation"}))
        << kind;
}

// `kubectl explain` goes from the resource's path to its kind to its schema.
TEST(OpenApiV3, PathsLeadToKinds) {
  const json::value document = v3("", "v1");
  for (std::string_view path : {"/api/v1/services", "/api/v1/namespaces/{namespace}/services",
                                "/api/v1/namespaces/{namespace}/services/{name}",
                                "/api/v1/namespaces/{namespace}/services/{name}/status",
                                "/api/v1/nodes", "/api/v1/nodes/{name}"}) {
    const json::value* found = find(document, "paths", path);
    ASSERT_NE(found, nullptr) << path;
    EXPECT_FALSE(find_string(*found, "get", "x-kubernetes-group-version-kind", "kind").empty())
        << path;
  }
  EXPECT_EQ(find(document, "paths", "/api/v1/namespaces/{namespace}/nodes"), nullptr);
  const json::value& service =
      *find(document, "components", "schemas", "io.k8s.api.core.v1.Service");
  EXPECT_EQ(json::serialize(*find(service, "x-kubernetes-group-version-kind")),
            R"([{"group":"","kind":"Service","version":"v1"}])");
  EXPECT_FALSE(find_string(service, "description").empty());
}

TEST(OpenApiV3, MergeKeysAndTypes) {
  const json::value document = v3("", "v1");
  const json::value& spec =
      *find(document, "components", "schemas", "io.k8s.api.core.v1.ServiceSpec");
  const json::value& ports = *find(spec, "properties", "ports");
  EXPECT_EQ(find_string(ports, "x-kubernetes-patch-merge-key"), "port");
  EXPECT_EQ(find_string(ports, "x-kubernetes-patch-strategy"), "merge");
  EXPECT_FALSE(find_string(ports, "description").empty());
  const json::value& int_or_string =
      *find(document, "components", "schemas", "io.k8s.apimachinery.pkg.util.intstr.IntOrString");
  EXPECT_EQ(find_string(int_or_string, "format"), "int-or-string");
  EXPECT_EQ(find(int_or_string, "oneOf")->get_array().size(), 2u);
}

TEST(OpenApiDescriptions, AreOfFieldsThatExist) {
  const auto definitions = openapi_definitions(schema(), kKinds);
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

TEST(OpenApiV2, TheProtobufDocumentSaysWhatTheJsonSays) {
  const auto parsed = *parse_json(openapi_v2_json(schema(), kKinds));
  const Fields document = fields_of(openapi_v2_protobuf(schema(), kKinds));
  EXPECT_EQ(first(document, 1), "2.0");
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

TEST(OpenApiV2, ExtensionsAreYaml) {
  const Fields document = fields_of(openapi_v2_protobuf(schema(), kKinds));
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

TEST(OpenApiV2, PatchOperationsHaveParameters) {
  const Fields document = fields_of(openapi_v2_protobuf(schema(), kKinds));
  const Fields paths = fields_of(first(document, 8));
  EXPECT_EQ(paths.count(2), 9u);  // five kinds, four of them with /status
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
