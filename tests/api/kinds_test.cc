#include "api/kinds.h"

#include <gtest/gtest.h>

#include "api/data.h"
#include "api/json.h"

namespace fairlead::api {
namespace {

TEST(Kinds, HaveTheCollectionPathsOfTheApi) {
  EXPECT_EQ(collection_path(info(Kind::pod)), "/api/v1/pods");
  EXPECT_EQ(collection_path(info(Kind::namespace_)), "/api/v1/namespaces");
  EXPECT_EQ(collection_path(info(Kind::endpoint_slice)),
            "/apis/discovery.k8s.io/v1/endpointslices");
  EXPECT_EQ(collection_path(info(Kind::ingress)), "/apis/networking.k8s.io/v1/ingresses");
}

TEST(Kinds, AreFoundByVersionAndName) {
  for (const KindInfo& kind : kinds()) {
    EXPECT_EQ(find_kind(kind.api_version, kind.name), &kind);
    EXPECT_EQ(&info(kind.kind), &kind);
  }
  EXPECT_EQ(find_kind("v1", "Ingress"), nullptr);
  EXPECT_EQ(find_kind("v1", "pods"), nullptr);
}

// The table against the discovery data of Kubernetes.
TEST(Kinds, AgreeWithTheResourceTable) {
  const auto table = parse_json(data("api-resources-1.32.json"));
  ASSERT_TRUE(table);
  size_t found = 0;
  for (const json::value& row : table->as_array()) {
    const KindInfo* kind = find_kind(find_string(row, "groupVersion"), find_string(row, "kind"));
    if (kind == nullptr || find_string(row, "name") != kind->plural) continue;
    EXPECT_EQ(find(row, "namespaced")->as_bool(), kind->namespaced) << kind->name;
    ++found;
  }
  EXPECT_EQ(found, kind_count);
}

TEST(Data, KnowsItsFilesByName) {
  EXPECT_EQ(data("api-schema-1.32.json").front(), '{');
  EXPECT_EQ(data("api-schema-1.32.json").back(), '}');
  EXPECT_GT(data("strategic-merge-keys.json").size(), 1000u);
  EXPECT_GT(data("protobuf-fields.json").size(), 1000u);
  EXPECT_TRUE(data("nothing.json").empty());
}

}  // namespace
}  // namespace fairlead::api
