// Discovery documents, against the API's own list of resources.
#include "controlplane/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

constexpr const char* kV2 =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
constexpr const char* kV2beta1 =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
constexpr const char* kPlain = "application/json, */*";

class DiscoveryTest : public testing::Test {
 protected:
  ResourceTable table;
};

TEST_F(DiscoveryTest, AnswersTheVersionThatTheClientNames) {
  struct Case {
    const char* accept;
    const char* type;
    const char* kind;
    const char* api_version;
  };
  for (const Case& c :
       {Case{kV2, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
             "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"},
        Case{kV2beta1, "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
             "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2beta1"},
        Case{kPlain, "application/json", "APIGroupList", "v1"},
        Case{"", "application/json", "APIGroupList", "v1"},
        Case{"application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList",
             "application/json", "APIGroupList", "v1"}}) {
    DiscoveryAnswer answer = discover_groups(table, c.accept);
    EXPECT_EQ(answer.content_type, c.type) << c.accept;
    json::value document = parsed(answer.body);
    EXPECT_EQ(find_string(document, "kind"), c.kind);
    EXPECT_EQ(find_string(document, "apiVersion"), c.api_version);
  }
  json::value core = parsed(discover_core(table, kPlain, "10.0.0.1:6443").body);
  EXPECT_EQ(find_string(core, "kind"), "APIVersions");
  EXPECT_EQ(json::serialize(*find(core, "versions")), R"(["v1"])");
  EXPECT_THAT(json::serialize(core), HasSubstr("10.0.0.1:6443"));
}

TEST_F(DiscoveryTest, AggregatedDocumentsCarryEveryResource) {
  std::vector<std::string> served;
  for (bool core : {true, false}) {
    json::value document =
        parsed(core ? discover_core(table, kV2, "x").body : discover_groups(table, kV2).body);
    for (const json::value& group : find(document, "items")->get_array()) {
      std::string_view group_name = find_string(group, "metadata", "name");
      EXPECT_EQ(group_name.empty(), core);
      for (const json::value& version : find(group, "versions")->get_array()) {
        EXPECT_EQ(find_string(version, "freshness"), "Current");
        for (const json::value& resource : find(version, "resources")->get_array()) {
          served.push_back(cat(find_string(resource, "resource"), ".", group_name));
          EXPECT_EQ(find_string(resource, "responseKind", "group"), group_name);
          EXPECT_FALSE(find_string(resource, "responseKind", "kind").empty());
          EXPECT_FALSE(find_string(resource, "singularResource").empty());
          EXPECT_FALSE(find(resource, "verbs")->get_array().empty());
        }
      }
    }
  }
  EXPECT_EQ(served.size(), table.all().size());
  EXPECT_THAT(served,
              testing::IsSupersetOf({"pods.", "services.", "endpointslices.discovery.k8s.io",
                                     "ingresses.networking.k8s.io"}));
}

TEST_F(DiscoveryTest, GetAllFindsPodsAndServices) {
  for (const Resource& row : table.all()) {
    bool in_all = std::ranges::find(row.categories, "all") != row.categories.end();
    EXPECT_EQ(in_all, row.plural == "pods" || row.plural == "services") << row.plural;
  }
}

