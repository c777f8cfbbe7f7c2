// Services as admission leaves them, for the tests of the allocator.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/text.h"
#include "controlplane/objects/allocator.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {

inline AllocatorConfig dual_stack() {
  return {{*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd00:96::/112")}, 30000, 32767};
}
inline AllocatorConfig single_stack() { return {{*Cidr::parse("10.96.0.0/16")}, 30000, 32767}; }

inline json::value service(std::string_view spec) {
  auto parsed = parse_json(spec);
  EXPECT_TRUE(parsed.has_value()) << spec;
  json::object document{{"apiVersion", "v1"},
                        {"kind", "Service"},
                        {"metadata", json::object{{"name", "web"}, {"namespace", "default"}}},
                        {"spec", *parsed}};
  Admitted admitted = admit_create("v1", "Service", std::move(document));
  EXPECT_EQ(to_string(admitted.errors), "[]");
  return admitted.object;
}

inline std::string member(const json::value& object, std::string_view key) {
  const json::value* found = find(object, "spec", key);
  return found == nullptr ? "absent" : json::serialize(*found);
}

inline int64_t node_port(const json::value& object, size_t i) {
  return integer_at(find(object, "spec", "ports")->get_array()[i].get_object(), "nodePort")
      .value_or(0);
}

}  // namespace fairlead::controlplane
