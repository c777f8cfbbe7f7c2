// YAML and JSON text to json::value, the way kubectl reads manifests (sigs.k8s.io/yaml: YAML 1.1
// scalars, so that unquoted yes, no, on and off are booleans), with the line of every value.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/result.h"

namespace fairlead::api {

// Where each value of a document begins: the same tree as the value, in member order.
struct LineTree {
  int line = 0;  // 1-based
  std::vector<LineTree> children;
};

struct YamlDocument {
  json::value value;
  LineTree lines;

  // The line of "spec.ports[0].port", or of the nearest ancestor that the document has.
  int line_of(std::string_view json_path) const;
};

struct YamlLimits {
  size_t max_bytes = 16 * 1024 * 1024;
  size_t max_depth = 64;
  size_t max_alias_bytes = 1024 * 1024;  // what all aliases of a document add to it
  size_t max_nodes = 1'000'000;
};

// Every document of the text; empty documents are left out. Text that begins with '{' is read as
// JSON first. Duplicate keys are errors. Errors begin with "file:line: ".
Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, std::string_view file,
                                             const YamlLimits& limits = {});

}  // namespace fairlead::api