// Names, scopes and verbs are those of Kubernetes 1.32.
TEST_F(DiscoveryTest, RowsAgreeWithTheApi) {
  std::ifstream in(FAIRLEAD_SOURCE_DIR "/api/data/api-resources-1.32.json");
  std::ostringstream text;
  text << in.rdbuf();
  json::value known = parsed(text.str());
  size_t checked = 0;
  for (const Resource& row : table.all()) {
    for (const json::value& entry : known.get_array()) {
      if (find_string(entry, "name") != row.plural ||
          find_string(entry, "groupVersion") != row.group_version())
        continue;
      ++checked;
      EXPECT_EQ(find_string(entry, "kind"), row.kind);
      EXPECT_EQ(find_string(entry, "singularName"), row.singular);
      EXPECT_EQ(find(entry, "namespaced")->get_bool(), row.namespaced);
      std::vector<std::string> verbs;
      for (const json::value& verb : find(entry, "verbs")->get_array())
        verbs.emplace_back(verb.get_string());
      EXPECT_EQ(verbs, std::vector<std::string>(row.verbs.begin(), row.verbs.end())) << row.plural;
      std::vector<std::string> shorts;
      if (const json::value* names = find(entry, "shortNames"))
        for (const json::value& name : names->get_array()) shorts.emplace_back(name.get_string());
      EXPECT_EQ(shorts, std::vector<std::string>(row.short_names.begin(), row.short_names.end()));
    }
    for (const Subresource& sub : row.subresources) {
      std::string name = cat(row.plural, "/", sub.name);
      EXPECT_TRUE(std::ranges::any_of(known.get_array(), [&](const json::value& entry) {
        return find_string(entry, "name") == name;
      })) << name;
    }
  }
  EXPECT_EQ(checked, table.all().size());
}

TEST_F(DiscoveryTest, LegacyListsNameSubresourcesAndOtherKinds) {
  json::value core = parsed(discover_version(table, "", "v1").value());
  EXPECT_EQ(find_string(core, "kind"), "APIResourceList");
  EXPECT_EQ(find_string(core, "groupVersion"), "v1");
  std::vector<std::string> names;
  for (const json::value& resource : find(core, "resources")->get_array()) {
    names.emplace_back(find_string(resource, "name"));
    if (names.back() == "pods/eviction") {
      EXPECT_EQ(find_string(resource, "kind"), "Eviction");
      EXPECT_EQ(find_string(resource, "group"), "policy");
    }
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"pods", "pods/status", "pods/eviction",
                                            "namespaces/finalize", "services/status"}));
  EXPECT_FALSE(discover_version(table, "", "v2"));
  EXPECT_FALSE(discover_version(table, "apps", "v1"));
}

TEST_F(DiscoveryTest, NamesGroupsAndTheirPreferredVersions) {
  json::value groups = parsed(discover_groups(table, kPlain).body);
  ASSERT_GE(find(groups, "groups")->get_array().size(), 3U);
  for (const json::value& group : find(groups, "groups")->get_array())
    EXPECT_EQ(find_string(group, "preferredVersion", "groupVersion"),
              cat(find_string(group, "name"), "/v1"));
  json::value one = parsed(discover_group(table, "networking.k8s.io").value());
  EXPECT_EQ(find_string(one, "kind"), "APIGroup");
  EXPECT_FALSE(discover_group(table, "apps"));
  EXPECT_FALSE(discover_group(table, ""));
}

TEST_F(DiscoveryTest, TheVersionIsOneThatKubectlReads) {
  json::value version = parsed(version_document());
  EXPECT_EQ(find_string(version, "major"), "1");
  EXPECT_THAT(std::string(find_string(version, "gitVersion")), testing::StartsWith("v1.32."));
}

TEST_F(DiscoveryTest, RowsAreFoundByPathAndByKind) {
  EXPECT_EQ(table.find("", "v1", "pods")->kind, "Pod");
  EXPECT_EQ(table.find("discovery.k8s.io", "v1", "endpointslices")->kind, "EndpointSlice");
  EXPECT_EQ(table.find("", "v1", "ingresses"), nullptr);
  EXPECT_EQ(table.find_kind("networking.k8s.io/v1", "Ingress")->plural, "ingresses");
  EXPECT_EQ(table.find_kind("v1", "Ingress"), nullptr);
  EXPECT_EQ(table.group_versions().front(), "v1");
  const Resource& ingress = *table.find_kind("networking.k8s.io/v1", "Ingress");
  EXPECT_EQ(ingress.group_resource(), "ingresses.networking.k8s.io");
  EXPECT_EQ(ingress.group_kind(), "Ingress.networking.k8s.io");
  EXPECT_EQ(table.index(ingress), static_cast<size_t>(&ingress - table.all().data()));
}

}  // namespace
}  // namespace fairlead::controlplane
