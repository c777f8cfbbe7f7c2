// Every kind that the server serves, as the OpenAPI documents take them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/openapi.h"
#include "controlplane/resource.h"

namespace fairlead::controlplane {

inline const api::Schema& openapi_schema() {
  static const api::Schema loaded = *api::Schema::load();
  return loaded;
}

class OpenApiTest : public testing::Test {
 protected:
  static json::value parsed(const std::string& text) {
    auto value = parse_json(text);
    EXPECT_TRUE(value.has_value()) << text.substr(0, 200);
    return value ? *value : json::value(json::object());
  }
  static std::vector<OpenApiKind> served(const ResourceTable& table) {
    std::vector<OpenApiKind> out;
    for (const Resource& row : table.all())
      out.push_back({row.group, row.version, row.kind, row.plural, row.namespaced, row.has_status(),
                     row.schema});
    return out;
  }

  const api::Schema& schema_ = openapi_schema();
  const ResourceTable table_;
  const std::vector<OpenApiKind> kinds_ = served(table_);
};

}  // namespace fairlead::controlplane
